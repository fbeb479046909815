"""Every row of the hint tables: operation, errno, condition, advice."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Failed,
    Handle,
    LinkCreate,
    MapCreate,
    MapDelete,
    MapDump,
    MapGet,
    MapSet,
    ObjPin,
    Op,
    PerfEventOpen,
    ProgLoad,
    ProgRun,
    RawTracepointOpen,
    Try,
    Value,
)
from pytest_ebpf.errors import KernelCallError, PlanError
from pytest_ebpf.features.base import Answer
from pytest_ebpf.live import hints
from pytest_ebpf.live.hints.base import Case, Hint
from pytest_ebpf.live.hints.lookup import all_hints, hint_for
from pytest_ebpf.live.session import Session, Target
from pytest_ebpf.uapi.sections import ATTACH_TYPES, MAP_TYPES, PROG_TYPES
from support.refused_ops import REFUSED, REFUSED_BY_5_10

TargetOn = Callable[..., Any]
Answers = dict[str, Answer]
HANDLE = Handle(1, "b")
E = errno.EINVAL
FIGURES = "verification time 46 usec\nstack depth 0\nprocessed 0 insns (limit 1000000) peak_states 0\n"
UNKNOWN = Answer(False, "EINVAL")


@pytest.fixture
def advise(target_on: TargetOn, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``advise(op, errno, lacking={"ringbuf"}, log="", euid=1000, ...)``: the hint on a kernel like that."""

    def ask(op: Op, number: int, *, lacking: frozenset[str] = frozenset(), log: str = "", **changes: object) -> str:
        monkeypatch.setattr(
            "pytest_ebpf.live.hints.base.probe_feature",
            lambda target, *, name: UNKNOWN if name in lacking else Answer(True, "works"),
        )
        target = target_on()
        target = replace(target, described=replace(target.described, **changes))  # type: ignore[type-var]
        return hint_for(op, number, target=target, log=log)

    return ask


def load(type: str, *, insns: int = 2, flags: int = 0) -> ProgLoad:
    return ProgLoad(PROG_TYPES.index(type), bytes(8 * insns), "GPL", flags=flags)


def link(attach: str, *, target: Any = 0) -> LinkCreate:
    return LinkCreate(HANDLE, ATTACH_TYPES.index(attach), target=target)


@pytest.mark.parametrize("case", REFUSED)
def test_maps(advise: Callable[..., str], case: str) -> None:
    op, errnos, words = REFUSED[case]
    for number in errnos:
        assert words in advise(op, number)


def test_old_kernels(advise: Callable[..., str]) -> None:
    lacking = frozenset(("bloom_filter", "task_storage", "flag:rb_overwrite"))
    for op, errnos, words in REFUSED_BY_5_10.values():
        assert words in advise(op, errnos[0], lacking=lacking, release="5.10.0-46-amd64")


def test_a_map_type_of_a_younger_kernel(advise: Callable[..., str]) -> None:
    ring = MapCreate(MAP_TYPES.index("RINGBUF"), 0, 0, 4096)
    assert advise(ring, E, lacking=frozenset({"ringbuf"}), release="5.4.0") == (
        "RINGBUF maps came with Linux 5.8; this kernel is 5.4.0. "
        'Use a perf event array, or mark the test @pytest.mark.bpf_feature("ringbuf").'
    )


def test_a_map_type_that_was_left_out(advise: Callable[..., str]) -> None:
    storage = MapCreate(MAP_TYPES.index("XSKMAP"), 4, 4, 1)
    assert advise(storage, E, lacking=frozenset({"xskmap"})) == (
        "XSKMAP maps: this kernel does not have it (EINVAL). It needs CONFIG_XDP_SOCKETS. "
        'Mark the test @pytest.mark.bpf_feature("xskmap").'
    )


