"""The contexts that ``BPF_PROG_TEST_RUN`` takes and gives back, field by field.

Layouts: ``include/uapi/linux/bpf.h`` (Linux 6.18); which fields a run may set: ``convert___skb_to_skb``,
``xdp_convert_md_to_buff`` and ``bpf_prog_test_run_sk_lookup`` in ``net/bpf/test_run.c``. A field the kernel insists on
being zero is refused here by name, because the kernel would only say EINVAL.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pytest_ebpf.btf.addresses import AddressInt, pack_address
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.frozen import dataclass

__all__ = ["CONTEXTS", "Context", "Field", "RunContext", "decode_ctx", "encode_ctx", "namespaces_of"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: ``size`` bytes per element, ``count`` elements (1: a plain number, else a tuple).

    ``big_endian`` marks fields in network byte order, whose value here is the number as people write it.
    ``is_address``: one element is an IPv4 address, four are IPv6; it may be given as text, and equals its text.
    ``is_interface``: the index of an interface, which may be given itself. ``since``: the first release in which a run
    may set it, where that is later than the type's first test run."""

    name: str
    offset: int
    size: int
    count: int = 1
    settable: bool = False
    big_endian: bool = False
    is_address: bool = False
    is_interface: bool = False
    since: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """``struct name``, ``size`` bytes. Fields that are not listed are padding or pointers of no use to a test."""

    name: str
    size: int
    fields: tuple[Field, ...]


def _xdp_md() -> Context:
    return Context(
        "xdp_md",
        24,
        (
            Field("data", 0, 4, settable=True, since="5.14"),
            Field("data_end", 4, 4, settable=True, since="5.14"),
            Field("data_meta", 8, 4),
            Field("ingress_ifindex", 12, 4, settable=True, is_interface=True, since="5.14"),
            Field("rx_queue_index", 16, 4, settable=True, since="5.14"),
            Field("egress_ifindex", 20, 4),
        ),
    )


def _sk_buff() -> Context:
    return Context(
        "__sk_buff",
        192,
        (
            Field("len", 0, 4),
            Field("pkt_type", 4, 4),
            Field("mark", 8, 4, settable=True),
            Field("queue_mapping", 12, 4),
            Field("protocol", 16, 4),
            Field("vlan_present", 20, 4),
            Field("vlan_tci", 24, 4),
            Field("vlan_proto", 28, 4),
            Field("priority", 32, 4, settable=True),
            Field("ingress_ifindex", 36, 4, settable=True, is_interface=True, since="5.15"),
            Field("ifindex", 40, 4, settable=True, is_interface=True),
            Field("tc_index", 44, 4),
            Field("cb", 48, 4, count=5, settable=True),
            Field("hash", 68, 4),
            Field("tc_classid", 72, 4),
            Field("data_end", 80, 4, settable=True, since="6.19"),
            Field("napi_id", 84, 4),
            Field("tstamp", 152, 8, settable=True),
            Field("wire_len", 160, 4, settable=True),
            Field("gso_segs", 164, 4, settable=True),
            Field("gso_size", 176, 4, settable=True),
            Field("hwtstamp", 184, 8, settable=True, since="5.16"),
        ),
    )


def _sk_lookup() -> Context:
    return Context(
        "bpf_sk_lookup",
        72,
        (
            Field("cookie", 0, 8),
            Field("family", 8, 4, settable=True),
            Field("protocol", 12, 4, settable=True),
            Field("remote_ip4", 16, 4, settable=True, big_endian=True, is_address=True),
            Field("remote_ip6", 20, 4, count=4, settable=True, big_endian=True, is_address=True),
            Field("remote_port", 36, 2, settable=True, big_endian=True),
            Field("local_ip4", 40, 4, settable=True, big_endian=True, is_address=True),
            Field("local_ip6", 44, 4, count=4, settable=True, big_endian=True, is_address=True),
            Field("local_port", 60, 4, settable=True),
            Field("ingress_ifindex", 64, 4),
        ),
    )


def _flow_keys() -> Context:
    return Context(
        "bpf_flow_keys",
        56,
        (
            Field("nhoff", 0, 2),
            Field("thoff", 2, 2),
            Field("addr_proto", 4, 2),
            Field("is_frag", 6, 1),
            Field("is_first_frag", 7, 1),
            Field("is_encap", 8, 1),
            Field("ip_proto", 9, 1),
            Field("n_proto", 10, 2, big_endian=True),
            Field("sport", 12, 2, big_endian=True),
            Field("dport", 14, 2, big_endian=True),
            Field("ipv4_src", 16, 4, big_endian=True, is_address=True),
            Field("ipv4_dst", 20, 4, big_endian=True, is_address=True),
            Field("ipv6_src", 16, 4, count=4, big_endian=True, is_address=True),
            Field("ipv6_dst", 32, 4, count=4, big_endian=True, is_address=True),
            Field("flags", 48, 4, settable=True),
            Field("flow_label", 52, 4, big_endian=True),
        ),
    )


