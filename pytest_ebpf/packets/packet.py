"""A packet: headers in order, joined with ``/``."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_ebpf.packets.assemble import assemble
from pytest_ebpf.packets.fields import Value
from pytest_ebpf.packets.layer import Layer, label_layers, make_layer

__all__ = ["Packet"]


@dataclass(frozen=True, slots=True, repr=False)
class Packet:
    """``Eth() / IP(ttl=1) / UDP(dport=53) / b"payload"``. ``bytes(packet)`` is the packet on the wire."""

    layers: tuple[Layer, ...] = ()

    def __truediv__(self, inner: Packet | bytes) -> Packet:
        if isinstance(inner, (bytes, bytearray, memoryview)):
            return Packet((*self.layers, make_layer("raw", {"load": bytes(inner)})))
        if isinstance(inner, Packet):
            return Packet(self.layers + inner.layers)
        return NotImplemented

    def __rtruediv__(self, outer: bytes) -> Packet:
        if isinstance(outer, (bytes, bytearray, memoryview)):
            return Packet((make_layer("raw", {"load": bytes(outer)}), *self.layers))
        return NotImplemented

    def __bytes__(self) -> bytes:
        return assemble(self.layers)

    def __len__(self) -> int:
        return len(bytes(self))

    def __repr__(self) -> str:
        return " / ".join(map(repr, self.layers)) or "Packet()"

    @property
    def payload(self) -> Packet:
        """The packet without its first header."""
        return Packet(self.layers[1:])

    def __contains__(self, label: str) -> bool:
        return label in label_layers(self.layers)

    def __getitem__(self, label: str) -> Layer:
        """The header of a name: ``packet["ip"]["ttl"]``; the second IP header is "ip2"."""
        return self.layers[self._index(label)]

    def replace(self, label: str, **values: Value | None) -> Packet:
        """A copy with other values in one header: ``packet.replace("ip", ttl=63)``. Give None for "compute it again"
        (or the default)."""
        index = self._index(label)
        changed = self.layers[index].replace(values)
        return Packet((*self.layers[:index], changed, *self.layers[index + 1 :]))

    def _index(self, label: str) -> int:
        labels = label_layers(self.layers)
        if label not in labels:
            raise KeyError(f"the packet has no header {label!r}; it has {', '.join(labels) or 'none'}")
        return labels.index(label)
