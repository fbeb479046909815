"""Capture files in the classic pcap format (draft-ietf-opsawg-pcap), as bytes in and bytes out."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import SupportsBytes

__all__ = ["LINKTYPE_ETHERNET", "LINKTYPE_RAW", "Capture", "Frame", "parse_pcap", "render_pcap"]

LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101  # the packet starts with its IP header

_MICRO, _NANO, _PCAPNG = 0xA1B2C3D4, 0xA1B23C4D, 0x0A0D0D0A
_FILE, _RECORD = "IHHiIII", "IIII"
_FILE_SIZE, _RECORD_SIZE = 24, 16


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured packet. ``time_ns`` since the epoch; ``length`` on the wire, larger than that of ``data`` if the
    packet was cut."""

    data: bytes
    time_ns: int = 0
    length: int = 0

    def __bytes__(self) -> bytes:
        return self.data


@dataclass(frozen=True, slots=True)
class Capture:
    """The packets of a file. ``linktype``: the first header of each packet."""

    frames: tuple[Frame, ...]
    linktype: int = LINKTYPE_ETHERNET


def parse_pcap(data: bytes) -> Capture:
    """A capture file, of either byte order, micro- or nanoseconds. Raises ValueError with the offset and the error,
    also for a file that ends within a packet."""
    order, unit = _byte_order(data)
    if len(data) < _FILE_SIZE:
        raise ValueError(f"pcap: file header is cut off at {len(data)} of {_FILE_SIZE} bytes")
    linktype = struct.unpack_from(order + _FILE, data)[6] & 0xFFFF
    frames, offset = [], _FILE_SIZE
    while offset < len(data):
        frame = _read_frame(data, offset, order=order, unit=unit)
        frames.append(frame)
        offset += _RECORD_SIZE + len(frame.data)
    return Capture(tuple(frames), linktype)


def _byte_order(data: bytes) -> tuple[str, int]:
    """Struct prefix, and nanoseconds per unit of the fraction."""
    for order in "<>":
        magic = struct.unpack(order + "I", data[:4])[0] if len(data) >= 4 else 0
        if magic in (_MICRO, _NANO):
            return order, 1000 if magic == _MICRO else 1
        if magic == _PCAPNG:
            raise ValueError("pcap: this is a pcapng file; convert it with `editcap -F pcap in.pcapng out.pcap`")
    raise ValueError(f"pcap: not a capture file: it starts with {data[:4].hex(' ') or 'nothing'}")


def _read_frame(data: bytes, offset: int, *, order: str, unit: int) -> Frame:
    if len(data) - offset < _RECORD_SIZE:
        raise ValueError(f"pcap: packet header at {offset:#x} is cut off")
    seconds, fraction, held, length = struct.unpack_from(order + _RECORD, data, offset)
    start = offset + _RECORD_SIZE
    if len(data) - start < held:
        raise ValueError(f"pcap: packet at {offset:#x} wants {held} bytes, the file has {len(data) - start} more")
    return Frame(data[start : start + held], seconds * 1_000_000_000 + fraction * unit, length)


def render_pcap(packets: Iterable[SupportsBytes | bytes], *, linktype: int = LINKTYPE_ETHERNET) -> bytes:
    """A capture file (little endian, nanoseconds) of packets, bytes or frames; only frames have times."""
    parts = [struct.pack("<" + _FILE, _NANO, 2, 4, 0, 0, 0x40000, linktype)]
    for packet in packets:
        frame = packet if isinstance(packet, Frame) else Frame(bytes(packet))
        seconds, fraction = divmod(frame.time_ns, 1_000_000_000)
        parts.append(struct.pack("<" + _RECORD, seconds, fraction, len(frame.data), frame.length or len(frame.data)))
        parts.append(frame.data)
    return b"".join(parts)
