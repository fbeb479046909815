"""Holding a program against what its tags say: load it as they ask, then look at the log, the code, the run.

Order and rules: run_subtest() in tools/testing/selftests/bpf/test_loader.c (Linux 6.12 to 7.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from pytest_ebpf.agent.ops import Data, Done, MapCreate, Op, ProgLoad, ReadFile, Try, Unprivileged, WriteFile
from pytest_ebpf.errors import PlanError
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.live.bpf_object import BpfObject
from pytest_ebpf.live.facts_cache import facts_for
from pytest_ebpf.live.load import load_plan
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.program import Program
from pytest_ebpf.live.run.rules import RUN_RULES
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.disasm import InsnNames, disassemble
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.load_plan import Plan
from pytest_ebpf.plan.options import LoadOptions
from pytest_ebpf.uapi.capabilities import Capability
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import LogFlag, MapCreateFlag
from pytest_ebpf.uapi.insn import PseudoCall
from pytest_ebpf.verifier.log.expect import Checked, Wanted, check, check_log
from pytest_ebpf.verifier.program_rejected import ProgramRejected
from pytest_ebpf.verifier.tags.spec import ANY_VALUE, Expectation, TestSpec

__all__ = ["ExpectationFailed", "NotApplicable", "Trial", "try_program"]

_DROPPED = (Capability.SYS_ADMIN, Capability.NET_ADMIN, Capability.PERFMON, Capability.BPF)  # drop_capabilities()
_UNPRIVILEGED = "/proc/sys/kernel/unprivileged_bpf_disabled"
_JIT = "/proc/sys/net/core/bpf_jit_enable"
_CONFIGS = ("/proc/config.gz", "/boot/config-{release}")
_PACKET = 64  # bytes, TEST_DATA_LEN
# is_unpriv_capable_map(): the others are made with privileges, or the object could not be had at all
_UNPRIV_MAPS = frozenset(
    (
        MapType.HASH,
        MapType.ARRAY,
        MapType.PROG_ARRAY,
        MapType.PERF_EVENT_ARRAY,
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.CGROUP_STORAGE,
        MapType.PERCPU_CGROUP_STORAGE,
        MapType.RINGBUF,
        MapType.USER_RINGBUF,
    )
)
# Hash maps: BPF_F_ZERO_SEED needs privileges.
_SEEDED = frozenset((MapType.HASH, MapType.PERCPU_HASH, MapType.HASH_OF_MAPS))


class ExpectationFailed(AssertionError):
    """What came is not what the tags say. ``bpf_sections``: texts to show with it, each with its title."""

    def __init__(self, message: str, *, sections: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.bpf_sections = sections


class NotApplicable(Exception):
    """The expectation says nothing about this kernel or machine; ``str()`` is the reason."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One program of an object, loaded one way ("priv" or "unpriv"). ``with_it``: auxiliary programs to load along.
    ``own_machine``: the kernel is a guest of this run, so its sysctls may be changed for the while.
    ``disassemble``: machine code of a machine's functions as text, None where it cannot be had. ``loaded``: called
    with what was loaded, before it runs."""

    obj: ObjectFile
    spec: TestSpec
    way: str = "priv"
    with_it: tuple[str, ...] = ()
    own_machine: bool = False
    disassemble: Callable[[str, Sequence[bytes]], str | None] = lambda machine, functions: None
    loaded: Callable[[BpfObject], object] = lambda loaded: None

    @property
    def expectation(self) -> Expectation:
        """What this way of loading has to give."""
        found = self.spec.unpriv if self.way == "unpriv" else self.spec.priv
        assert found is not None
        return found

    @property
    def drop(self) -> int:
        """The capabilities to do without, a bit for each."""
        if self.way != "unpriv":
            return 0
        return sum(1 << number for number in _DROPPED if number not in self.expectation.caps)


def try_program(session: Session, trial: Trial, *, cache: LoadCache) -> BpfObject | None:
    """Hold one program against its tags. What was loaded, None for one that was rejected as it should be.

    ``NotApplicable`` where the tags exclude this kernel, ``ExpectationFailed`` where it does something else, other
    ``EbpfError`` where nothing could be tried.
    """
    _check_applies(session, trial)
    undo = _allow_unprivileged(session, trial)
    try:
        loaded = _load(session, trial, cache=cache)
    finally:
        undo()
    if loaded is not None:
        _check_code(session, trial, loaded=loaded)
        _check_run(session, trial, loaded=loaded)
    return loaded


def _check_applies(session: Session, trial: Trial) -> None:
    spec, machine, byteorder = trial.spec, session.target.described.machine, session.target.described.byteorder
    if trial.obj.byteorder != byteorder:  # compilers for both orders leave two files, and pytest collects both
        raise NotApplicable(f"only for {trial.obj.byteorder} endian machines, and {machine} is {byteorder} endian")
    if spec.machines and machine not in spec.machines:
        raise NotApplicable(f"only for {', '.join(spec.machines)}, and this is {machine}")
    if spec.load_mode:
        jited = _read(session, _JIT).strip() not in (b"", b"0")
        if jited != (spec.load_mode == "jited"):
            raise NotApplicable(f"only for programs that are {spec.load_mode}, and {_JIT} says otherwise")
    for option in spec.kconfig:
        if not _has_option(session, option):
            raise NotApplicable(f"only for kernels with {option}=y (or =m)")


def _read(session: Session, path: str) -> bytes:
    answer = session.attempt(ReadFile(path), Data)
    return answer.data if isinstance(answer, Data) else b""


def _has_option(session: Session, option: str) -> bool:
    import gzip

    for place in _CONFIGS:
        data = _read(session, place.format(release=session.target.described.release))
        if data:
            text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
            return any(f"\n{option}={value}\n".encode() in text for value in "ym")
    raise PlanError(f"this kernel does not tell its configuration, and the test is only for {option}")


def _allow_unprivileged(session: Session, trial: Trial) -> Callable[[], None]:
    """Have the kernel take unprivileged loads; what is called afterwards puts the switch back. ``NotApplicable`` where
    the switch is stuck, or is not ours."""
    caps = trial.expectation.caps
    if trial.way != "unpriv" or Capability.BPF in caps or Capability.SYS_ADMIN in caps:
        return _nothing
    before = _read(session, _UNPRIVILEGED).strip()
    if before == b"0":
        return _nothing
    if before == b"2" and trial.own_machine:
        session.one(WriteFile(_UNPRIVILEGED, b"0"), Done)
        return lambda: _put_back(session, before)
    way_out = (
        "boot it with another setting" if before == b"1" else "sysctl kernel.unprivileged_bpf_disabled=0 lets them"
    )
    raise NotApplicable(f"this kernel lets unprivileged users load no programs: {way_out}")


def _nothing() -> None:
    """There is no switch to put back."""


def _put_back(session: Session, before: bytes) -> None:
    session.attempt(WriteFile(_UNPRIVILEGED, before), Done)


def _load(session: Session, trial: Trial, *, cache: LoadCache) -> BpfObject | None:
    """Load, and look at the verdict and at the log. None when it was rejected as it should be."""
    expectation = trial.expectation
    try:
        loaded = load_plan(
            session,
            _planned(session, trial, cache=cache),
            without_btf=lambda: _planned(session, trial, cache=cache, has_btf=False),
        )
    except ProgramRejected as error:
        if error.program != trial.spec.program:
            _fail(trial, f"the auxiliary program {error.program} was rejected: {error}", log=error.log.text)
        if not expectation.rejected:
            _fail(trial, f"expected to load, but rejected: {error}", log=error.log.text)
        _check_log(trial, error.log.text, silent=str(error))
        return None
    log = loaded[trial.spec.program].log.text
    if expectation.rejected:
        first = next((one.pattern for one in expectation.messages if not one.absent), "")
        wanted = f' with "{first}"' if first else ""
        _fail(trial, f"expected to be rejected{wanted}, but the kernel loaded it", log=log)
    _check_log(trial, log)
    return loaded


def _planned(session: Session, trial: Trial, *, cache: LoadCache, has_btf: bool = True) -> Plan:
    spec = trial.spec
    only = (*(name for name in trial.with_it if name != spec.program), spec.program)
    options = LoadOptions(only=only, log_level=_log_level(trial), btf=has_btf)
    types = spec.btf_path or spec.btf_func_path
    beside = Path(trial.obj.name).parent / types if types else None
    facts = facts_for(session, trial.obj, knowledge=cache.knowledge, btf=beside)
    plan = cache.plan(trial.obj, facts, options=options)
    for problem in plan.problems:
        if problem.name in only:
            raise problem.error
    mine = {program.op for program in plan.programs if program.name == spec.program}
    ops = [_changed(op, trial, flagged=index in mine) for index, op in enumerate(plan.ops)]
    return replace(plan, ops=tuple(ops))


def _log_level(trial: Trial) -> int:
    """As the tags say. A program that loads and has messages to be looked for needs the whole trace."""
    if trial.spec.log_level:
        return trial.spec.log_level
    expectation = trial.expectation
    return LogFlag.LEVEL2 | LogFlag.STATS if expectation.messages and not expectation.rejected else LogFlag.STATS


def _changed(op: Op, trial: Trial, *, flagged: bool) -> Op:
    """An op of the plan with the flags of the tags, and without the capabilities that they take away."""
    if isinstance(op, Try):
        return Try(_changed(op.op, trial, flagged=flagged))
    if isinstance(op, ProgLoad) and flagged:
        op = replace(op, flags=(op.flags | trial.spec.flags) & ~trial.spec.no_flags)
    if isinstance(op, ProgLoad) and trial.drop & (1 << Capability.BPF):
        op = _without_types(op)
    if trial.drop and (isinstance(op, ProgLoad) or _is_unpriv_map(op)):
        return Unprivileged(trial.drop, op)
    return op


def _without_types(op: ProgLoad) -> ProgLoad:
    """Loading types needs CAP_BPF, so the selftests' unprivileged programs have none."""
    return replace(op, btf=None, func_info=b"", func_info_rec_size=0, line_info=b"", line_info_rec_size=0)


