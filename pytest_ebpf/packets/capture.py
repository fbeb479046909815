"""The packets of a capture file, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.read import parse_layers

__all__ = [
    "LINKTYPE_ETHERNET",
    "LINKTYPE_RAW",
    "Block",
    "Capture",
    "CaptureError",
    "Frame",
    "Interface",
    "first_of_link",
]

# https://www.tcpdump.org/linktypes.html
LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101  # the packet starts with its IP header
_SLL, _IPV4, _IPV6, _SLL2 = 113, 228, 229, 276
_FIRST: Mapping[int, str] = MappingProxyType(
    {LINKTYPE_ETHERNET: "eth", _SLL: "sll", _SLL2: "sll2", _IPV4: "ip", _IPV6: "ipv6"}
)

Options = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured packet. ``time_ns`` since the epoch; ``length`` on the wire, larger than that of ``data`` if the
    packet was cut; ``interface`` is an index of ``Capture.interfaces``; ``options`` are those of its pcapng block."""

    data: bytes
    time_ns: int = 0
    length: int = 0
    interface: int = 0
    options: Options = ()
    linktype: int = field(default=LINKTYPE_ETHERNET, compare=False)

    @property
    def packet(self) -> Packet:
        """``data``, taken apart."""
        return Packet(parse_layers(self.data, first_of_link(self.linktype, self.data)))

    @property
    def comment(self) -> str:
        """The first comment of it, "" without one."""
        return next((value.decode(errors="replace") for code, value in self.options if code == 1), "")

    def __bytes__(self) -> bytes:
        return self.data


def first_of_link(linktype: int, data: bytes) -> str:
    """The first header of a packet."""
    if linktype == LINKTYPE_RAW:
        return "ipv6" if data[:1] and data[0] >> 4 == 6 else "ip"
    return _FIRST.get(linktype, "raw")


@dataclass(frozen=True, slots=True)
class Interface:
    """Where packets were captured. ``units``: how many units of its clock are a second; ``offset``: seconds that are
    added to its times; ``options`` are those of its pcapng block."""

    linktype: int = LINKTYPE_ETHERNET
    snaplen: int = 0
    name: str = ""
    units: int = 1_000_000
    offset: int = 0
    options: Options = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a pcapng file that is neither a packet nor an interface: statistics, names, what a tool added.
    ``before``: how many frames stand before it in the file."""

    type: int
    body: bytes
    before: int = 0


@dataclass(frozen=True, slots=True)
class Capture:
    """The packets of a file. ``linktype``: that of its first interface. A pcapng file has ``interfaces``, and
    ``blocks`` that are kept when it is written again."""

    frames: tuple[Frame, ...]
    linktype: int = LINKTYPE_ETHERNET
    interfaces: Sequence[Interface] = ()
    blocks: Sequence[Block] = ()
    byteorder: str = "<"
    options: Options = ()  # of its section header

    @property
    def packets(self) -> tuple[Packet, ...]:
        """The frames, taken apart."""
        return tuple(frame.packet for frame in self.frames)


class CaptureError(ValueError):
    """A capture file is damaged. ``frames`` are those before the damage."""

    def __init__(self, message: str, *, frames: tuple[Frame, ...] = ()) -> None:
        super().__init__(message)
        self.frames = frames