def named(type: str, *shape: int, name: str = "m", **more: Any) -> MapCreate:
    key, value, entries = shape
    return MapCreate(MAP_TYPES.index(type), key, value, entries, name=name, **more)


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (named("ARRAY_OF_MAPS", 4, 4, 8), "__array(values, struct ...)"),
        (named("RINGBUF", 0, 0, 0, name="rb"), "maps={'rb': 1 << 18}"),
        (named("HASH", 4, 8, 0, name="start"), "maps={'start': 1024}"),
        (named("HASH", 4, 0, 10), "maps={'m': {'value_size': 8}}"),
        (named("HASH", 0, 8, 10), "maps={'m': {'key_size': 4}}"),
        (named("ARENA", 0, 0, 10), "BPF_F_MMAPABLE"),
    ],
)
def test_the_way_out_names_the_map(advise: Callable[..., str], op: MapCreate, words: str) -> None:
    assert words in advise(op, E)


@pytest.mark.parametrize(
    "op",
    [
        named("HASH", 4, 8, 10),
        named("ARRAY", 4, 8, 1),
        named("STACK_TRACE", 4, 1016, 10),
        named("RINGBUF", 0, 0, 4096),
        named("ARRAY_OF_MAPS", 4, 4, 8, inner_map=HANDLE),
        named("TASK_STORAGE", 4, 8, 0, flags=1, btf=HANDLE),
        named("LPM_TRIE", 8, 1, 10, flags=1),
        named("ARENA", 0, 0, 100, flags=1 << 10),
        named("PERCPU_HASH", 4, 32768, 10),
    ],
    ids=lambda op: MAP_TYPES[op.type],
)
def test_a_sound_definition_is_not_blamed(advise: Callable[..., str], op: MapCreate) -> None:
    """All that is left to say is what was refused (and which of its flags it may be)."""
    words = advise(op, E)
    assert "one of them is not for this type" in words or words.startswith("One of the flags BPF_F_MMAPABLE")


PLAIN = MapCreate(1, 4, 4, 1)
RIGHTS: list[tuple[Op, dict[str, object], str]] = [
    (PLAIN, {"cap_bpf": False, "euid": 1000, "unprivileged_bpf_disabled": 2}, "kernel.unprivileged_bpf_disabled is 2"),
    (PLAIN, {"cap_bpf": False, "euid": 1000}, "may only load socket and cgroup filters"),
    (
        load("KPROBE"),
        {"lockdown": "confidentiality"},
        "lockdown is at 'confidentiality', which forbids programs reading",
    ),
    (load("KPROBE"), {"lockdown": "integrity"}, "forbids programs writing user memory"),
    (PLAIN, {"release": "5.10.0", "lockdown": "none"}, "count against RLIMIT_MEMLOCK, and this kernel is 5.10.0"),
    (BtfLoad(b""), {"release": "5.4.0"}, "count against RLIMIT_MEMLOCK"),
    (load("KPROBE"), {"euid": 1000}, "to load a KPROBE program it needs CAP_PERFMON as well"),
    (load("XDP"), {"euid": 1000}, "to load a XDP program it needs CAP_NET_ADMIN as well"),
    (load("SOCKET_FILTER"), {"euid": 1000}, "a policy of this machine forbids it"),
    (load("TRACING"), {}, "a policy of this machine forbids it"),
    (link("CGROUP_INET_INGRESS", target=HANDLE), {}, "allows no other beside it (without BPF_F_ALLOW_MULTI)"),
    (link("XDP", target=1), {}, "a policy of this machine forbids it"),
    (PerfEventOpen(1), {"cap_bpf": False, "euid": 1000, "unprivileged_bpf_disabled": 1}, "bpf_disabled is 1"),
    (PerfEventOpen(1), {}, "perf_event_paranoid"),
]


@pytest.mark.parametrize(("op", "changes", "words"), RIGHTS)
def test_eperm_has_many_reasons(advise: Callable[..., str], op: Op, changes: dict[str, object], words: str) -> None:
    assert words in advise(op, errno.EPERM, **changes)


