"""The differences between two packets, header by header and field by field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from typing import Protocol, SupportsBytes, runtime_checkable

from pytest_ebpf.outcome import Outcome, with_outcome
from pytest_ebpf.packets.fields import render_value
from pytest_ebpf.packets.layer import Layer, label_layers
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.parse import parse_packet
from pytest_ebpf.packets.protocols import PROTOCOLS

__all__ = ["Difference", "HasData", "assert_packet", "diff_packets", "render_differences"]


@runtime_checkable
class HasData(Protocol):
    """The result of a program run: the packet is in ``data``."""

    @property
    def data(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """One field. ``field`` is empty when the whole header is missing (``actual`` None) or not expected."""

    layer: str
    field: str
    expected: str | None
    actual: str | None

    @property
    def path(self) -> str:
        """ "ip.ttl", or "vlan" for a whole header."""
        return f"{self.layer}.{self.field}" if self.field else self.layer


PacketLike = Packet | bytes | SupportsBytes | HasData


def assert_packet(actual: PacketLike, expected: PacketLike, *, ignore: Iterable[str] = ()) -> None:
    """Fail and show the differences by header, unless the packets are equal.

    Both sides may be a ``Packet``, bytes, the result of a run, or anything ``bytes()`` takes (Scapy's packets).
    ``ignore`` names fields or headers that are not compared: "ip.chksum", "ip2.ttl" (of the second IP header only),
    "*.chksum", "vlan". A name that matches no header or field is a ValueError.
    """
    __tracebackhide__ = True
    ignore = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    differences = diff_packets(actual, expected, ignore=ignore)
    if differences:
        raise with_outcome(AssertionError(render_differences(differences)), Outcome.PACKET_DIFF)


def diff_packets(actual: PacketLike, expected: PacketLike, *, ignore: Sequence[str] = ()) -> tuple[Difference, ...]:
    """All differences, in the order of the headers; empty when the packets are equal."""
    for pattern in ignore:
        _check_pattern(pattern)
    first = _first_header(expected) or _first_header(actual) or "eth"
    want, got = _layers(expected, first), _layers(actual, first)
    found = _diff_layers(want, got)
    return tuple(difference for difference in found if not _is_ignored(difference, ignore))


def render_differences(differences: Sequence[Difference]) -> str:
    """A line with the names of the fields, then a table of expected and actual values."""
    lines = [f"packet differs in {', '.join(difference.path for difference in differences)}"]
    width = max(len(difference.path) for difference in differences)
    column = max((len(d.expected or "") for d in differences if d.field), default=0)
    for difference in differences:
        lines.append(f"  {difference.path:{width}}  {_explain(difference, column)}")
    return "\n".join(lines)


def _explain(difference: Difference, column: int) -> str:
    if difference.field:
        return f"expected {difference.expected:{column}}  got {difference.actual}"
    if difference.actual is None:
        return f"missing: {difference.expected}"
    return f"not expected: {difference.actual}"


def _first_header(packet: PacketLike) -> str:
    return packet.layers[0].name if isinstance(packet, Packet) and packet.layers else ""


def _layers(packet: PacketLike, first: str) -> tuple[Layer, ...]:
    return parse_packet(_as_bytes(packet), first=first).layers


def _as_bytes(packet: PacketLike) -> bytes:
    if isinstance(packet, (Packet, bytes, bytearray, memoryview)):
        return bytes(packet)
    if isinstance(packet, SupportsBytes):  # before .data: Scapy's packets have every attribute
        return bytes(packet)
    if isinstance(packet, HasData) and isinstance(packet.data, (bytes, bytearray, memoryview)):
        return bytes(packet.data)
    raise TypeError(f"{type(packet).__name__} is not a packet: give a Packet, bytes or the result of a run")


def _diff_layers(expected: Sequence[Layer], actual: Sequence[Layer]) -> Iterable[Difference]:
    want, got = label_layers(expected), label_layers(actual)
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, want, got, autojunk=False).get_opcodes():
        if tag == "equal":
            for i, j in zip(range(i1, i2), range(j1, j2), strict=True):
                yield from _diff_fields(expected[i], actual[j], label=want[i])
        else:
            yield from (Difference(want[i], "", repr(expected[i]), None) for i in range(i1, i2))
            yield from (Difference(got[j], "", None, repr(actual[j])) for j in range(j1, j2))


def _diff_fields(expected: Layer, actual: Layer, *, label: str) -> Iterable[Difference]:
    for field, want, got in zip(expected.spec.fields, expected.numbers, actual.numbers, strict=True):
        if want != got:
            yield Difference(label, field.name, render_value(field, want), render_value(field, got))
    if expected.tail != actual.tail:
        yield Difference(label, expected.spec.tail, *_bytes_words(expected.tail, actual.tail))


_SHOWN = 12  # bytes of each side


def _bytes_words(expected: bytes, actual: bytes) -> tuple[str, str]:
    """Both sides from the first different byte on, with their lengths."""
    shortest = min(len(expected), len(actual))
    start = next((i for i in range(shortest) if expected[i] != actual[i]), shortest)

    def words(data: bytes) -> str:
        shown = data[start : start + _SHOWN]
        more = "…" if len(data) > start + _SHOWN else ""
        return f"{len(data)} bytes, [{start}:] = {shown.hex(' ') or 'nothing'}{more} {_text(shown)}".rstrip()

    return words(expected), words(actual)


def _text(data: bytes) -> str:
    return repr(data)[1:] if data and all(32 <= byte < 127 for byte in data) else ""


def _is_ignored(difference: Difference, ignore: Sequence[str]) -> bool:
    kind = max((name for name in PROTOCOLS if _names_header(difference.layer, name)), key=len)
    names = {difference.layer, kind, difference.path}
    if difference.field:
        names.add(f"{kind}.{difference.field}")
    return any(fnmatchcase(name, pattern) for name in names for pattern in ignore)


def _check_pattern(pattern: str) -> None:
    header, dot, field = pattern.partition(".")
    specs = [spec for spec in PROTOCOLS.values() if _names_header(header, spec.name)]
    if not specs:
        raise ValueError(f"ignore={pattern!r}: there is no header {header!r}; there are {', '.join(PROTOCOLS)}")
    fields = sorted({name for spec in specs for name in spec.names})
    if dot and not any(fnmatchcase(name, field) for name in fields):
        raise ValueError(f"ignore={pattern!r}: no such field; there are {', '.join(fields)}")


def _names_header(pattern: str, name: str) -> bool:
    suffix = pattern[len(name) :]
    return fnmatchcase(name, pattern) or (pattern.startswith(name) and suffix.isdigit() and int(suffix) > 1)
