"""The differences between two packets, header by header and field by field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from fnmatch import fnmatchcase

from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.outcome import Outcome, with_outcome
from pytest_ebpf.packets.fields import render_value
from pytest_ebpf.packets.layer import Layer, label_layers
from pytest_ebpf.packets.options import written_options
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.parse import parse_packet
from pytest_ebpf.packets.protocols import PROTOCOLS
from pytest_ebpf.packets.sources import PacketLike, first_header, packet_bytes

__all__ = ["Difference", "assert_packet", "diff_packets", "render_differences"]

_NAMES = tuple(dict.fromkeys(spec.name for spec in PROTOCOLS.values()))


@dataclass(frozen=True, slots=True)
class Difference:
    """One field. ``field`` is empty when the whole header is missing (``actual`` None) or not expected. ``note``: why a
    checksum is what it is."""

    layer: str
    field: str
    expected: str | None
    actual: str | None
    note: str = ""

    @property
    def path(self) -> str:
        """ "ip.ttl", or "vlan" for a whole header."""
        return f"{self.layer}.{self.field}" if self.field else self.layer


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
    first = first_header(expected) or first_header(actual) or "eth"
    want, got = _layers(expected, first), _layers(actual, first)
    found = [difference for difference in _diff_layers(want, got) if not _is_ignored(difference, ignore)]
    if any(difference.field == "chksum" for difference in found):
        sent = getattr(actual, "sent", None)  # of the result of a run: the packet that it ran on
        before = _layers(sent, first) if isinstance(sent, bytes) else ()
        found = [_explained(difference, got, before=before) for difference in found]
    return tuple(found)


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
        note = f"  ({difference.note})" if difference.note else ""
        return f"expected {difference.expected:{column}}  got {difference.actual}{note}"
    if difference.actual is None:
        return f"missing: {difference.expected}"
    return f"not expected: {difference.actual}"


def _layers(packet: PacketLike, first: str) -> tuple[Layer, ...]:
    return parse_packet(packet_bytes(packet), first=first).layers


def _explained(difference: Difference, layers: Sequence[Layer], *, before: Sequence[Layer]) -> Difference:
    """Says of a checksum whether it is right for its packet, and if not, whether the program left it as it was."""
    if difference.field != "chksum":
        return difference
    labels = label_layers(layers)
    at = labels.index(difference.layer)
    has, right = layers[at].number("chksum"), _right_checksum(layers, at)
    if has == right:
        return difference
    then = dict(zip(label_layers(before), before, strict=True)).get(difference.layer)
    if then is not None and then.spec is layers[at].spec and then.number("chksum") == has:
        return replace(difference, note="stale: still the one before the rewrite")
    if has == 0 and difference.layer.startswith("udp"):
        return replace(difference, note="0: none was sent")
    return replace(difference, note=f"wrong: the bytes it covers have {right:#06x}")


def _right_checksum(layers: Sequence[Layer], at: int) -> int:
    """What the checksum of a header is, with everything else as it is."""
    again = Packet((*layers[:at], layers[at].replace({"chksum": None}), *layers[at + 1 :]))
    return parse_packet(bytes(again), first=layers[0].spec.key).layers[at].number("chksum") or 0


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
    if expected.spec is not actual.spec:  # two forms of ICMPv6, or of a tag
        yield from _diff_forms(expected, actual, label=label)
        return
    for field, want, got in zip(expected.spec.fields, expected.numbers, actual.numbers, strict=True):
        if want != got:
            yield Difference(label, field.name, render_value(field, want), render_value(field, got))
    if expected.tail != actual.tail:
        yield Difference(label, expected.spec.tail, *_tail_words(expected, actual))


def _diff_forms(expected: Layer, actual: Layer, *, label: str) -> Iterable[Difference]:
    """Fields of both by their names, others where only one has them."""
    want, got = (
        dict(zip((f.name for f in side.spec.fields), zip(side.spec.fields, side.numbers, strict=True), strict=True))
        for side in (expected, actual)
    )
    for name in dict.fromkeys((*want, *got)):
        left, right = (side.get(name) for side in (want, got))
        if left is None or right is None or left[1] != right[1]:
            shown = (render_value(*side) if side is not None else "no such field" for side in (left, right))
            yield Difference(label, name, *shown)


def _tail_words(expected: Layer, actual: Layer) -> tuple[str, str]:
    codec = expected.spec.codec
    if codec:
        return written_options(codec, expected.tail), written_options(codec, actual.tail)
    return _bytes_words(expected.tail, actual.tail)


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
    kind = max((name for name in _NAMES if _names_header(difference.layer, name)), key=len)
    names = {difference.layer, kind}
    for field in _field_names(kind, difference.field) if difference.field else ():
        names |= {f"{difference.layer}.{field}", f"{kind}.{field}"}
    return any(fnmatchcase(name, pattern) for name in names for pattern in ignore)


def _field_names(header: str, field: str) -> set[str]:
    """A field's name and its other names."""
    aliases = {
        alias
        for spec in PROTOCOLS.values()
        if spec.name == header
        for one in spec.fields
        if one.name == field
        for alias in one.aliases
    }
    return {field, *aliases}


def _check_pattern(pattern: str) -> None:
    header, dot, field = pattern.partition(".")
    specs = [spec for spec in PROTOCOLS.values() if _names_header(header, spec.name)]
    if not specs:
        raise ValueError(f"ignore={pattern!r}: there is no header {header!r}; there are {', '.join(_NAMES)}")
    fields = sorted({name for spec in specs for name in (*spec.names, *spec.index)})
    if dot and not any(fnmatchcase(name, field) for name in fields):
        raise ValueError(f"ignore={pattern!r}: no such field; there are {', '.join(fields)}")


def _names_header(pattern: str, name: str) -> bool:
    suffix = pattern[len(name) :]
    return fnmatchcase(name, pattern) or (pattern.startswith(name) and suffix.isdigit() and int(suffix) > 1)