def test_11_an_exclusive_map_of_an_older_kernel(advise: Callable[..., str]) -> None:
    op = MapCreate(MAP_TYPES.index("HASH"), 4, 4, 1, exclusive=bytes(32))
    for number in (errno.EINVAL, errno.E2BIG):
        assert "exclusive=) came with Linux 6.18, and this kernel is" in advise(op, number)
    assert "exclusive" not in advise(replace(op, exclusive=b""), errno.EINVAL)


LOADS: list[tuple[Op, int, str, str, str]] = [
    (load("NETFILTER"), E, "prog:netfilter", "", "NETFILTER programs came with Linux 6.4; this kernel is 6.1.0."),
    (load("LIRC_MODE2"), E, "prog:lirc_mode2", "", "does not have it (EINVAL). It needs CONFIG_BPF_LIRC_MODE2."),
    (load("XDP"), E, "helper:bpf_cgrp_storage_get", "invalid func unknown#210\n",
     "The helper bpf_cgrp_storage_get() came with Linux 6.2; this kernel is 6.1.0."),
    (load("XDP"), E, "", "unknown func bpf_sys_bpf#166\n", "has the helper bpf_sys_bpf(), but XDP programs may not"),
    (load("XDP"), E, "", "program of this type cannot use helper bpf_sys_bpf#166\n", "XDP programs may not call it"),
    (load("XDP"), errno.EACCES, "kfunc:bpf_dynptr_from_xdp",
     "calling kernel function bpf_dynptr_from_xdp is not allowed",
     "The kernel function bpf_dynptr_from_xdp() came with Linux 6.4"),
    (load("XDP"), errno.EACCES, "", "calling kernel function bpf_obj_new is not allowed", "XDP programs may not"),
    (load("XDP"), E, "isa:v4", "unknown opcode 06\n", "Instruction set v4 came with Linux 6.6; this kernel is 6.1.0. "
     "Compile with -mcpu=v3"),
    (load("XDP"), E, "isa:load_acquire", "BPF_ATOMIC uses reserved fields\n", "Use a plain load"),
    (load("XDP"), E, "isa:bounded_loops", "back-edge from insn 3 to 1\n", "Unroll the loop"),
    (load("XDP", insns=5000), errno.E2BIG, "isa:large_programs", "", "Programs of more than 4096 instructions"),
    (load("LSM", flags=16), E, "isa:sleepable", "", "Leave the .s away"),
    (
        replace(load("LSM"), expected_attach_type=ATTACH_TYPES.index("LSM_CGROUP")), E, "attach:lsm_cgroup", FIGURES,
        "LSM programs on cgroups: this kernel does not have it",
    ),
    (load("XDP"), E, "", FIGURES, "The kernel knows XDP programs, and refused this one before it was verified"),
    (load("XDP"), E, "", "", "The kernel knows XDP programs, and refused this one before it was verified"),
    (load("XDP"), errno.ENOMEM, "", "", "no memory for the program"),
    (load("XDP"), errno.EFAULT, "", "", "a bug of its own (EFAULT)"),
    (BtfLoad(b""), E, "btf:enum64", "magic: 0xeb9f\n[5] Invalid kind:19\n", "BTF of kind ENUM64 came with Linux 6.0"),
    (BtfLoad(bytes(17 << 20)), errno.E2BIG, "", "", "The BTF has 17825792 bytes; the kernel takes 16777216."),
    (BtfLoad(b""), E, "", "[3] FUNC f Invalid name\n", "says about the object's BTF: [3] FUNC f Invalid name"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "number", "lacking", "log", "words"), LOADS)
def test_loads(advise: Callable[..., str], op: Op, number: int, lacking: str, log: str, words: str) -> None:
    changes = {"release": "5.4.0"} if lacking.startswith("btf:") else {}
    assert words in advise(op, number, lacking=frozenset({lacking}), log=log, **changes)


