"""A packet: headers in order, joined with ``/``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsBytes, TypeAlias

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.packets.assemble import assemble
from pytest_ebpf.packets.layer import FieldValue, Layer, label_layers
from pytest_ebpf.packets.protocols import PROTOCOLS
from pytest_ebpf.packets.read import parse_layers
from pytest_ebpf.packets.sources import foreign_header

__all__ = ["Label", "Packet"]

Label: TypeAlias = "str | Callable[[], Packet]"  # "ip", or IP


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Packet:
    """``Eth() / IP(ttl=1) / UDP(dport=53) / b"payload"``. ``bytes(packet)`` is the packet on the wire.

    Packets are equal if they have the same headers and the same bytes; a packet equals bytes, a result of a run and a
    packet of scapy or dpkt with the same bytes."""

    layers: tuple[Layer, ...] = ()

    def __truediv__(self, inner: object) -> Packet:
        if isinstance(inner, Packet):
            return Packet(self.layers + inner.layers)
        layers = _as_layers(inner)
        return NotImplemented if layers is None else Packet(self.layers + layers)

    def __rtruediv__(self, outer: object) -> Packet:
        layers = _as_layers(outer)
        return NotImplemented if layers is None else Packet(layers + self.layers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Packet):  # bytes, a result, a packet of scapy or dpkt: what is on the wire counts
            kinds = bytes | bytearray | memoryview | SupportsBytes
            return bytes(self) == bytes(other) if isinstance(other, kinds) else NotImplemented
        if self.layers == other.layers:
            return True
        names = [layer.name for layer in self.layers]
        return names == [layer.name for layer in other.layers] and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash(bytes(self))

    def __bytes__(self) -> bytes:
        return assemble(self.layers)

    def __len__(self) -> int:
        return len(bytes(self))

    def __repr__(self) -> str:
        return " / ".join(map(repr, self.layers)) or "Packet()"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # Hypothesis and IPython would print the fields of the dataclass

    @property
    def payload(self) -> Packet:
        """The packet without its first header."""
        return Packet(self.layers[1:])

    def __contains__(self, label: Label) -> bool:
        return _name_of(label) in label_layers(self.layers)

    def __getitem__(self, label: Label) -> Layer:
        """The header of a name: ``packet["ip"]["ttl"]`` or ``packet["ip"].ttl``; the second IP header is "ip2". As with
        scapy, ``packet[IP]`` and ``IP in packet`` name it too."""
        return self.layers[self._index(label)]

    def replace(self, label: Label, **values: FieldValue) -> Packet:
        """A copy with other values in one header: ``packet.replace("ip", ttl=63)``. Give None for "compute it again"
        (or the default)."""
        index = self._index(label)
        changed = self.layers[index].replace(values)
        return Packet((*self.layers[:index], changed, *self.layers[index + 1 :]))

    def _index(self, label: Label) -> int:
        label, labels = _name_of(label), label_layers(self.layers)
        if label not in labels:
            raise KeyError(f"the packet has no header {label!r}; it has {', '.join(labels) or 'none'}")
        return labels.index(label)


def _name_of(label: Label) -> str:
    """The name of a header that its builder stands for."""
    return label if isinstance(label, str) else label_layers(label().layers)[0]


def _as_layers(data: object) -> tuple[Layer, ...] | None:
    """Bytes as they are; packets of scapy and dpkt header by header; None for anything else."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return (Layer(PROTOCOLS["raw"], (), bytes(data)),)
    name = foreign_header(data)
    return parse_layers(bytes(data), name) if name and isinstance(data, SupportsBytes) else None
