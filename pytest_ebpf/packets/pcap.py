"""Capture files in the classic pcap format (draft-ietf-opsawg-pcap), as bytes in and bytes out; ``parse_pcap`` also
takes pcapng, and either of them compressed with gzip."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable
from typing import SupportsBytes

from pytest_ebpf.packets.capture import LINKTYPE_ETHERNET, LINKTYPE_RAW, Capture, CaptureError, Frame
from pytest_ebpf.packets.pcapng import PCAPNG, parse_pcapng

__all__ = ["LINKTYPE_ETHERNET", "LINKTYPE_RAW", "parse_pcap", "render_pcap"]

_MICRO, _NANO = 0xA1B2C3D4, 0xA1B23C4D
_FILE, _RECORD = "IHHiIII", "IIII"
_FILE_SIZE, _RECORD_SIZE = 24, 16
_GZIP = b"\x1f\x8b"


def parse_pcap(data: bytes) -> Capture:
    """A capture file: pcap of either byte order, in micro- or nanoseconds, or pcapng, plain or compressed with gzip.

    Raises ``CaptureError``, a ValueError, with the offset and the error, also for a file that ends within a packet; the
    packets before the damage are in its ``frames``."""
    if data[:2] == _GZIP:
        return _compressed(data)
    if data[:4] == PCAPNG:
        return parse_pcapng(data)
    order, unit = _byte_order(data)
    if len(data) < _FILE_SIZE:
        raise CaptureError(f"pcap: file header is cut off at {len(data)} of {_FILE_SIZE} bytes")
    linktype = struct.unpack_from(order + _FILE, data)[6] & 0xFFFF
    frames: list[Frame] = []
    offset, header = _FILE_SIZE, struct.Struct(order + _RECORD)
    while offset < len(data):
        start = offset + _RECORD_SIZE
        if len(data) < start:
            raise CaptureError(f"pcap: packet header at {offset:#x} is cut off", frames=tuple(frames))
        seconds, fraction, held, length = header.unpack_from(data, offset)
        if len(data) - start < held:
            problem = f"pcap: packet at {offset:#x} wants {held} bytes, the file has {len(data) - start} more"
            raise CaptureError(problem, frames=tuple(frames))
        time_ns = seconds * 1_000_000_000 + fraction * unit
        frames.append(Frame(data[start : start + held], time_ns, length, linktype=linktype))
        offset = start + held
    return Capture(tuple(frames), linktype, byteorder=order)


def _compressed(data: bytes) -> Capture:
    """What is inside; a damaged stream gives the packets before the damage with the error."""
    plain, problem = _inflate(data)
    if plain[:2] == _GZIP:
        raise CaptureError("gzip: there is another gzip file in it")
    if not problem:
        return parse_pcap(plain)
    try:
        frames = parse_pcap(plain).frames
    except CaptureError as error:
        frames = error.frames
    raise CaptureError(f"gzip: {problem}", frames=frames)


def _inflate(data: bytes) -> tuple[bytes, str]:
    parts, rest = [], data
    while rest[:2] == _GZIP:
        stream = zlib.decompressobj(31)
        for at in range(0, len(rest), 4096):  # in pieces: what comes before an error is kept
            try:
                parts.append(stream.decompress(rest[at : at + 4096]))
            except zlib.error as error:
                return b"".join(parts), str(error).rpartition(": ")[2]
            if stream.eof:
                rest = stream.unused_data + rest[at + 4096 :]
                break
        else:
            return b"".join(parts), "the file is cut off"
    return b"".join(parts), ""


def _byte_order(data: bytes) -> tuple[str, int]:
    """Struct prefix, and nanoseconds per unit of the fraction."""
    for order in "<>":
        magic = struct.unpack(order + "I", data[:4])[0] if len(data) >= 4 else 0
        if magic in (_MICRO, _NANO):
            return order, 1000 if magic == _MICRO else 1
    raise CaptureError(f"pcap: not a capture file: it starts with {data[:4].hex(' ') or 'nothing'}")


def render_pcap(
    packets: Capture | Iterable[SupportsBytes | bytes], *, linktype: int | None = None, compress: bool = False
) -> bytes:
    """A capture file (little endian, nanoseconds) of a capture, packets, bytes or frames; only frames have times.
    ``linktype``: that of the capture, else Ethernet. ``compress`` with gzip."""
    if linktype is None:
        linktype = packets.linktype if isinstance(packets, Capture) else LINKTYPE_ETHERNET
    parts = [struct.pack("<" + _FILE, _NANO, 2, 4, 0, 0, 0x40000, linktype)]
    for packet in packets.frames if isinstance(packets, Capture) else packets:
        frame = packet if isinstance(packet, Frame) else Frame(bytes(packet))
        seconds, fraction = divmod(frame.time_ns, 1_000_000_000)
        parts.append(struct.pack("<" + _RECORD, seconds, fraction, len(frame.data), frame.length or len(frame.data)))
        parts.append(frame.data)
    whole = b"".join(parts)
    return gzip.compress(whole, mtime=0) if compress else whole
