"""From ``prog.run(...)`` to the op, and from its result to a ``RunResult``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from pytest_ebpf.agent.ops import Handle, ProgRun, Ran
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.live.run.contexts import CONTEXTS, RunContext, decode_ctx, encode_ctx
from pytest_ebpf.live.run.flow_probe import flow_verdict
from pytest_ebpf.live.run.retvals import decode_retval, render_retval
from pytest_ebpf.live.run.rules import RUN_RULES, RunRule, runnable_types, type_name, way_out
from pytest_ebpf.live.typed.as_bytes import as_bytes
from pytest_ebpf.live.typed.shape import Shape
from pytest_ebpf.uapi.numbers import BPF_F_TEST_XDP_LIVE_FRAMES

if TYPE_CHECKING:
    from pytest_ebpf.packets.packet import Packet

__all__ = ["PacketRuns", "RunInput", "RunResult", "context_of", "data_of", "plan_run", "read_run", "rule_for"]

_RAW_TP_ARGS = 12  # MAX_BPF_FUNC_ARGS, include/linux/bpf.h


@dataclass(frozen=True, slots=True)
class RunResult:
    """One test run. ``retval`` as ``decode_retval`` gives it; ``data`` the packet after the run; ``ctx`` the context
    after the run by field name (bytes for untyped SYSCALL contexts, empty where the type has none or none was asked
    for); ``duration`` is the kernel's nanoseconds per run; ``sent`` the packet it ran on."""

    retval: int
    data: bytes = b""
    ctx: Any = field(default_factory=dict)
    duration: int = 0
    sent: bytes = field(default=b"", compare=False, repr=False)

    @property
    def packet(self) -> Packet:
        """``data`` as headers, of a program that runs on Ethernet frames."""
        from pytest_ebpf.packets.parse import parse_packet

        return parse_packet(self.data)

    def __bytes__(self) -> bytes:
        return self.data

    def __str__(self) -> str:
        return f"{render_retval(self.retval)}, {len(self.data)} bytes"


class RunInput(NamedTuple):
    """What ``Program.run`` was given. ``shape`` types the context of a SYSCALL program. ``live``: on live frames.
    ``netns``: the network namespace to run in, None for that of the agent."""

    data: object = b""
    ctx: object = None
    repeat: int = 1
    flags: int = 0
    cpu: int = 0
    batch_size: int = 0
    shape: Shape | None = None
    live: bool = False
    netns: Handle | None = None


class PacketRuns:
    """Runs of one program on a packet and nothing else, the most frequent kind: what does not change is found once.
    ``plan`` and ``read`` do what ``plan_run`` and ``read_run`` do, in half the time."""

    __slots__ = ("_least", "_named", "_prog", "_type")

    def __init__(self, prog: Handle, *, prog_type: int) -> None:
        rule = RUN_RULES.get(prog_type)
        fits = rule is not None and rule.takes_data and rule.context in ("xdp_md", "nf_hook_state")
        self._prog = prog
        self._type = prog_type
        self._least: float = rule.min_data if rule is not None and fits else float("inf")
        self._named: dict[int, int] = {}

    def plan(self, data: object) -> ProgRun | None:
        """The op; None when it takes ``plan_run``."""
        if type(data) is bytes and len(data) >= self._least:
            return ProgRun(self._prog, data, b"", 1, 0, 0, 0, None, 0)
        return None

    def read(self, ran: Ran, sent: bytes) -> RunResult:
        """The kernel's answer with names on it."""
        named = self._named.get(ran.retval)
        if named is None:
            named = self._named[ran.retval] = decode_retval(self._type, ran.retval)
        return RunResult(named, ran.data, {}, ran.duration, sent)


