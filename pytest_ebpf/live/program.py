"""A loaded program in the hands of a test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, Unpack

from pytest_ebpf.agent.ops import Close, Done, Handle, ProgLoaded, ProgRun, ProgRunMany, Ran
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.frozen import replace
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.bpf_streams import ProgStream
from pytest_ebpf.live.bpffs import pin, unpin
from pytest_ebpf.live.handles import close_after
from pytest_ebpf.live.inspect import queries
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.reload import TRACE_LEVEL, Reload, Seldom, load_trace
from pytest_ebpf.live.run.accepted import ContextCheck
from pytest_ebpf.live.run.flow_probe import dissects_as_boolean
from pytest_ebpf.live.run.limits import hint_for_run
from pytest_ebpf.live.run.live_run import LiveRun, run_live
from pytest_ebpf.live.run.many import ManyRuns
from pytest_ebpf.live.run.place import run_place
from pytest_ebpf.live.run.syscall_context import shape_of_context
from pytest_ebpf.live.run.test_run import PacketRuns, RunInput, RunResult, plan_run, read_run
from pytest_ebpf.live.run.watch import Watch
from pytest_ebpf.live.session import Session, calling_folder
from pytest_ebpf.live.typed.shape import Shape
from pytest_ebpf.obj.object import LineInfo, ObjectFile, ProgramDef
from pytest_ebpf.obj.type_names import prog_type_text
from pytest_ebpf.uapi.enums import ProgType
from pytest_ebpf.uapi.names import ProgTypeName
from pytest_ebpf.verifier.log.read import parse_stats
from pytest_ebpf.verifier.log.values import VerifierStats

if TYPE_CHECKING:
    from pytest_ebpf.live.attach.arguments import AttachOptions, AttachTarget
    from pytest_ebpf.live.inspect.dump import Jited, Xlated
    from pytest_ebpf.live.inspect.info import ProgInfo
    from pytest_ebpf.live.inspect.query import RunStats
    from pytest_ebpf.packets.capture import Capture
    from pytest_ebpf.verifier.compare.cost import LineCost
    from pytest_ebpf.verifier.verifier_log import VerifierLog
__all__ = ["Program"]

R = TypeVar("R")


class Program:
    """A program in the kernel, until the scope that loaded it ends."""

    def __init__(
        self,
        session: Session,
        *,
        definition: ProgramDef,
        loaded: ProgLoaded,
        obj: ObjectFile,
        maps: Callable[[], Mapping[str, Map]] = dict,
        again: Reload | None = None,
    ) -> None:
        self._session = session
        self._again = again
        self._maps = maps
        self.definition = definition
        self._loaded = loaded
        self._copy: ProgLoaded | None = None
        self._watch: Watch | None = None
        self._obj = obj
        self._pins: list[str] = []

    @property
    def name(self) -> str:
        """The name of its C function."""
        return self.definition.name

    @property
    def handle(self) -> Handle:
        """How ops name it: the instrumented copy, while one is in use."""
        return (self._copy or self._loaded).handle

    @property
    def id(self) -> int:
        """The kernel's id of it, as ``bpftool prog`` shows it."""
        return (self._copy or self._loaded).id

    @property
    def original(self) -> Reload | None:
        """How it was loaded, None for one that was opened from its pin."""
        return self._again

    def use(self, copy: ProgLoaded | None, *, watch: Watch | None = None) -> None:
        """Run and attach ``copy`` from now on, None for the program itself. ``watch`` runs the ops of test runs."""
        self._copy, self._watch = copy, watch
        self.__dict__.pop("_packets", None)

    def _answer(self, op: ProgRun | ProgRunMany, kind: type[R], *, run: Callable[..., R] | None = None) -> R:
        try:
            return (run or self._watch or self._session.one)(op, kind)
        except KernelCallError as error:
            spec, load = self.definition.spec, self._again.op if self._again is not None else None
            error.hint = hint_for_run(self._session, op, error=error, kind=spec, load=load) or error.hint
            raise

    @property
    def type_number(self) -> int:
        """The kernel's number of its type."""
        assert self.definition.spec is not None
        return self.definition.spec.prog_type

    @property
    def type(self) -> ProgTypeName | str:
        """Its type, which equals the kernel's name in small letters: "xdp", "sched_cls", "kprobe", ..."""
        return prog_type_text(self.type_number)

    @cached_property
    def log(self) -> VerifierLog:
        """What the verifier wrote when it accepted the program (``log_level=`` of ``load`` says how much)."""
        return _read_log(self._loaded.log.decode(errors="replace"), log_level=self._loaded.log_level)

    @cached_property
    def stats(self) -> VerifierStats:
        """What verification cost; ``insns`` is the kernel's own count also where there is no log."""
        stats = parse_stats(self._loaded.log.decode(errors="replace"))
        if stats.insns is None and self._loaded.verified_insns:
            return replace(stats, insns=self._loaded.verified_insns)
        return stats

    @cached_property
    def trace(self) -> VerifierLog:
        """The verifier's whole trace (log level 2), as far as 64 MiB hold it: the program is loaded once more for it,
        unless it was loaded with it."""
        if self._loaded.log_level & 2:
            return self.log
        if self._again is None:
            raise BpfUsageError(f"{self.name} was opened from its pin: it cannot be loaded again for its trace")
        return _read_log(load_trace(self._session, self._again.op), log_level=TRACE_LEVEL)

    @property
    def costs(self) -> tuple[LineCost, ...]:
        """How many instructions the verifier walked in each source line, counted in ``trace``."""
        return _seldom().line_costs(self.trace.text, self.line_info)

    @property
    def line_info(self) -> Sequence[LineInfo]:
        """Which source line an instruction (of the loaded program, subprograms behind it) is of."""
        return self._again.line_info if self._again is not None else ()

    @property
    def figures(self) -> Mapping[str, int]:
        """What a budget can bound: insns, states, peak_states, max_states_per_insn, stack (bytes of the deepest call
        chain), time_us, limit (instructions of those allowed, in percent), size and jited (bytes); those known here."""
        return _seldom().figures_of(self.stats, size=self._loaded.xlated_len, jited=self._loaded.jited_len)

    def within(self, **bounds: object) -> Program:
        """Assert that verifying it cost at most this: ``prog.within(insns=4000, stack=256, limit="50%")``. The names
        are those of ``figures``, and ``jited``, ``size``; see docs/budgets.md. The error names what was used and the
        costliest source lines."""
        _seldom().check_within(self, bounds=bounds)
        return self

    @property
    def object_name(self) -> str:
        """The name of its object file, without directories."""
        return self._obj.name.rpartition("/")[2]

    @property
    def release(self) -> str:
        """The release of the kernel it is loaded in."""
        return self._session.target.described.release

    @property
    def machine(self) -> str:
        """``uname -m`` of where it is loaded."""
        return self._session.target.described.machine

    @property
    def loaded_insns(self) -> int:
        """Of how many instructions it consists, with its subprograms, as it was handed to the kernel."""
        return len(self._again.op.insns) // 8 if self._again is not None else 0

    @property
    def time_scale(self) -> float:
        """How much longer things take on this kernel than on real hardware."""
        return self._session.target.time_scale

    @property
    def info(self) -> ProgInfo:
        """What the kernel says about it now: ids, sizes, tag, maps, run counts, ..."""
        info: ProgInfo = queries().ask_info(self._session, "prog", asked=self.handle)
        return info

    @property
    def xlated(self) -> Xlated:
        """Its instructions as the verifier left them, with source lines: ``print(prog.xlated)``."""
        return queries().ask_xlated(self._session, self._loaded.handle)

    @property
    def jited(self) -> Jited:
        """Its machine code, by function."""
        return queries().ask_jited(self._session, self._loaded.handle)

    @property
    def run_stats(self) -> RunStats:
        """How often it ran and for how long, inside ``with bpf.count_runs():``."""
        return queries().ask_run_stats(self._session, self.handle)

    @property
    def stdout(self) -> ProgStream:
        """What it writes with ``bpf_stream_printk(BPF_STDOUT, ...)``: ``prog.stdout.read()`` (Linux 6.17)."""
        return ProgStream(self._session, program=self.handle, number=1)

    @property
    def stderr(self) -> ProgStream:
        """As ``stdout``, what it writes to BPF_STDERR, and what the kernel has to report of it."""
        return ProgStream(self._session, program=self.handle, number=2)

    def _noted(self, result: RunResult) -> RunResult:
        self._session.last_run = self.name, result
        return result

    def run(
        self,
        data: object = b"",
        *,
        ctx: object = None,
        repeat: int = 1,
        flags: int = 0,
        cpu: int = 0,
        batch_size: int = 0,
        netns: object = None,
    ) -> RunResult:
        """Run it once with ``BPF_PROG_TEST_RUN``.

        ``data``: bytes or a packet. ``ctx``: a dict of fields (``xdp_md``, ``__sk_buff``, ``bpf_sk_lookup``), a list of
        u64 (raw tracepoints), a dict or bytes (SYSCALL). ``repeat`` runs it that often and reports the last run and the
        mean duration; many calls are faster than a large ``repeat`` unless the duration is what you want.
        ``flags``: ``RunFlag``, of which ``XDP_LIVE_FRAMES`` takes a ``batch_size``. ``netns``: the network namespace in
        which it runs; unless given, that of an interface in ``ctx`` (``{"ingress_ifindex": veth.b}``).

        ``KernelCallError``: errno 0 when refused before the call (a type that cannot run, input that cannot be), else
        the kernel's answer with a hint.
        """
        if ctx is None and repeat == 1 and netns is None and not (flags or cpu or batch_size):
            quick = self._packets.plan(data)
            if quick is not None:
                return self._noted(self._packets.read(self._answer(quick, Ran), quick.data))
        place, ctx = run_place(self._session, netns, ctx=ctx), self._contexts.checked(ctx)
        given = RunInput(data, ctx, repeat, flags, cpu, batch_size, self.context_shape, netns=place)
        op = plan_run(given, self.handle, prog_type=self.type_number, program=self.name, byteorder=self._byteorder)
        result = self._answer(op, Ran)
        shape, boolean, kind, order = self.context_shape, self._is_boolean, self.type_number, self._byteorder
        return self._noted(
            read_run(result, prog_type=kind, byteorder=order, shape=shape, boolean=boolean, sent=op.data)
        )

    def run_many(self, packets: Iterable[object], *, ctx: object = None, netns: object = None) -> list[RunResult]:
        """Run it once per packet, a thousand packets per round trip. ``ctx`` is the same for all; none comes back."""
        place, ctx = run_place(self._session, netns, ctx=ctx), self._contexts.checked(ctx)
        given = RunInput(ctx=ctx, shape=self.context_shape, netns=place)
        return self._many_runs.results(packets, given, prog=self.handle, answer=self._answer)

    def run_valid(self, packets: Iterable[object]) -> dict[int, RunResult]:
        """As ``run_many`` without what this kernel calls invalid (too short, too long): results by packet number."""
        return self.start_valid(packets)()

    def start_valid(self, packets: Iterable[object]) -> Callable[[], dict[int, RunResult]]:
        """``run_valid`` that returns while a guest runs: what it returns waits, before anything else is asked of it."""
        return self._many_runs.start(packets, prog=self.handle, answer=self._answer, watched=self._watch is not None)

    def run_pcap(
        self, path: str | os.PathLike[str] | Capture, *, ctx: object = None, netns: object = None
    ) -> list[RunResult]:
        """Run it once per frame of a capture file (pcap, pcapng, also compressed with gzip): one result per frame. A
        relative path is looked for next to the test, then in the working directory.

        Programs that take Ethernet frames get a link header in front of frames captured without one (``-i any``, raw
        IP); programs that take IP packets get the frames without theirs."""
        frames = _seldom().captured(path, (calling_folder(),), prog_type=self.type_number, program=self.name)
        return self.run_many(frames, ctx=ctx, netns=netns)

    def run_live(
        self, packets: Iterable[object], *, repeat: int = 1, batch: int = 0, ctx: object = None, flags: int = 0
    ) -> LiveRun:
        """Run an XDP program on live frames (Linux 5.18): what it passes goes to the stack of its interface, what it
        redirects or sends back leaves through one. Each packet is sent ``repeat`` times, ``batch`` frames at once (64
        unless given). ``ctx``: ``ingress_ifindex`` is the interface the frames come from; ``data`` the length of the
        metadata at the start of each packet.

        The result has counts and no verdict, since the kernel reports none.
        """
        place, ctx = run_place(self._session, None, ctx=ctx), self._contexts.checked(ctx)
        given = RunInput(ctx=ctx, repeat=repeat, flags=flags, batch_size=batch, netns=place)
        kind, name = self.type_number, self.name
        return run_live(self._session, self.handle, given=given, packets=packets, prog_type=kind, program=name)

    def attach(self, *place: AttachTarget, **options: Unpack[AttachOptions]) -> Link:
        """Attach it, until the end of the test or ``detach()``. Its target may be given by position or by name:

        - xdp, tc, netkit, lwt: ``interface`` (a name, an index, or an object such as ``veth.b``)
        - kprobe, kprobe.multi, fentry: ``function``; tracepoint: ``event`` ("category:name"); raw tracepoint: ``event``
        - cgroup types: ``cgroup`` (from ``bpf.cgroup()`` or a path); sk_lookup, flow_dissector: ``netns``
        - uprobe: ``binary``, ``symbol``; usdt: ``binary``, "provider:name"
        - socket filters, sk_reuseport: ``socket``; sk_msg, sk_skb: ``map``; lirc: ``device``; freplace: ``target``
        - netfilter, iterators, perf events and LSM take options by name only

        A target that the section name states may be left out. docs/attaching.md and docs/attaching-tracing.md list all
        options of each type. ``mechanism`` asks for a link or for what older kernels have ("link", "netlink", "tcx",
        "clsact", "attach"); the default is the newest that the kernel has.

        ``BpfUsageError`` names an option that is missing, that the type does not take, or that has the wrong type.
        """
        from pytest_ebpf.live.attach.table import attach_program

        return attach_program(self._session, self, target=place, options=options)

    def pin(self, path: str, *, keep: bool = False) -> Program:
        """Pin it at a path of the bpf file system (a bare name: in /sys/fs/bpf), until the end of the test unless
        ``keep``. Returns the program itself."""
        self._pins.append(pin(self._session, self.handle, path=path, keep=keep))
        return self

    def unpin(self) -> Program:
        """Remove the pins that ``pin`` made; the program stays loaded. Returns the program itself."""
        while self._pins:
            unpin(self._session, self._pins.pop())
        return self

    def close(self) -> None:
        """Close it now instead of at the end of the test; what is attached or pinned keeps it loaded. Twice is
        harmless."""
        self._session.attempt(Close(self._loaded.handle), Done)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)

    @property
    def btf(self) -> Btf | None:
        """The types of the object it came from."""
        return self._obj.btf

    @property
    def maps(self) -> Mapping[str, Map]:
        """All maps of the object it came from, whether it uses them or not."""
        return self._maps()

    @property
    def session(self) -> Session:
        """Where it is loaded."""
        return self._session

    @property
    def _byteorder(self) -> str:
        return self._session.target.described.byteorder

    @cached_property
    def _is_boolean(self) -> bool:
        """Whether this kernel reports only whether the program returned BPF_OK (flow dissectors before Linux 6.1)."""
        return self.type_number == ProgType.FLOW_DISSECTOR and dissects_as_boolean(self._session)

    @cached_property
    def _packets(self) -> PacketRuns:
        return PacketRuns(self.handle, prog_type=self.type_number)

    @cached_property
    def _many_runs(self) -> ManyRuns:
        return ManyRuns(self._session, self.name, prog_type=self.type_number, boolean=self._is_boolean)

    @cached_property
    def _contexts(self) -> ContextCheck:
        return ContextCheck(self._session, prog_type=self.type_number)

    @cached_property
    def context_shape(self) -> Shape | None:
        """The struct a SYSCALL program takes, from the prototype of its function."""
        return shape_of_context(self._obj, self.definition, prog_type=self.type_number)

    def __repr__(self) -> str:
        return f"<Program {self.name} ({self.type})>"


def _read_log(text: str, *, log_level: int) -> VerifierLog:
    from pytest_ebpf.verifier.verifier_log import parse_log

    return parse_log(text, log_level=log_level)


def _seldom() -> Seldom:
    from pytest_ebpf.live import seldom

    return seldom
