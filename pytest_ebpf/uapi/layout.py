"""Pieces of ``union bpf_attr`` and other kernel structs as named fields at fixed offsets."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct

__all__ = ["Layout"]


class Layout:
    """Fields of one struct: name -> (byte offset, struct format), in native byte order."""

    __slots__ = ("_fields", "_packers", "size")

    def __init__(self, fields: Mapping[str, tuple[int, str]]) -> None:
        self._fields = {name: (offset, Struct("=" + code)) for name, (offset, code) in fields.items()}
        self._packers = {n: (at, at + field.size, field.pack_into) for n, (at, field) in self._fields.items()}
        self.size = max(after for _, after, _ in self._packers.values())

    def pack(self, **values: int | bytes) -> bytearray:
        """The struct with ``values`` set, cut after the last field that is not zero: a kernel that knows fewer fields
        refuses (E2BIG) only what it would have to honour."""
        data, packers = bytearray(self.size), self._packers
        end = 4
        for name, value in values.items():
            if value:
                offset, after, pack_into = packers[name]
                pack_into(data, offset, value)
                if after > end:  # a call of max() takes as long as all the rest
                    end = after
        del data[end:]
        return data

    def get(self, data: bytes | bytearray | memoryview, *, name: str) -> int:
        """An integer field; 0 when ``data`` ends before it (an older kernel)."""
        offset, field = self._fields[name]
        if len(data) < offset + field.size:
            return 0
        value: int = field.unpack_from(data, offset)[0]
        return value

    def text(self, data: bytes | bytearray | memoryview, *, name: str) -> str:
        """A char array field up to its NUL."""
        offset, field = self._fields[name]
        raw = bytes(data[offset : offset + field.size])
        return raw.split(b"\0", 1)[0].decode(errors="replace")