def rule_for(prog_type: int, *, program: str) -> RunRule:
    """How the type runs. ``KernelCallError`` (errno 0) with the way out for a type that cannot."""
    rule = RUN_RULES.get(prog_type)
    if rule is not None:
        return rule
    name = type_name(prog_type)
    raise KernelCallError(
        f"{program}: no kernel can test_run a {name} program",
        op="ProgRun",
        errno=0,
        hint=f"Instead, {way_out(prog_type)}. Types that can run: {runnable_types()}.",
    )


def plan_run(given: RunInput, prog: Handle, *, prog_type: int, program: str, byteorder: str) -> ProgRun:
    """The op for one run. ``KernelCallError`` (errno 0) for input that the kernel would only call invalid."""
    rule = rule_for(prog_type, program=program)
    if given.flags & BPF_F_TEST_XDP_LIVE_FRAMES and not given.live:
        _refuse(
            f"{program}: a run on live frames returns no verdict, data or context",
            hint="Use prog.run_live(packets, repeat=, batch=, ctx=), whose result has counts.",
        )
    data = data_of(given.data, rule, program=program)
    ctx = context_of(given, rule, size=len(data), byteorder=byteorder)
    if not isinstance(given.repeat, int) or not 0 <= given.repeat < 1 << 31:
        _refuse(f"{program}: repeat is a number of runs below 2**31, not {given.repeat!r}")
    if given.repeat != 1 and not rule.repeatable:
        _refuse(
            f"{program}: a {type_name(prog_type)} program runs once per call; repeat={given.repeat} is not possible"
        )
    if given.cpu and rule.context != "args":  # the kernel refuses it for some types, and ignores it for XDP
        _refuse(
            f"{program}: cpu= is for raw tracepoints alone: a {type_name(prog_type)} program runs where the agent is"
        )
    return ProgRun(
        prog,
        data=data,
        ctx=ctx,
        repeat=given.repeat if rule.repeatable else 0,
        flags=given.flags,
        cpu=given.cpu,
        batch_size=given.batch_size,
        data_out_size=None if rule.takes_data else 0,
        ctx_out_size=_ctx_out(rule, asked=bool(ctx)),
        netns=given.netns,
    )


def read_run(
    result: Ran,
    *,
    prog_type: int,
    byteorder: str,
    shape: Shape | None = None,
    boolean: bool = False,
    sent: bytes = b"",
) -> RunResult:
    """The kernel's answer with names on it. ``boolean``: it says only whether the verdict was BPF_OK."""
    rule = RUN_RULES[prog_type]
    ctx: Mapping[str, object] | bytes = {}
    if rule.context == "bytes":
        typed = shape.decode(result.ctx) if shape is not None and len(result.ctx) >= shape.size else result.ctx
        ctx = typed if isinstance(typed, Mapping) else result.ctx
    elif rule.context == "bpf_flow_keys":
        ctx = decode_ctx(CONTEXTS[rule.context], result.data, byteorder=byteorder)
    elif rule.context in CONTEXTS and result.ctx:
        ctx = decode_ctx(CONTEXTS[rule.context], result.ctx, byteorder=byteorder)
    retval = flow_verdict(result.retval) if boolean else decode_retval(prog_type, result.retval)
    return RunResult(retval, result.data, ctx, result.duration, sent)


def data_of(given: object, rule: RunRule, *, program: str) -> bytes:
    """The bytes to run on. ``KernelCallError`` (errno 0) for none where the type wants some, and the reverse."""
    data = as_bytes(given)
    if rule.takes_data and len(data) >= rule.min_data:
        return data
    name = type_name(rule.type)
    if data and not rule.takes_data:
        _refuse(f"{program}: a {name} program takes no data" + (", only ctx" if rule.context else ""))
    if rule.takes_data and len(data) < rule.min_data:
        _refuse(
            f"{program}: a {name} program runs on {rule.data_is} of at least {rule.min_data} bytes, got {len(data)}",
            hint="Pass bytes or a packet: prog.run(Eth() / IP() / b'payload').",
        )
    return data