def test_an_atomic_operation_is_not_blamed_on_the_instruction_set(advise: Callable[..., str]) -> None:
    """Linux 5.10 lacks both; clang 22 writes such an operation with -mcpu=v3."""
    words = advise(
        load("XDP"),
        E,
        lacking=frozenset({"isa:atomics", "isa:v4"}),
        log="BPF_STX uses reserved fields\n",
        release="5.10.0",
    )
    assert words.startswith("Atomic operations with a result came with Linux 5.12; this kernel is 5.10.0.")
    assert "__ATOMIC_RELAXED" in words


def test_a_program_that_is_too_long_for_who_loads_it(advise: Callable[..., str]) -> None:
    words = advise(load("SOCKET_FILTER", insns=5000), errno.E2BIG, cap_bpf=False, euid=1000)
    assert words == "The program has 5000 instructions; without CAP_BPF 4096 are allowed, with it a million."


def test_what_the_verifier_says_of_the_program_itself_has_no_hint(advise: Callable[..., str]) -> None:
    assert advise(load("XDP"), errno.EACCES, log="invalid access to packet, off=0 size=1\n") == ""
    assert advise(load("XDP"), E, log="jump out of range from insn 0 to 9\n") == ""


ATTACHES: list[tuple[Op, int, str, str]] = [
    (link("XDP"), E, "attach:xdp_link", "XDP links came with Linux 5.9"),
    (link("TCX_INGRESS"), E, "attach:tcx", "TCX links came with Linux 6.6"),
    (link("CGROUP_INET_INGRESS"), E, "attach:cgroup_link", "Links on cgroups came with Linux 5.7"),
    (link("PERF_EVENT"), E, "attach:perf_link", "Links on perf events came with Linux 5.15"),
    (link("NETKIT_PEER"), E, "attach:netkit", "netkit links came with Linux 6.7"),
    (link("TRACE_KPROBE_MULTI"), errno.EOPNOTSUPP, "attach:kprobe_multi", "kprobe.multi links came with Linux 5.18"),
    (link("XDP"), errno.EOPNOTSUPP, "", "attach with mode='skb'"),
    (link("TCX_EGRESS"), errno.EOPNOTSUPP, "", "does not support this kind of attachment"),
    (link("XDP"), E, "", 'SEC("xdp.frags")'),
    (link("XDP"), errno.ERANGE, "", "MTU may be too large"),
    (link("XDP"), errno.EBUSY, "", "attached there already"),
    (link("SK_LOOKUP"), errno.EEXIST, "", "attached there already"),
    (link("XDP"), errno.ENODEV, "", "The interface is gone"),
    (link("SK_LOOKUP"), errno.EBADF, "", "not what this kind of program attaches to"),
    (link("SK_LOOKUP"), E, "", "refused the target, a flag"),
    (RawTracepointOpen(HANDLE), 524, "fentry", "Trampolines (fentry, fexit) came with Linux 5.5"),
    (RawTracepointOpen(HANDLE), 524, "", "cannot be traced through a trampoline"),
    (RawTracepointOpen(HANDLE), errno.ENOENT, "", "no tracepoint of that name"),
    (RawTracepointOpen(HANDLE), errno.EBUSY, "", "traced already"),
    (RawTracepointOpen(HANDLE), errno.E2BIG, "", "as a trampoline takes (38)"),
    (PerfEventOpen(6), errno.ENOENT, "", "/proc/kallsyms"),
    (PerfEventOpen(6), E, "", "kprobes/blacklist"),
    (PerfEventOpen(6), errno.EACCES, "", "perf_event_paranoid"),
]


@pytest.mark.parametrize(("op", "number", "lacking", "words"), ATTACHES)
def test_attaching(advise: Callable[..., str], op: Op, number: int, lacking: str, words: str) -> None:
    assert words in advise(op, number, lacking=frozenset({lacking}), release="5.4.0" if lacking else "7.3.0")


