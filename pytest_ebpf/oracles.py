"""What must hold of packet programs, ready to use: each raises an AssertionError that says where it does not hold.

``right_checksums(result)``, ``round_trip(encap, decap, packet)``, ``same_for_payloads(prog, packet)``,
``same_for_truncations(prog, packet)``, ``same_on(progs, packets)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.packets.assemble import checksum_of
from pytest_ebpf.packets.diff import assert_packet, diff_packets, render_differences
from pytest_ebpf.packets.layer import Layer, label_layers
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.parse import parse_packet
from pytest_ebpf.packets.sources import PacketLike, first_header, packet_bytes
from pytest_ebpf.properties.state import remember

__all__ = [
    "right_checksums",
    "round_trip",
    "same_for_payloads",
    "same_for_truncations",
    "same_on",
    "wrong_checksums",
]


class _Ran(Protocol):
    @property
    def retval(self) -> int: ...
    @property
    def data(self) -> bytes: ...


class _Prog(Protocol):
    def run(self, data: Any, /) -> _Ran: ...
    def run_many(self, packets: Any, /) -> Sequence[_Ran]: ...


def wrong_checksums(packet: PacketLike, *, first: str = "") -> dict[str, tuple[int, int]]:
    """The checksums that are not right, by header: ``{"ip": (there, right)}``. Those that cannot be checked are left
    out: of fragments, of packets that are cut off, of UDP over IPv4 without one."""
    layers = parse_packet(packet_bytes(packet), first=first or first_header(packet) or "eth").layers
    found = {}
    for at, label in enumerate(label_layers(layers)):
        spec = layers[at].spec
        has = layers[at].numbers[spec.chksum_at] if spec.chksum_at >= 0 else None
        if has is None or not spec.sum or (has == 0 and spec.key == "udp") or not _is_whole(layers, at):
            continue
        right = _right(layers, at)
        if right not in (has, None):
            found[label] = (has, right)
    return found


def _is_whole(layers: Sequence[Layer], at: int) -> bool:
    """Whether all that the checksum covers is there, with lengths that agree."""
    if layers[at].spec.sum == "header":
        return len(layers[at]) == 4 * (layers[at].number("ihl") or 0)
    inside = sum(len(layer) for layer in layers[at:] if layer.spec.key != "pad")
    if layers[at].spec.key == "udp" and layers[at].number("len") != inside:
        return False
    for index in range(at - 1, -1, -1):
        layer = layers[index]
        size = sum(len(one) for one in layers[index:] if one.spec.key != "pad")
        if layer.spec.key == "ip":
            return not (layer.number("frag") or (layer.number("flags") or 0) & 1) and layer.number("len") == size
        if layer.spec.key == "fragment":
            return False
        if layer.spec.key == "ipv6":
            return layer.number("plen") == size - 40
    return False


def _right(layers: Sequence[Layer], at: int) -> int | None:
    layer = layers[at]
    zeroed = Layer(
        layer.spec, tuple(0 if i == layer.spec.chksum_at else n for i, n in enumerate(layer.numbers)), layer.tail
    )
    payload = b"".join(bytes(one) for one in layers[at + 1 :] if one.spec.key != "pad")
    return checksum_of(layer.spec, bytes(zeroed), payload=payload, before=layers[:at])


def right_checksums(result: Any, *, first: str = "") -> None:
    """Every checksum of the packet that came out is right, unless it was wrong already in the packet that went in."""
    wrong = wrong_checksums(result, first=first)
    sent = getattr(result, "sent", None)
    before = wrong_checksums(sent, first=first) if wrong and isinstance(sent, bytes) and sent else {}
    new = {label: sums for label, sums in wrong.items() if label not in before}
    if new:
        old = dict(_labelled(sent, first)) if isinstance(sent, bytes) else {}
        lines = [
            f"  {label}.chksum is {has:#06x}{_stale(old.get(label), has)}, right is {right:#06x}"
            for label, (has, right) in new.items()
        ]
        raise AssertionError("\n".join(["wrong checksums after the program:", *lines]))


def _labelled(data: bytes, first: str) -> Iterable[tuple[str, Layer]]:
    layers = parse_packet(data, first=first or "eth").layers
    return zip(label_layers(layers), layers, strict=True)


def _stale(layer: Layer | None, has: int) -> str:
    same = layer is not None and layer.spec.chksum_at >= 0 and layer.numbers[layer.spec.chksum_at] == has
    return " (stale: still the one before the rewrite)" if same else ""


def round_trip(encap: _Prog, decap: _Prog, *, packet: PacketLike, ignore: Iterable[str] = ()) -> None:
    """``decap(encap(x)) == x``."""
    inside = encap.run(packet_bytes(packet))
    assert_packet(decap.run(inside.data), packet, ignore=ignore)


def same_for_payloads(
    prog: _Prog, packet: PacketLike, *, loads: Sequence[bytes] = (b"", b"\0" * 8, b"\xff" * 8)
) -> None:
    """The verdict does not depend on the payload: that of every load instead of the bytes at the end is the same. Each
    load has the length of the first, so that no length changes."""
    size = max(map(len, loads))
    layers = parse_packet(packet_bytes(packet), first=first_header(packet) or "eth").layers
    heads = tuple(layer for layer in layers if layer.spec.key not in ("raw", "pad"))
    packets = [Packet(heads) / load.ljust(size, b"\x55") for load in loads]
    ran = prog.run_many([bytes(one) for one in packets])
    for other, result in zip(packets, ran, strict=True):
        if result.retval != ran[0].retval:
            raise AssertionError(f"verdict {ran[0].retval!r} with {packets[0]!r}, {result.retval!r} with {other!r}")


def same_for_truncations(prog: _Prog, packet: PacketLike, *, least: int = 14) -> None:
    """One verdict for all lengths at which the packet ends within the same header."""
    data = packet_bytes(packet)
    layers = parse_packet(data, first=first_header(packet) or "eth").layers
    start = 0
    for label, layer in zip(label_layers(layers), layers, strict=True):
        sizes = [size for size in range(start + 1, start + len(layer)) if size >= least]
        if layer.spec.key not in ("raw", "pad") and len(sizes) > 1:
            ran = prog.run_many([data[:size] for size in sizes])
            for size, result in zip(sizes, ran, strict=True):
                if result.retval != ran[0].retval:
                    verdicts = f"{ran[0].retval!r} at {sizes[0]} bytes, {result.retval!r} at {size}"
                    raise AssertionError(f"verdicts differ among packets that end within {label}: {verdicts}")
        start += len(layer)


def same_on(
    progs: Mapping[str, Any],
    packets: Sequence[PacketLike],
    *,
    maps: str | Iterable[str] | Callable[[Any], object] | None = None,
) -> None:
    """Differential: every program (of another kernel, build or path, by its name) gives the same verdict and bytes for
    each packet as the first. Packets that one of the kernels calls invalid (too short, too long) are left out.

    ``maps``: names of maps that must hold the same afterwards (the sum over the CPUs, where each has a value), which
    are put back to what they held before; or a function that reads something of the program."""
    data = [packet_bytes(packet) for packet in packets]
    names = list(progs)
    watched = (maps,) if isinstance(maps, str) else () if maps is None or callable(maps) else tuple(maps)
    for name in watched:
        _own_maps(progs, name)
    restores = [remember(prog.maps, watched) for prog in progs.values()] if watched else []
    try:
        ran = {name: _all(prog, data) for name, prog in progs.items()}
        for other in names[1:]:
            _same_runs(packets, {names[0]: ran[names[0]], other: ran[other]})
        if maps is not None:
            left = {name: maps(prog) if callable(maps) else _held(prog, watched) for name, prog in progs.items()}
            for other in names[1:]:
                _same_maps({names[0]: left[names[0]], other: left[other]})
    finally:
        for restore in restores:
            restore()


def _own_maps(progs: Mapping[str, Any], name: str) -> None:
    """An error for two programs with one map, of which both would see the same."""
    seen: dict[object, str] = {}
    for where, prog in progs.items():
        other = seen.setdefault(prog.maps[name].handle, where)
        if other != where:
            raise BpfUsageError(
                f"same_on: {other} and {where} use one map {name!r}",
                hint="Load the object once for each: bpf.open(path).load().",
            )


def _same_runs(packets: Sequence[PacketLike], ran: Mapping[str, Mapping[int, Any]]) -> None:
    one, other = ran.values()
    for number, packet in enumerate(packets):
        if number not in one or number not in other:
            continue
        both = dict(zip(ran, (one[number], other[number]), strict=True))
        if _verdict(one[number]) != _verdict(other[number]) or one[number].data != other[number].data:
            raise AssertionError(_difference(packet, both))


def _same_maps(left: Mapping[str, object]) -> None:
    (first, one), (second, other) = left.items()
    if one == other:
        return
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        lines = [f"  {key}: {one.get(key)!r} on {first}, {other.get(key)!r} on {second}" for key in keys[:8]]
        raise AssertionError("\n".join([f"maps differ between {first} and {second}:", *lines]))
    raise AssertionError(f"maps differ: {one!r} on {first}, {other!r} on {second}")


def _held(prog: Any, names: Iterable[str]) -> dict[str, object]:
    """What the maps hold, by ``map[key]``."""
    found = {}
    for name in names:
        table = prog.maps[name]
        for key, value in table.items():
            found[f"{name}[{key!r}]"] = table.sum(key) if table.kind.per_cpu else value
    return found


def _all(prog: Any, data: Sequence[bytes]) -> Mapping[int, Any]:
    """The results by the number of the packet: of those that ran."""
    valid, many = getattr(prog, "run_valid", None), getattr(prog, "run_many", None)
    if valid is not None:
        ran: Mapping[int, Any] = valid(data)
        return ran
    return dict(enumerate(many(data) if many is not None else [prog.run(one) for one in data]))


def _verdict(ran: Any) -> object:
    """The effect, where a path shows that instead of the program's value."""
    return ran.verdict if hasattr(ran, "verdict") else ran.retval


def _difference(packet: PacketLike, ran: Mapping[str, Any]) -> str:
    (first, one), (second, other) = ran.items()
    lines = [f"{first} and {second} differ for {packet if isinstance(packet, Packet) else parse_packet(packet)!r}"]
    if _verdict(one) != _verdict(other):
        lines.append(f"  verdict {_verdict(one)!r} on {first}, {_verdict(other)!r} on {second}")
    if one.data != other.data:
        lines.append(
            f"  the packet of {first} (expected) and of {second} (got):\n"
            + render_differences(diff_packets(other.data, one.data))
            if one.data and other.data
            else f"  only {first if one.data else second} has a packet"
        )
    return "\n".join(lines)