def context_of(given: RunInput, rule: RunRule, *, size: int, byteorder: str) -> bytes:
    """The bytes of the context for a packet of ``size`` bytes, b"" for none."""
    ctx = given.ctx
    if rule.context == "args":
        return _args(ctx, byteorder=byteorder)
    if rule.context == "bytes":
        return _free_form(ctx, shape=given.shape)
    if ctx is None:
        return bytes(CONTEXTS[rule.context].size) if rule.context == "bpf_sk_lookup" else b""
    if rule.context not in CONTEXTS:
        _refuse(f"a {type_name(rule.type)} program takes no context")
    if isinstance(ctx, bytes | bytearray | memoryview):
        return bytes(ctx)
    if not isinstance(ctx, Mapping):
        raise BpfUsageError(
            f"ctx= is a dict of fields of struct {rule.context}, or bytes, not {type(ctx).__name__}: {ctx!r}"
        )
    return encode_ctx(CONTEXTS[rule.context], _fitting(ctx, rule, size=size), byteorder=byteorder)


def _fitting(ctx: Mapping[str, object], rule: RunRule, *, size: int) -> Mapping[str, object]:
    """The fields, with those that tell the length of the packet: one that a run gave back tells that of its packet."""
    values = RunContext(ctx) if isinstance(ctx, RunContext) else dict(ctx)
    if rule.context == "xdp_md":
        values["data_end"] = size if isinstance(ctx, RunContext) else values.get("data_end", size)
    elif isinstance(ctx, RunContext) and rule.context == "__sk_buff":
        values.pop("wire_len", None)  # that of the packet, unless it is given
        values.pop("data_end", None)
    return values


def _args(ctx: object, *, byteorder: str) -> bytes:
    """Arguments of a raw tracepoint: always room for all, because the kernel wants as many as the program looks at."""
    if isinstance(ctx, bytes | bytearray | memoryview):
        return bytes(ctx).ljust(8 * _RAW_TP_ARGS, b"\0")
    values = (
        [] if ctx is None else list(ctx) if isinstance(ctx, Sequence) and not isinstance(ctx, str) else _no_list(ctx)
    )
    for index, value in enumerate(values):
        if not isinstance(value, int):
            raise BpfUsageError(f"ctx: argument {index} takes a number, not {type(value).__name__}: {value!r}")
    if len(values) > _RAW_TP_ARGS:
        _refuse(f"a raw tracepoint has at most {_RAW_TP_ARGS} arguments, got {len(values)}")
    numbers = values + [0] * (_RAW_TP_ARGS - len(values))
    order = "big" if byteorder == "big" else "little"
    return b"".join(
        (int(number) & (1 << 64) - 1).to_bytes(8, "big" if order == "big" else "little") for number in numbers
    )


def _no_list(ctx: object) -> NoReturn:
    raise BpfUsageError(f"ctx= of a raw tracepoint is a list of its arguments (u64), not {type(ctx).__name__}: {ctx!r}")


def _free_form(ctx: object, *, shape: Shape | None) -> bytes:
    if ctx is None:
        return bytes(shape.size) if shape is not None else b""
    if isinstance(ctx, bytes | bytearray | memoryview):
        return bytes(ctx)
    if shape is not None:
        try:
            return shape.encode(ctx)
        except TypeError as error:
            raise BpfUsageError(f"ctx: {error}") from None
    _refuse("ctx must be bytes: the program's BTF does not say what its context is")


def _ctx_out(rule: RunRule, *, asked: bool) -> int | None:
    # SYSCALL changes its input in place and refuses an output buffer; the agent hands the input back.
    if rule.context not in CONTEXTS or rule.context == "nf_hook_state" or (rule.ctx_only_on_request and not asked):
        return 0
    return CONTEXTS[rule.context].size


def _refuse(message: str, *, hint: str = "") -> NoReturn:
    raise KernelCallError(message, op="ProgRun", errno=0, hint=hint)
