"""Instructions as values (Documentation/bpf/standardization/instruction-set.rst). A slot is 8 bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = [
    "CALL",
    "INSN_SIZE",
    "LD_IMM64",
    "Code",
    "Insn",
    "pack_insns",
    "signed32",
    "slots_with_code",
    "unpack_insns",
]

INSN_SIZE = 8
LD_IMM64 = 0x18  # takes two slots
CALL = 0x85

_LITTLE, _BIG = struct.Struct("<BBhi"), struct.Struct(">BBhi")
_IMM_LITTLE, _IMM_BIG = struct.Struct("<i"), struct.Struct(">i")


class Insn(NamedTuple):
    """One slot. ``off`` and ``imm`` are signed."""

    code: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0


def unpack_insns(data: bytes | bytearray, *, byteorder: str = "little") -> tuple[Insn, ...]:
    """The slots of ``data``, whose length must be a multiple of 8 (ValueError)."""
    if len(data) % INSN_SIZE:
        raise ValueError(f"{len(data)} bytes are not whole instructions of 8")
    if byteorder == "little":
        rows = _LITTLE.iter_unpack(data)
        return tuple(Insn(code, regs & 15, regs >> 4, off, imm) for code, regs, off, imm in rows)
    rows = _BIG.iter_unpack(data)
    return tuple(Insn(code, regs >> 4, regs & 15, off, imm) for code, regs, off, imm in rows)


def pack_insns(insns: Iterable[Insn], *, byteorder: str = "little") -> bytes:
    """The bytes of ``insns``. struct.error when a field does not fit."""
    if byteorder == "little":
        pack = _LITTLE.pack
        return b"".join([pack(code, dst | src << 4, off, imm) for code, dst, src, off, imm in insns])
    pack = _BIG.pack
    return b"".join([pack(code, dst << 4 | src, off, imm) for code, dst, src, off, imm in insns])


class Code:
    """Instructions as bytes, which reads and writes one at a time: a plan changes few among many."""

    __slots__ = ("_dst", "_imm", "_layout", "_src", "data")

    def __init__(self, data: bytes, *, byteorder: str = "little") -> None:
        self.data = bytearray(data)
        self._layout = _LITTLE if byteorder == "little" else _BIG
        self._imm = _IMM_LITTLE if byteorder == "little" else _IMM_BIG
        self._dst, self._src = (0, 4) if byteorder == "little" else (4, 0)  # where the registers are in their byte

    def __len__(self) -> int:
        return len(self.data) // INSN_SIZE

    def __getitem__(self, index: int) -> Insn:
        code, regs, off, imm = self._layout.unpack_from(self.data, self._at(index))
        return Insn(code, regs >> self._dst & 15, regs >> self._src & 15, off, imm)

    def __setitem__(self, index: int, insn: Insn) -> None:
        code, dst, src, off, imm = insn
        self._layout.pack_into(self.data, self._at(index), code, dst << self._dst | src << self._src, off, imm)

    def set_load(self, index: int, *, src: int, high: int) -> None:
        """Make the 64-bit load at ``index`` load what ``src`` says (BPF_PSEUDO_*) of the file descriptor 0, with
        ``high`` in its second half. A program has hundreds of these, so no instruction is made for them."""
        at, after = self._at(index), self._at(index + 1)
        data = self.data
        data[at + 1] = (data[at + 1] >> self._dst & 15) << self._dst | src << self._src
        self._imm.pack_into(data, at + 4, 0)
        self._imm.pack_into(data, after + 4, high)

    def raw(self, index: int) -> bytes:
        """The instruction's bytes: 16 of a 64-bit load, if there are that many, else 8."""
        at = self._at(index)
        return bytes(self.data[at : at + INSN_SIZE * (1 + (self.data[at] == LD_IMM64))])

    def put(self, index: int, raw: bytes) -> None:
        """Write what ``raw`` gave for a like instruction."""
        at = self._at(index)
        self.data[at : at + len(raw)] = raw

    def _at(self, index: int) -> int:
        at = index * INSN_SIZE
        if index < 0 or at + INSN_SIZE > len(self.data):
            raise IndexError(f"no instruction {index}: there are {len(self)}")
        return at


def slots_with_code(data: bytes, code: int) -> Iterator[int]:
    """Indices of the slots whose opcode is ``code``; the second half of a 64-bit load has opcode 0."""
    codes = data[::INSN_SIZE]
    at = codes.find(code)
    while at >= 0:
        yield at
        at = codes.find(code, at + 1)


def signed32(number: int) -> int:
    """The low 32 bits of a number as ``Insn.imm`` has them."""
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number