@pytest.mark.parametrize(
    ("op", "number", "words"),
    [
        (MapSet(HANDLE, b"", b""), errno.E2BIG, "raise max_entries"),
        (MapSet(HANDLE, b"", b""), errno.EPERM, "frozen or read-only"),
        (MapSet(HANDLE, b"", b""), E, "of this shape"),
        (MapSet(HANDLE, b"", b""), errno.EEXIST, "NOEXIST"),
        (MapSet(HANDLE, b"", b""), errno.ENOENT, "EXIST was given"),
        (MapDelete(HANDLE, b""), E, "set them to zero"),
        (MapDelete(HANDLE, b""), errno.EPERM, "frozen or read-only"),
        (MapGet(HANDLE, b""), errno.EPERM, "write-only"),
        (MapGet(HANDLE, b""), 524, "no lookup from user space"),
        (MapDump(HANDLE), 524, "cannot be walked"),
        (MapDump(HANDLE), errno.EPERM, "needs root"),
        (ProgRun(HANDLE), E, "too short"),
        (ProgRun(HANDLE), 524, "attach it instead"),
        (ProgRun(HANDLE), errno.ENOSPC, "beyond the output buffer"),
        (ObjPin(HANDLE, "/x"), errno.EEXIST, "pinned at this path already"),
        (ObjPin(HANDLE, "/x"), errno.EPERM, "below /sys/fs/bpf"),
        (ObjPin(HANDLE, "/x"), errno.ENOENT, "does not exist"),
    ],
)
def test_elements_runs_and_pins(advise: Callable[..., str], op: Op, number: int, words: str) -> None:
    assert words in advise(op, number)


def test_an_op_in_a_try_has_its_hint(advise: Callable[..., str]) -> None:
    assert "raise max_entries" in advise(Try(MapSet(HANDLE, b"", b"")), errno.E2BIG)


def test_a_probe_that_fails_costs_only_the_hint(target_on: TargetOn, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(target: object, *, name: str) -> Answer:
        raise PlanError("no facts")

    monkeypatch.setattr("pytest_ebpf.live.hints.base.probe_feature", broken)
    ring = MapCreate(MAP_TYPES.index("RINGBUF"), 0, 0, 5000)
    assert "power of two" in hint_for(ring, E, target=target_on())


def test_an_error_of_a_session_has_its_advice(target_on: TargetOn) -> None:
    def better(op: Op, errno: int, *, target: Target, log: str = "") -> str:
        return f"{type(op).__name__} {errno} {log}"

    op, failed = MapGet(HANDLE, b""), Failed("MapGet", errno.EPERM, "no", log=b"written")
    for session, hint in (
        (Session(target_on(), advise=better), "MapGet 1 written"),
        (Session(target_on()), ""),
        (Session(target_on(), advise=hints.advise), hint_for(op, errno.EPERM, target=target_on())),
    ):
        with pytest.raises(KernelCallError) as caught:
            session.checked(op, failed, kind=Value)
        assert caught.value.hint == hint


def test_no_row_is_shadowed_by_an_unconditional_one() -> None:
    """A row after one that always speaks for the same operation and error would never be read."""
    seen: set[tuple[str, int]] = set()
    for row in all_hints():
        pairs = {(row.op, number) for number in row.errnos}
        assert not pairs or not pairs <= seen, f"{row} can never speak"
        if isinstance(row.text, str):
            seen |= pairs


def test_rows_are_about_their_op_and_errno(target_on: TargetOn) -> None:
    row = Hint("MapGet", (E,), "words")
    case = Case(MapGet(HANDLE, b""), E, target_on())
    assert row.says(case) == "words"
    assert row.says(replace(case, errno=1)) == ""
    assert row.says(replace(case, op=MapDump(HANDLE))) == ""
