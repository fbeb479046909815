"""BTF bytes from 32-bit words: small blobs for probes, and whole sections put together again."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable

from pytest_ebpf.btf.parse import BTF_MAGIC

__all__ = ["Strings", "blob", "info_word"]

_HEADER = 24


class Strings:
    """A string section that grows at its end, so that offsets handed out before stay good."""

    __slots__ = ("_data", "_offsets")

    def __init__(self, data: bytes = b"\0") -> None:
        self._data = bytearray(data or b"\0")
        self._offsets: dict[str, int] = {"": 0}

    def add(self, text: str) -> int:
        """The offset of ``text``."""
        offset = self._offsets.get(text)
        if offset is None:
            offset = self._offsets[text] = len(self._data)
            self._data += text.encode() + b"\0"
        return offset

    def __bytes__(self) -> bytes:
        return bytes(self._data)


def info_word(kind: int, *, vlen: int = 0, kflag: bool = False) -> int:
    """The ``info`` word of a struct btf_type."""
    return kflag << 31 | kind << 24 | vlen


def blob(words: Iterable[int], strings: bytes, *, byteorder: str) -> bytes:
    """A BTF blob of the type records ``words``."""
    types = array("I", words)
    if byteorder != sys.byteorder:
        types.byteswap()
    body = types.tobytes()
    code = "<" if byteorder == "little" else ">"
    head = struct.pack(code + "HBBIIIII", BTF_MAGIC, 1, 0, _HEADER, 0, len(body), len(body), len(strings))
    return head + body + strings