def _is_unpriv_map(op: Op) -> bool:
    if not isinstance(op, MapCreate) or op.type not in _UNPRIV_MAPS:
        return False
    return not (op.type in _SEEDED and op.flags & MapCreateFlag.ZERO_SEED)


def _check_log(trial: Trial, log: str, *, silent: str = "") -> None:
    """``silent``: the kernel's refusal, which is all there is when it wrote nothing."""
    checked = check_log(log, trial.expectation.messages)
    if not checked.ok and not log.strip() and silent:
        raise ExpectationFailed(f"{silent}\n{checked}") from None
    _require(trial, checked, text=log)


def _compare(trial: Trial, text: str, *, wanted: Sequence[Wanted], what: str) -> None:
    _require(trial, check(text, wanted, what=what), text=text)


def _require(trial: Trial, checked: Checked, *, text: str) -> None:
    if not checked.ok:
        raise ExpectationFailed(str(checked), sections=((f"{checked.what}: {trial.spec.program}", text),))


def _fail(trial: Trial, message: str, *, log: str) -> NoReturn:
    raise ExpectationFailed(message, sections=((f"verifier log: {trial.spec.program}", log),)) from None


def _check_code(session: Session, trial: Trial, *, loaded: BpfObject) -> None:
    expectation, program = trial.expectation, loaded[trial.spec.program]
    if expectation.xlated:
        texts = _xlated_texts(program)
        named = check(texts[0], expectation.xlated).ok
        _compare(trial, texts[0 if named else 1], wanted=expectation.xlated, what="rewritten program")
    machine = session.target.described.machine
    wanted = expectation.jited_on(machine)
    if wanted:
        text = trial.disassemble(machine, [function.code for function in program.jited.functions])
        if text is None:
            raise NotApplicable("all but the machine code was checked: __jited needs llvm-objdump here")
        _compare(trial, text, wanted=wanted, what="machine code")


