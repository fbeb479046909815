"""Capture files in the pcapng format (draft-ietf-opsawg-pcapng), as bytes in and bytes out.

Several sections become one: the interfaces are numbered through. Blocks that are not known are kept, those of a section
in the other byte order are not.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import SupportsBytes

from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.packets.capture import LINKTYPE_ETHERNET, Block, Capture, CaptureError, Frame, Interface, Options

__all__ = ["PCAPNG", "parse_pcapng", "render_pcapng"]

PCAPNG = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 2, 3, 5, 6
_MAGIC = 0x1A2B3C4D
_NAME, _RESOLUTION, _OFFSET = 2, 9, 14  # options of an interface
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Reader:
    """What was read so far. Lists grow; the byte order and the interfaces of the section are in ``place``."""

    frames: list[Frame] = field(default_factory=list)
    interfaces: list[Interface] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    heads: list[tuple[str, Options, int]] = field(default_factory=list)  # order, options, first interface

    @property
    def order(self) -> str:
        """The struct prefix of this section."""
        return self.heads[-1][0]

    def interface(self, number: int) -> int:
        """The index of an interface of this section."""
        index: int = self.heads[-1][2] + number
        if index >= len(self.interfaces):
            raise _DamagedError(f"names interface {number}, which the file does not describe")
        return index


class _DamagedError(Exception):
    """What is wrong with a block."""


def parse_pcapng(data: bytes) -> Capture:
    """See ``parse_pcap``."""
    reader = _Reader()
    at = 0
    try:
        while at < len(data):
            at = _read_block(reader, data, at=at)
    except (_DamagedError, struct.error) as error:
        problem = str(error) if isinstance(error, _DamagedError) else "is too short for its fields"
        raise CaptureError(f"pcapng: block at {at:#x} {problem}", frames=tuple(reader.frames)) from None
    linktype = reader.interfaces[0].linktype if reader.interfaces else LINKTYPE_ETHERNET
    order, options, _ = reader.heads[0]
    return Capture(
        tuple(reader.frames), linktype, tuple(reader.interfaces), tuple(reader.blocks), byteorder=order, options=options
    )


def _read_block(reader: _Reader, data: bytes, *, at: int) -> int:
    """Read one, and return where it ends."""
    size: int
    section = data[at : at + 4] == PCAPNG
    if section:
        order = next((o for o in "<>" if data[at + 8 : at + 12] == struct.pack(o + "I", _MAGIC)), "")
        if not order:
            raise _DamagedError("is a section header without its byte-order magic")
    elif not reader.heads:
        raise _DamagedError("is not a section header, with which a file starts")
    else:
        order = reader.order
    if len(data) - at < 12:
        raise _DamagedError("is cut off")
    kind, size = struct.unpack_from(order + "II", data, at)
    if size < 12 or size % 4:
        raise _DamagedError(f"says that it has {size} bytes")
    if size > len(data) - at:
        raise _DamagedError(f"wants {size} bytes, the file has {len(data) - at} more")
    if struct.unpack_from(order + "I", data, at + size - 4)[0] != size:
        raise _DamagedError("has two different lengths, at its start and at its end")
    body = data[at + 8 : at + size - 4]
    if section:
        reader.heads.append((order, _options(body[16:], order), len(reader.interfaces)))
        return at + size
    read = _READERS.get(kind)
    if read is not None:
        read(reader, body)
    elif order == reader.heads[0][0]:
        reader.blocks.append(Block(kind, _renumbered(reader, kind, body=body), len(reader.frames)))
    return at + size


def _renumbered(reader: _Reader, kind: int, *, body: bytes) -> bytes:
    """Statistics name the interface that they are of."""
    if kind != _STATISTICS:
        return body
    (number,) = struct.unpack_from(reader.order + "I", body)
    return struct.pack(reader.order + "I", reader.interface(number)) + body[4:]


def _read_interface(reader: _Reader, body: bytes) -> None:
    linktype, _, snaplen = struct.unpack_from(reader.order + "HHI", body)
    options = _options(body[8:], reader.order)
    known = dict(options)
    resolution, offset = known.get(_RESOLUTION, b"\6"), known.get(_OFFSET, b"")
    power = resolution[0] & 0x7F if resolution else 6
    if power > 63:
        raise _DamagedError(f"has a clock of 1/{'2' if resolution[0] & 0x80 else '10'}**{power} seconds")
    units = (2 if resolution and resolution[0] & 0x80 else 10) ** power
    seconds = struct.unpack(reader.order + "q", offset)[0] if len(offset) == 8 else 0
    name = known.get(_NAME, b"").decode(errors="replace").rstrip("\0")
    reader.interfaces.append(Interface(linktype, snaplen, name, units, seconds, options))


def _read_packet(reader: _Reader, body: bytes) -> None:
    number, high, low, held, length = struct.unpack_from(reader.order + "IIIII", body)
    _add(reader, body[20:], number=number, ticks=high << 32 | low, sizes=(held, length))


def _read_old_packet(reader: _Reader, body: bytes) -> None:
    number, _, high, low, held, length = struct.unpack_from(reader.order + "HHIIII", body)
    _add(reader, body[20:], number=number, ticks=high << 32 | low, sizes=(held, length))


def _read_simple(reader: _Reader, body: bytes) -> None:
    (length,) = struct.unpack_from(reader.order + "I", body)
    interface = reader.interfaces[reader.interface(0)]
    held = min(length, interface.snaplen) if interface.snaplen else length
    _add(reader, body[4:], number=0, ticks=None, sizes=(held, length))


def _add(reader: _Reader, rest: bytes, *, number: int, ticks: int | None, sizes: tuple[int, int]) -> None:
    held, length = sizes
    index = reader.interface(number)
    if held > len(rest):
        raise _DamagedError(f"has a packet of {held} bytes and room for {len(rest)}")
    at = reader.interfaces[index]
    time_ns = 0 if ticks is None else ticks * _SECOND // at.units + at.offset * _SECOND
    options = _options(rest[held + -held % 4 :], reader.order)
    reader.frames.append(Frame(rest[:held], time_ns, length, index, options, at.linktype))


_READERS: Mapping[int, Callable[[_Reader, bytes], None]] = MappingProxyType(
    {_INTERFACE: _read_interface, _OLD_PACKET: _read_old_packet, _SIMPLE: _read_simple, _PACKET: _read_packet}
)


def _options(data: bytes, order: str) -> Options:
    """Code and value of each, up to the end mark."""
    found, at = [], 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(order + "HH", data, at)
        if code == 0:
            break
        if at + 4 + size > len(data):
            raise _DamagedError(f"has an option {code} of {size} bytes and room for {len(data) - at - 4}")
        found.append((code, data[at + 4 : at + 4 + size]))
        at += 4 + size + -size % 4
    return tuple(found)


def render_pcapng(packets: Capture | Iterable[SupportsBytes | bytes], *, compress: bool = False) -> bytes:
    """A pcapng file of a capture, packets, bytes or frames. What was read from a pcapng file keeps its interfaces with
    their clocks, its options and its unknown blocks; anything else is in nanoseconds. ``compress`` with gzip."""
    capture = packets if isinstance(packets, Capture) else Capture(tuple(map(_frame, packets)))
    order = capture.byteorder
    resolution = ((_RESOLUTION, b"\x09"),)
    interfaces = capture.interfaces or (Interface(capture.linktype, 0x40000, "", _SECOND, options=resolution),)
    head = struct.pack(order + "IHHq", _MAGIC, 1, 0, -1) + _option_bytes(capture.options, order)
    parts = [_block(_SECTION, head, order=order)]
    for one in interfaces:
        body = struct.pack(order + "HHI", one.linktype, 0, one.snaplen) + _option_bytes(one.options, order)
        parts.append(_block(_INTERFACE, body, order=order))
    parts += _packets_and_blocks(capture, interfaces, order=order)
    whole = b"".join(parts)
    return gzip.compress(whole, mtime=0) if compress else whole


def _frame(packet: SupportsBytes | bytes) -> Frame:
    return packet if isinstance(packet, Frame) else Frame(bytes(packet))


def _packets_and_blocks(capture: Capture, interfaces: Iterable[Interface], *, order: str) -> Iterator[bytes]:
    known, blocks = list(interfaces), list(capture.blocks)
    for index, frame in enumerate(capture.frames):
        while blocks and blocks[0].before <= index:
            block = blocks.pop(0)
            yield _block(block.type, block.body, order=order)
        at = known[frame.interface if frame.interface < len(known) else 0]
        nanoseconds = max(0, frame.time_ns - at.offset * _SECOND)
        ticks = -(-nanoseconds * at.units // _SECOND)  # up: reading rounds down
        sizes = (len(frame.data), frame.length or len(frame.data))
        head = struct.pack(order + "IIIII", frame.interface, ticks >> 32, ticks & 0xFFFFFFFF, *sizes)
        data = frame.data + bytes(-len(frame.data) % 4)
        yield _block(_PACKET, head + data + _option_bytes(frame.options, order), order=order)
    yield from (_block(block.type, block.body, order=order) for block in blocks)


def _block(kind: int, body: bytes, *, order: str) -> bytes:
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def _option_bytes(options: Options, order: str) -> bytes:
    if not options:
        return b""
    parts = [struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in options]
    return b"".join(parts) + bytes(4)
