"""The few instructions that rewriting inserts, and the parts of an opcode that it looks at
(Documentation/bpf/standardization/instruction-set.rst)."""

from __future__ import annotations

from typing import NamedTuple

from pytest_ebpf.agent.ops import Obj
from pytest_ebpf.obj.insn import LD_IMM64, Insn
from pytest_ebpf.uapi.insn import PseudoLoad

__all__ = [
    "EXIT",
    "FRAME",
    "KEPT",
    "Item",
    "Kept",
    "MapLoad",
    "add",
    "add_imm",
    "and_imm",
    "clear_byte",
    "div_imm",
    "fetch_add",
    "goto",
    "imm64",
    "if_eq",
    "if_ge",
    "if_ne32",
    "load",
    "map_load",
    "mov",
    "mov_imm",
    "mul",
    "mul_imm",
    "shift_left",
    "shift_right",
    "size_of",
    "store",
    "store_imm",
]

FRAME = 10  # the frame pointer
EXIT = 0x95
_LOADS = {1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79}  # by bytes
_STORES = {1: 0x73, 2: 0x6B, 4: 0x63, 8: 0x7B}


class MapLoad(NamedTuple):
    """``dst`` = the address ``offset`` bytes into the one value of array map ``target``. Two slots."""

    dst: int
    target: Obj
    offset: int = 0


class Kept(NamedTuple):
    """The instruction that stood here, aimed anew: with another opcode unless ``code`` is 0, and ``more`` added to its
    constant."""

    code: int = 0
    more: int = 0


KEPT = Kept()
Item = Insn | MapLoad | Kept


def size_of(items: tuple[Item, ...], *, kept: int) -> int:
    """The slots of ``items``. ``kept``: those of the instruction that stood there."""
    return sum(2 if isinstance(item, MapLoad) else kept if isinstance(item, Kept) else 1 for item in items)


def mov(dst: int, src: int) -> Insn:
    """dst = src"""
    return Insn(0xBF, dst, src)


def mov_imm(dst: int, imm: int) -> Insn:
    """dst = imm (32 bits, sign-extended)"""
    return Insn(0xB7, dst, imm=imm)


def imm64(dst: int, value: int) -> tuple[Insn, Insn]:
    """dst = value (64 bits, as the verifier knows it)"""
    low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    return Insn(LD_IMM64, dst, imm=_signed(low)), Insn(0, imm=_signed(high))


def map_load(load: MapLoad) -> tuple[Insn, Insn]:
    """The two slots of a MapLoad, whose file descriptor is filled in by an FdPatch."""
    return Insn(LD_IMM64, load.dst, PseudoLoad.MAP_VALUE), Insn(0, imm=load.offset)


def load(dst: int, src: int, *, off: int = 0, size: int = 8) -> Insn:
    """dst = *(size *)(src + off)"""
    return Insn(_LOADS[size], dst, src, off)


def store(dst: int, src: int, *, off: int = 0, size: int = 8) -> Insn:
    """*(size *)(dst + off) = src"""
    return Insn(_STORES[size], dst, src, off)


def store_imm(dst: int, imm: int, *, off: int = 0) -> Insn:
    """*(u64 *)(dst + off) = imm"""
    return Insn(0x7A, dst, 0, off, imm)


def clear_byte(dst: int, *, off: int) -> Insn:
    """*(u8 *)(dst + off) = 0"""
    return Insn(0x72, dst, 0, off, 0)


def add(dst: int, src: int) -> Insn:
    """dst += src"""
    return Insn(0x0F, dst, src)


def add_imm(dst: int, imm: int) -> Insn:
    """dst += imm"""
    return Insn(0x07, dst, imm=imm)


def fetch_add(dst: int, src: int) -> Insn:
    """src = *(u64 *)dst, which becomes larger by what src was, in one step (Linux 5.12)"""
    return Insn(0xDB, dst, src, imm=1)


def and_imm(dst: int, imm: int) -> Insn:
    """dst &= imm"""
    return Insn(0x57, dst, imm=imm)


def mul(dst: int, src: int) -> Insn:
    """dst *= src"""
    return Insn(0x2F, dst, src)


def mul_imm(dst: int, imm: int) -> Insn:
    """dst *= imm"""
    return Insn(0x27, dst, imm=imm)


def div_imm(dst: int, imm: int) -> Insn:
    """dst /= imm, unsigned"""
    return Insn(0x37, dst, imm=imm)


def shift_left(dst: int, bits: int) -> Insn:
    """dst <<= bits"""
    return Insn(0x67, dst, imm=bits)


def shift_right(dst: int, bits: int) -> Insn:
    """dst >>= bits, unsigned"""
    return Insn(0x77, dst, imm=bits)


def goto(distance: int) -> Insn:
    """Skip ``distance`` slots."""
    return Insn(0x05, off=distance)


def if_eq(dst: int, imm: int, *, skip: int) -> Insn:
    """Skip slots if dst == imm."""
    return Insn(0x15, dst, 0, skip, imm)


def if_ge(dst: int, imm: int, *, skip: int) -> Insn:
    """Skip slots if dst >= imm, unsigned."""
    return Insn(0x35, dst, 0, skip, imm)


def if_ne32(dst: int, imm: int, *, skip: int) -> Insn:
    """Skip slots if the lower half of dst != imm (Linux 5.1)."""
    return Insn(0x56, dst, 0, skip, _signed(imm & 0xFFFFFFFF))


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number
