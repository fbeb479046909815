"""Archives for an initramfs: the "newc" format of cpio, uncompressed (Documentation/driver-api/early-userspace)."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator

from pytest_ebpf.frozen import dataclass

__all__ = ["Member", "directories", "read_cpio", "write_cpio"]

_MAGIC = b"070701"
_FIELDS = 13
_HEADER = len(_MAGIC) + 8 * _FIELDS
_END = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Member:
    """One file. ``name`` is relative to the root, ``mode`` with the bits of its type, ``device`` for a device node."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directories(names: Iterable[str]) -> list[Member]:
    """The directories above files, parents first."""
    found: set[str] = set()
    for name in names:
        parts = name.split("/")[:-1]
        found.update("/".join(parts[:end]) for end in range(1, len(parts) + 1))
    return [Member(name, stat.S_IFDIR | 0o755) for name in sorted(found)]


def write_cpio(members: Iterable[Member]) -> bytes:
    """One archive, the same bytes for the same members."""
    out = bytearray()
    for serial, member in enumerate([*members, Member(_END, 0)], 1):
        name = member.name.encode() + b"\0"
        fields = (serial, member.mode, 0, 0, 1, 0, len(member.data), 0, 0, *member.device, len(name), 0)
        out += _MAGIC + b"".join(b"%08X" % field for field in fields) + name
        out += bytes(-len(out) % 4) + member.data
        out += bytes(-len(out) % 4)
    return bytes(out)


def read_cpio(archive: bytes) -> Iterator[Member]:
    """The members of the first archive in the bytes. ``ValueError`` for anything else."""
    place = 0
    while True:
        head = archive[place : place + _HEADER]
        if len(head) < _HEADER or not head.startswith(_MAGIC):
            raise ValueError(f"no cpio header at byte {place}")
        fields = [int(head[at : at + 8], 16) for at in range(len(_MAGIC), _HEADER, 8)]
        start = place + _HEADER
        name = archive[start : start + fields[11] - 1].decode()
        if name == _END:
            return
        begin = start + fields[11] + -(start + fields[11]) % 4
        yield Member(name, fields[1], archive[begin : begin + fields[6]], (fields[9], fields[10]))
        end = begin + fields[6]
        place = end + -end % 4