def _xlated_texts(program: Program) -> tuple[str, str]:
    """As the selftests' disasm_insn() writes it: no opcode, calls by name or distance alone. First with the names that
    the kernel has for what is called, then as the selftests do without them (``call unknown``)."""
    xlated = program.xlated
    bare = disassemble(xlated.insns, names=InsnNames(HELPERS, _distance))
    named = "".join(f"{line.slot}: {_plain(line.text)}\n" for line in xlated)
    return named, "".join(f"{line.slot}: {_plain(line.text)}\n" for line in bare)


def _distance(slot: int, insn: Insn) -> str:
    """A compiled call keeps the distance in ``off``."""
    return f"{insn.off:+d}" if insn.src == PseudoCall.CALL else ""


def _plain(text: str) -> str:
    body = text.partition(") ")[2] if text.startswith("(") else text
    return body.rpartition("#")[0] or body if body.startswith("call ") else body


def _check_run(session: Session, trial: Trial, *, loaded: BpfObject) -> None:
    expectation = trial.expectation
    if expectation.retval is None:
        return
    program = loaded[trial.spec.program]
    for table in loaded.struct_ops.values():
        table.attach()
    trial.loaded(loaded)
    returned = _run(trial, program)
    if expectation.retval not in (ANY_VALUE, returned):
        raise ExpectationFailed(f"expected to return {expectation.retval}, returned {returned}")
    for stream, wanted, what in (
        (program.stderr, expectation.stderr, "stream 2 (errors)"),
        (program.stdout, expectation.stdout, "stream 1 (output)"),
    ):
        if wanted:
            _compare(trial, stream.read(), wanted=wanted, what=what)


def _run(trial: Trial, program: Program) -> int:
    """What a run on 64 zero bytes returns, as a signed number of 32 bits."""
    rule = RUN_RULES.get(program.type_number)
    data = bytes(_PACKET) if rule is not None and rule.takes_data else b""
    ctx = {"data_end": trial.spec.linear_size} if trial.spec.linear_size else None
    return (int(program.run(data, ctx=ctx).retval) + (1 << 31)) % (1 << 32) - (1 << 31)
