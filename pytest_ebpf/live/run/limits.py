"""Why a kernel refused a test run, found by experiment: it says EINVAL for a packet that is too short, for one that is
too long and for each field of the context alike, and the limits differ between kernels (``net/bpf/test_run.c``).

A program of the same type that does nothing runs on variants of the input: without the context, with one field less,
with fewer and with more bytes. What makes the difference is the reason.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import Close, ProgLoad, ProgLoaded, ProgRun, ProgRunMany, Ran, Try
from pytest_ebpf.errors import KernelCallError
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.live.run.accepted import idle_program
from pytest_ebpf.live.run.contexts import CONTEXTS, Context, Field, encode_ctx
from pytest_ebpf.live.run.refusals import refusal
from pytest_ebpf.live.run.rules import RUN_RULES, RunRule, type_name
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.sections import SectionSpec
from pytest_ebpf.uapi.numbers import BPF_F_TEST_XDP_LIVE_FRAMES

__all__ = ["hint_for_run", "why_refused"]

_ASKED = (errno.EINVAL, errno.E2BIG, errno.ENODEV, errno.ERANGE, errno.ENOMEM, errno.EMSGSIZE)
_ENOUGH = 128  # bytes that every kernel takes: no header is too short in them, no page too small
_LIMITS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("__sk_buff", "ifindex"): "the index of an interface in the namespace of the run (netns=, or veth.b itself)",
        ("__sk_buff", "wire_len"): "at least the length of the packet, at most 65536",
        ("__sk_buff", "gso_segs"): "at most 65535",
        ("__sk_buff", "data_end"): "the length of the linear part of the packet, at least 14",
        ("xdp_md", "data"): "the length of the metadata at the start of the packet: a multiple of 4 that fits in it",
        ("xdp_md", "data_end"): "the length of the packet",
        ("xdp_md", "ingress_ifindex"): "the index of an interface in the namespace of the run",
        ("xdp_md", "rx_queue_index"): "a queue that the interface of ingress_ifindex has",
        ("bpf_flow_keys", "flags"): "FLOW_DISSECTOR_F_PARSE_1ST_FRAG, _STOP_AT_FLOW_LABEL and _STOP_AT_ENCAP (1, 2, 4)",
        ("bpf_sk_lookup", "local_port"): "at most 65535",
        ("nf_hook_state", "hook"): "0 to 4 (NF_INET_PRE_ROUTING to NF_INET_POST_ROUTING)",
        ("nf_hook_state", "pf"): "2 (NFPROTO_IPV4) or 10 (NFPROTO_IPV6), as the packet is",
    }
)


def hint_for_run(
    session: Session,
    op: ProgRun | ProgRunMany,
    *,
    error: KernelCallError,
    kind: SectionSpec | None,
    load: ProgLoad | None,
) -> str:
    """What to do about a refused run: what experiments say, else what is known of the type. ``load``: what loaded the
    program, None for one from its pin."""
    assert kind is not None
    why = why_refused(session, op, error=error, like=load or ProgLoad(kind.prog_type, b"", "GPL"))
    return why or refusal(op, error.errno, prog_type=kind.prog_type, attach_type=kind.attach_type)


def why_refused(session: Session, op: ProgRun | ProgRunMany, *, error: KernelCallError, like: ProgLoad) -> str:
    """What of the input of ``op`` the kernel refused with ``error``, and what it takes; "" where experiments do not
    tell. ``like``: how the program is loaded (its type, and whether it takes fragments)."""
    rule = RUN_RULES.get(like.type)
    if rule is None or error.errno not in _ASKED or rule.context not in CONTEXTS:
        return ""
    if op.flags & BPF_F_TEST_XDP_LIVE_FRAMES:
        return ""  # these frames go somewhere
    loaded = session.run([Try(idle_program(like, byteorder=session.target.described.byteorder))])[0]
    if not isinstance(loaded, ProgLoaded):
        return ""
    run = _failed_run(op, str(error))
    trial = _Trial(session, replace(run, prog=loaded.handle, repeat=min(run.repeat, 1)), rule)
    try:
        return trial.reason()
    finally:
        session.run([Try(Close(loaded.handle))])


def _failed_run(op: ProgRun | ProgRunMany, message: str) -> ProgRun:
    """The run of a batch that failed, by the number of its packet in the message."""
    if isinstance(op, ProgRun):
        return op
    found = re.search(r", packet (\d+)", message)
    return ProgRun(op.prog, op.data[int(found[1]) if found else 0], op.ctx, flags=op.flags, netns=op.netns)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Runs of a program that does nothing, on variants of the input of ``op``."""

    session: Session
    op: ProgRun
    rule: RunRule

    def reason(self) -> str:
        if self.runs(self.op):
            return ""  # not the input
        if self.op.ctx and self.op.data and not self.runs(replace(self.op, ctx=b"")):
            return self.length()
        return self.blamed() if self.op.ctx else self.length()

    def runs(self, op: ProgRun) -> bool:
        return isinstance(self.session.run([Try(op)])[0], Ran)

    def takes(self, size: int) -> bool:
        """Whether a packet of so many bytes runs that begins as this one does."""
        return self.runs(replace(self.op, data=self.op.data[:size].ljust(size, b"\0"), ctx=b""))

    def length(self) -> str:
        size, kind = len(self.op.data), type_name(self.rule.type)
        if size < _ENOUGH and self.takes(_ENOUGH):
            least = _first(self.takes, low=size, high=_ENOUGH)
            return (
                f"The packet has {size} bytes; this kernel runs {kind} programs on {least} or more{self.begins()}. "
                f"Fill it up (packet.ljust({least}, b'\\0')) or leave it out; st.packets(least={least}) draws none."
            )
        if size > _ENOUGH and self.takes(_ENOUGH):
            most = _first(lambda tried: not self.takes(tried), low=_ENOUGH, high=size) - 1
            frags = ' SEC("xdp.frags") programs take more (Linux 5.18).' if kind == "xdp" else ""
            return (
                f"The packet has {size:,} bytes; this kernel runs {kind} programs on {most:,} at most. "
                f"Make it shorter, or send it over a wire (bpf_veth).{frags}"
            )
        return ""

    def begins(self) -> str:
        """The EtherType, by which kernels want the header behind it."""
        data = self.op.data
        return (
            f" that begin with EtherType 0x{data[12:14].hex()}" if self.rule.min_data == 14 and len(data) > 13 else ""
        )

    def blamed(self) -> str:
        """The fields of the context without which it runs, or that alone it does not run with."""
        context, plain = CONTEXTS[self.rule.context], self.plain()
        if context.name == "xdp_md" and not self.takes_ctx(plain):
            return "This kernel takes no context for xdp programs (Linux 5.14 is the first that does): leave ctx= out."
        given = [field for field in context.fields if _part(self.op.ctx, field) != _part(plain, field)]
        found = [field for field in given if self.takes_ctx(_with(self.op.ctx, field, source=plain))]
        found = found or [field for field in given if not self.takes_ctx(_with(plain, field, source=self.op.ctx))]
        return "\n".join(self.about(context, field) for field in found)

    def plain(self) -> bytes:
        """The context that says nothing but what each has to say, of the length of this one or more."""
        context = CONTEXTS[self.rule.context]
        values: dict[str, object] = {}
        if context.name == "xdp_md":
            values["data_end"] = len(self.op.data)
        if context.name == "bpf_sk_lookup":
            values |= {"family": socket.AF_INET, "protocol": socket.IPPROTO_TCP}
        return encode_ctx(context, values, byteorder=self.order).ljust(len(self.op.ctx), b"\0")

    def takes_ctx(self, ctx: bytes) -> bool:
        return self.runs(replace(self.op, ctx=ctx))

    @property
    def order(self) -> str:
        return self.session.target.described.byteorder

    def about(self, context: Context, field: Field) -> str:
        parts = [
            _part(self.op.ctx, field)[at : at + field.size] for at in range(0, field.size * field.count, field.size)
        ]
        order = "big" if field.big_endian or self.order == "big" else "little"
        numbers = [int.from_bytes(part, "big" if order == "big" else "little") for part in parts]
        value = numbers[0] if field.count == 1 else tuple(numbers)
        limit = _LIMITS.get((context.name, field.name))
        if limit:
            return f"struct {context.name}: this kernel does not take {field.name}={value}. It is {limit}."
        return f"struct {context.name}: this kernel does not let a test run set {field.name!r}: leave it out of ctx=."


def _first(holds: Callable[[int], bool], *, low: int, high: int) -> int:
    """The least number for which it holds; it holds for ``high`` and not for ``low``."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _part(ctx: bytes, field: Field) -> bytes:
    return ctx[field.offset : field.offset + field.size * field.count]


def _with(ctx: bytes, field: Field, *, source: bytes) -> bytes:
    """``ctx`` with the field as ``source`` has it."""
    end = field.offset + field.size * field.count
    return ctx[: field.offset] + _part(source, field) + ctx[end:]
