"""Putting the number of a CO-RE relocation into its instruction.

As in libbpf's ``bpf_core_patch_insn`` (src/relo_core.c, v1.7).
"""

from __future__ import annotations

from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Code, Insn
from pytest_ebpf.plan.core_value import Value
from pytest_ebpf.uapi.insn import InsnClass

__all__ = ["POISON_CORE", "Unpatchable", "patch_insn", "poison_insn"]

POISON_CORE = 195896080  # 0xbad2310, the number that libbpf uses: no helper has it

_SOURCE_REGISTER = 0x08
_SIZE_MASK = 0x18
_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}  # bytes -> BPF_B, BPF_H, BPF_W, BPF_DW
_MAX_OFFSET = 32767
_MASK64 = (1 << 64) - 1


class Unpatchable(Exception):
    """The instruction cannot access the field in this kernel; the message becomes the note on the poisoned
    instruction."""


def patch_insn(insns: Code, index: int, *, local: Value, target: Value) -> None:
    """Change ``insns[index]`` (and the next slot for a 64-bit load) from ``local`` to ``target``.

    Raises Unpatchable when the field of this kernel has a size that the instruction cannot be changed to, PlanError
    when the instruction is not one that the compiler relocates, or does not hold the value it should.
    """
    insn = insns[index]
    assert target.number is not None
    klass = insn.code & 0x07
    if klass in (InsnClass.ALU, InsnClass.ALU64):
        if insn.code & _SOURCE_REGISTER:
            raise _not_relocatable(insn)
        _check(insn.imm, local, bits=32)
        insns[index] = Insn(insn.code, insn.dst, insn.src, insn.off, _signed(target.number, 32))
    elif klass in (InsnClass.LDX, InsnClass.ST, InsnClass.STX):
        _check(insn.off, local, bits=16)
        insns[index] = _memory(insn, local=local, target=target)
    elif insn.code == LD_IMM64:
        _load_imm64(insns, index, local=local, target=target)
    else:
        raise _not_relocatable(insn)


def poison_insn(insns: Code, index: int, *, number: int = POISON_CORE) -> None:
    """Replace the instruction with one that the verifier rejects if it is reachable."""
    if insns[index].code == LD_IMM64:
        if index + 1 >= len(insns):
            raise _not_relocatable(insns[index])
        insns[index + 1] = Insn(CALL, imm=number)
    insns[index] = Insn(CALL, imm=number)


def _memory(insn: Insn, *, local: Value, target: Value) -> Insn:
    assert target.number is not None
    if target.number > _MAX_OFFSET:
        raise PlanError(
            f"CO-RE: the field lies {target.number} bytes into its struct, past what an instruction reaches"
        )
    if not (target.size and local.size and target.size != local.size):
        return Insn(insn.code, insn.dst, insn.src, target.number, insn.imm)  # most relocations end here
    if not local.resizable or local.resizable != target.resizable:
        raise Unpatchable(
            f"is {target.size} bytes here and {local.size} in the program, and only pointers and unsigned integers "
            "can be read at another size; use BPF_CORE_READ_BITFIELD() or bpf_core_read()"
        )
    if _SIZES.get(local.size) != insn.code & _SIZE_MASK:
        raise PlanError(f"CO-RE: an access of another size than the field's {local.size} bytes cannot be resized")
    if target.size not in _SIZES:
        raise Unpatchable(f"is {target.size} bytes here, which no instruction reads")
    return insn._replace(off=target.number, code=insn.code & ~_SIZE_MASK | _SIZES[target.size])


def _load_imm64(insns: Code, index: int, *, local: Value, target: Value) -> None:
    low = insns[index]
    if index + 1 >= len(insns) or low.src or low.off or insns[index + 1].code:
        raise _not_relocatable(low)
    high = insns[index + 1]
    assert target.number is not None
    number = target.number
    found = (low.imm & 0xFFFFFFFF) | (high.imm & 0xFFFFFFFF) << 32
    _check(found, local, bits=64)
    if local.exact and found >> 32 == 0xFFFFFFFF and not (local.number or 0) >> 32:
        number = _signed(number, 32)  # before LLVM 15 no enum was marked as signed, but the code treats it as such
    insns[index] = low._replace(imm=_signed(number, 32))
    insns[index + 1] = high._replace(imm=_signed(number >> 32, 32))


def _check(found: int, local: Value, *, bits: int) -> None:
    if not local.exact or local.number is None:
        return
    mask = (1 << min(bits, 32)) - 1  # compilers differ in the sign extension of enums
    if (found ^ local.number) & mask:
        raise PlanError(
            f"CO-RE: the instruction holds {found}, its type gives {local.number}",
            hint="were the object's instructions changed after compiling?",
        )


def _signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def _not_relocatable(insn: Insn) -> PlanError:
    return PlanError(f"CO-RE: an instruction with opcode {insn.code:#04x} cannot be relocated")