def _nf_hook_state() -> Context:
    # Only the first two bytes of the kernel's own struct may be set (verify_and_copy_hook_state, Linux 6.4).
    return Context("nf_hook_state", 2, (Field("hook", 0, 1, settable=True), Field("pf", 1, 1, settable=True)))


CONTEXTS: Mapping[str, Context] = MappingProxyType(
    {c.name: c for c in (_xdp_md(), _sk_buff(), _sk_lookup(), _flow_keys(), _nf_hook_state())}
)


class RunContext(dict[str, Any]):
    """A context that a run gave back, by field name. It can be given to the next run, which takes the fields that a run
    may set; ``result.ctx | {"mark": 7}`` is one with a change."""

    def __or__(self, other: Mapping[str, Any]) -> RunContext:  # type: ignore[override]  # what comes out is a context again
        return RunContext({**self, **other})


def encode_ctx(context: Context, values: Mapping[str, object], *, byteorder: str) -> bytes:
    """The struct with ``values`` set and everything else zero. Of a ``RunContext`` only what a run may set is taken.

    ``BpfUsageError`` for a value of a wrong type, ``KernelCallError`` (errno 0) for a field that does not exist, that a
    run may not set, or that does not fit.
    """
    fields = {field.name: field for field in context.fields}
    out = bytearray(context.size)
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            raise _refused(context, name=name, exists=False)
        numbers = _numbers(field, value, context=context)
        if not field.settable:
            if any(numbers) and not isinstance(values, RunContext):
                raise _refused(context, name=name, exists=True)
            continue
        order = "big" if field.big_endian else byteorder
        for index, number in enumerate(numbers):
            at = field.offset + index * field.size
            try:
                out[at : at + field.size] = number.to_bytes(field.size, "big" if order == "big" else "little")
            except OverflowError:
                problem = f"{context.name}.{name}: {number} does not fit in {field.size * 8} bits"
                raise KernelCallError(problem, op="ProgRun", errno=0) from None
    return bytes(out)


def decode_ctx(context: Context, data: bytes, *, byteorder: str) -> RunContext:
    """Field name -> number (a tuple for arrays). Fields beyond the end of ``data`` are left out: an older kernel does
    not have them."""
    out = RunContext()
    for field in context.fields:
        end = field.offset + field.size * field.count
        if end > len(data):
            continue
        order = "big" if field.big_endian or byteorder == "big" else "little"
        numbers = tuple(
            int.from_bytes(data[at : at + field.size], "big" if order == "big" else "little")
            for at in range(field.offset, end, field.size)
        )
        found = numbers if field.count > 1 else numbers[0]
        out[field.name] = _address(numbers) if field.is_address else found
    return out


class _Address6(tuple[int, ...]):
    """Four numbers of 32 bits that also equal the text of the IPv6 address they are."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str | ipaddress.IPv6Address):
            return str(other) == str(ipaddress.IPv6Address(b"".join(part.to_bytes(4, "big") for part in self)))
        return tuple.__eq__(self, other) if isinstance(other, tuple) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


def _address(numbers: tuple[int, ...]) -> int | tuple[int, ...]:
    return AddressInt(numbers[0]) if len(numbers) == 1 else _Address6(numbers)


def _numbers(field: Field, value: object, *, context: Context) -> tuple[int, ...]:
    where = f"ctx: struct {context.name}, field {field.name!r}"
    if field.is_address and isinstance(value, str | ipaddress.IPv4Address | ipaddress.IPv6Address):
        kind = "be32" if field.count == 1 else "in6_addr"
        try:
            packed = pack_address(kind, value) or b""
        except ValueError as error:
            raise BpfUsageError(f"{where}: {error}") from None
        return tuple(int.from_bytes(packed[at : at + 4], "big") for at in range(0, len(packed), 4))
    if field.is_interface and (index := _index(value)) is not None:
        return (index,)
    items = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
    if len(items) > field.count or not all(isinstance(item, int) for item in items):
        want = "a number" if field.count == 1 else f"up to {field.count} numbers"
        if field.is_address:
            want += " or the text of an address"
        if field.is_interface:
            want += " or an interface of the test (veth.b)"
        raise BpfUsageError(f"{where} ({8 * field.size} bits) takes {want}, not {type(value).__name__}: {value!r}")
    return tuple(int(item) for item in items if isinstance(item, int))


def _index(value: object) -> int | None:
    """The index of an interface of the test; None for what is not one."""
    index = getattr(value, "index", None)
    return index if isinstance(index, int) else None


def namespaces_of(values: object) -> list[object]:
    """The network namespaces of the interfaces in a context, each once."""
    if not isinstance(values, Mapping):
        return []
    named = (getattr(value, "netns", None) for value in values.values())
    found: list[object] = []
    for netns in named:
        if netns is not None and netns not in found:
            found.append(netns)
    return found


def _refused(context: Context, *, name: str, exists: bool) -> KernelCallError:
    why = "cannot be set for a test run: the kernel wants it zero" if exists else "does not exist"
    settable = ", ".join(field.name for field in context.fields if field.settable)
    return KernelCallError(
        f"struct {context.name}: field {name!r} {why}", op="ProgRun", errno=0, hint=f"What a run may set: {settable}."
    )
