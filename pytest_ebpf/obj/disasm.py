"""Instructions in the notation of the kernel's verifier log and of ``bpftool prog dump xlated``.

The spelling is that of kernel/bpf/disasm.c as of Linux 7.3; nothing that older kernels print differs, they print less
(``BUG_…`` for what they do not know). Opcodes: Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.insn import LD_IMM64, Insn
from pytest_ebpf.uapi.insn import InsnClass, PseudoCall

__all__ = ["InsnNames", "InsnText", "WideLoad", "disassemble", "insn_text"]

_SIZES = {0x00: "u32", 0x08: "u16", 0x10: "u8", 0x18: "u64"}
_SIGNED_SIZES = {0x00: "s32", 0x08: "s16", 0x10: "s8"}
_MEM, _ABS, _IND, _MEMSX, _ATOMIC, _NOSPEC = 0x60, 0x20, 0x40, 0x80, 0xC0, 0xC0
_PROBE_ATOMIC = 0xE0  # include/linux/filter.h: what the verifier makes of an atomic access to an arena; 7.3 prints it

_ALU_OPS = {
    0x00: "+=", 0x10: "-=", 0x20: "*=", 0x30: "/=", 0x40: "|=", 0x50: "&=", 0x60: "<<=", 0x70: ">>=", 0x90: "%=",
    0xA0: "^=", 0xB0: "=", 0xC0: "s>>=",
}  # fmt: skip
_DIV, _NEG, _MOD, _MOV, _END = 0x30, 0x80, 0x90, 0xB0, 0xD0
_SIGNED_OPS = {_DIV: "s/=", _MOD: "s%="}  # offset 1, Linux 6.6
_MOVSX = {8: "(s8)", 16: "(s16)", 32: "(s32)"}  # by offset, Linux 6.6
_MOV64_REG = 0xBF
_ADDR_SPACE_CAST, _ADDR_PERCPU = 1, -1  # offsets of that move; the second is the kernel's own

_JUMPS = {
    0x00: "jmp", 0x90: "exit",  # jmp32 has neither, yet the kernel has words for them
    0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&", 0x50: "!=", 0x60: "s>", 0x70: "s>=", 0xA0: "<", 0xB0: "<=",
    0xC0: "s<", 0xD0: "s<=",
}  # fmt: skip
_CALL, _EXIT = 0x80, 0x95
_GOTO, _GOTOL, _JCOND, _MAY_GOTO = 0x05, 0x06, 0xE5, 0
_GOTOX = 0x0D  # Linux 6.19

_FETCH = 0x01
_ATOMIC_OPS = {0x00: ("add", "+="), 0x40: ("or", "|="), 0x50: ("and", "&="), 0xA0: ("xor", "^=")}
_XCHG, _CMPXCHG, _LOAD_ACQUIRE, _STORE_RELEASE = 0xE1, 0xF1, 0x100, 0x110

_CLASSES = tuple(one.name.lower() for one in InsnClass)


class WideLoad(NamedTuple):
    """A 64-bit load and the 64 bits that it loads. ``src`` of the instruction says what they mean."""

    slot: int
    insn: Insn
    value: int


@dataclass(frozen=True, slots=True)
class InsnNames:
    """What the numbers in instructions stand for. ``helpers``: by number.

    ``call``: (slot, instruction) -> the callee: a name for helpers and kfuncs, text after ``pc`` for functions of the
    program. ``load``: what a 64-bit load loads. Both may answer "" for "no name".
    """

    helpers: Sequence[str] = ()
    call: Callable[[int, Insn], str] | None = None
    load: Callable[[WideLoad], str] | None = None


class InsnText(NamedTuple):
    """The instruction in ``slot``: "(bf) r6 = r1"."""

    slot: int
    text: str

    def __str__(self) -> str:
        return f"{self.slot}: {self.text}"


_NO_NAMES = InsnNames()


def disassemble(insns: Sequence[Insn], *, names: InsnNames = _NO_NAMES) -> Iterator[InsnText]:
    """The instructions in order. The second slot of a 64-bit load has no line of its own, so slots skip one there."""
    slot = 0
    while slot < len(insns):
        yield InsnText(slot, insn_text(insns, slot, names=names))
        slot += 2 if insns[slot].code == LD_IMM64 else 1


def insn_text(insns: Sequence[Insn], slot: int, *, names: InsnNames = _NO_NAMES) -> str:
    """The instruction in ``slot`` of ``insns``."""
    insn = insns[slot]
    kind = insn.code & 7
    if kind in (InsnClass.ALU, InsnClass.ALU64):
        text = _alu(insn)
    elif kind in (InsnClass.JMP, InsnClass.JMP32):
        text = _jump(insn, slot=slot, names=names)
    elif kind == InsnClass.LD:
        high = insns[slot + 1].imm if insn.code == LD_IMM64 and slot + 1 < len(insns) else 0
        text = _load_special(insn, slot=slot, high=high, names=names)
    else:
        text = _MEMORY[kind](insn)
    return text if text.startswith("BUG_") else f"({insn.code:02x}) {text}"


def _alu(insn: Insn) -> str:
    letter = "w" if insn.code & 7 == InsnClass.ALU else "r"
    op, from_register, dst = insn.code & 0xF0, insn.code & 0x08, f"{letter}{insn.dst}"
    if op == _END:
        swap = "bswap" if letter == "r" else "be" if from_register else "le"
        return f"r{insn.dst} = {swap}{insn.imm} r{insn.dst}"
    if op == _NEG:
        return f"{dst} = -{dst}"
    if insn.code == _MOV64_REG and insn.off == _ADDR_SPACE_CAST:
        return f"{dst} = addr_space_cast(r{insn.src}, {insn.imm >> 16 & 0xFFFF}, {insn.imm & 0xFFFF})"
    if insn.code == _MOV64_REG and insn.off == _ADDR_PERCPU:
        return f"{dst} = &(void __percpu *)(r{insn.src})"
    word = _alu_word(insn, op=op)
    if not from_register:
        return f"{dst} {word} {insn.imm}"
    cast = _MOVSX.get(insn.off, "") if op == _MOV else ""
    return f"{dst} {word} {cast}{letter}{insn.src}"


def _alu_word(insn: Insn, *, op: int) -> str:
    if insn.off == 1 and op in _SIGNED_OPS:
        return _SIGNED_OPS[op]
    return _ALU_OPS.get(op, "(null)")  # as C prints what its table lacks


def _jump(insn: Insn, *, slot: int, names: InsnNames) -> str:
    code = insn.code
    if code & 0xF0 == _CALL:
        return _call(insn, slot=slot, names=names)
    if code == _GOTO:
        return f"goto pc{insn.off:+d}"
    if code == _GOTOX:
        return f"gotox r{insn.dst}"
    if code == _GOTOL:
        return f"gotol pc{insn.imm:+d}"
    if code == _JCOND and insn.src == _MAY_GOTO:
        return f"may_goto pc{insn.off:+d}"
    if code == _EXIT:
        return "exit"
    letter = "w" if code & 7 == InsnClass.JMP32 else "r"
    right = f"{letter}{insn.src}" if code & 0x08 else f"{insn.imm & 0xFFFFFFFF:#x}"
    return f"if {letter}{insn.dst} {_JUMPS.get(code & 0xF0, '(null)')} {right} goto pc{insn.off:+d}"


def _call(insn: Insn, *, slot: int, names: InsnNames) -> str:
    if not insn.src and 0 <= insn.imm < len(names.helpers):
        return f"call {names.helpers[insn.imm]}#{insn.imm}"
    name = names.call(slot, insn) if names.call else ""
    if insn.src == PseudoCall.CALL:
        return f"call pc{name or f'{insn.imm:+d}'}"
    unknown = "kernel-function" if insn.src == PseudoCall.KFUNC_CALL else "unknown"
    return f"call {name or unknown}#{insn.imm}"


def _load_special(insn: Insn, *, slot: int, high: int, names: InsnNames) -> str:
    mode, size = insn.code & 0xE0, _SIZES[insn.code & 0x18]
    if mode == _ABS:
        return f"r0 = *({size} *)skb[{insn.imm}]"
    if mode == _IND:
        return f"r0 = *({size} *)skb[r{insn.src} + {insn.imm}]"
    if insn.code != LD_IMM64:
        return f"BUG_ld_{insn.code:02x}"
    value = (high & 0xFFFFFFFF) << 32 | insn.imm & 0xFFFFFFFF
    name = names.load(WideLoad(slot, insn, value)) if names.load else ""
    return f"r{insn.dst} = {name or f'{value:#x}'}"


def _load(insn: Insn) -> str:
    sizes = {_MEM: _SIZES, _MEMSX: _SIGNED_SIZES}.get(insn.code & 0xE0)
    if sizes is None:
        return f"BUG_ldx_{insn.code:02x}"
    return f"r{insn.dst} = *({sizes.get(insn.code & 0x18, '(null)')} *)(r{insn.src} {insn.off:+d})"


def _store_number(insn: Insn) -> str:
    mode = insn.code & 0xE0
    if mode == _NOSPEC:
        return "nospec"
    return f"{_place(insn)} = {insn.imm}" if mode == _MEM else f"BUG_st_{insn.code:02x}"


def _store(insn: Insn) -> str:
    mode = insn.code & 0xE0
    if mode == _MEM:
        return f"{_place(insn)} = r{insn.src}"
    if mode not in (_ATOMIC, _PROBE_ATOMIC) or not (text := _atomic(insn)):
        return f"BUG_{insn.code:02x}"
    return f"probe {text}" if mode == _PROBE_ATOMIC else text


def _atomic(insn: Insn) -> str:
    """ "" for an operation that there is not."""
    size = _SIZES[insn.code & 0x18]
    wide = "64" if size == "u64" else ""
    place = f"({size} *)(r{insn.dst} {insn.off:+d})"
    op = _ATOMIC_OPS.get(insn.imm & ~_FETCH)
    if op and not insn.imm & _FETCH:
        return f"lock *{place} {op[1]} r{insn.src}"
    if op:
        return f"r{insn.src} = atomic{wide}_fetch_{op[0]}({place}, r{insn.src})"
    if insn.imm == _CMPXCHG:
        return f"r0 = atomic{wide}_cmpxchg({place}, r0, r{insn.src})"
    if insn.imm == _XCHG:
        return f"r{insn.src} = atomic{wide}_xchg({place}, r{insn.src})"
    if insn.imm == _LOAD_ACQUIRE:
        return f"r{insn.dst} = load_acquire(({size} *)(r{insn.src} {insn.off:+d}))"
    if insn.imm == _STORE_RELEASE:
        return f"store_release({place}, r{insn.src})"
    return ""


def _place(insn: Insn) -> str:
    return f"*({_SIZES[insn.code & 0x18]} *)(r{insn.dst} {insn.off:+d})"


_MEMORY: dict[int, Callable[[Insn], str]] = {InsnClass.LDX: _load, InsnClass.ST: _store_number, InsnClass.STX: _store}
