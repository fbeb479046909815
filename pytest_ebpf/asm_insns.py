"""One line of assembler text, as instructions. The forms are those of kernel/bpf/disasm.c as of Linux 7.2."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.disasm import insn_text
from pytest_ebpf.obj.insn import LD_IMM64, Insn
from pytest_ebpf.uapi.insn import InsnClass, PseudoCall, PseudoLoad

__all__ = ["AsmError", "Line", "assemble_line", "read_lines"]

_SIZES: Mapping[str, int] = MappingProxyType({"u32": 0x00, "u16": 0x08, "u8": 0x10, "u64": 0x18})
_OPS: Mapping[str, int] = MappingProxyType(
    {
        **{"+=": 0x00, "-=": 0x10, "*=": 0x20, "/=": 0x30, "|=": 0x40, "&=": 0x50, "<<=": 0x60, ">>=": 0x70},
        **{"%=": 0x90, "^=": 0xA0, "=": 0xB0, "s>>=": 0xC0, "s/=": 0x30, "s%=": 0x90},
    }
)
_JUMPS: Mapping[str, int] = MappingProxyType(
    {
        **{"==": 0x10, ">": 0x20, ">=": 0x30, "&": 0x40, "!=": 0x50, "s>": 0x60, "s>=": 0x70, "<": 0xA0, "<=": 0xB0},
        **{"s<": 0xC0, "s<=": 0xD0, "jmp": 0x00, "exit": 0x90},
    }
)
_ATOMICS: Mapping[str, int] = MappingProxyType({"add": 0x00, "or": 0x40, "and": 0x50, "xor": 0xA0})
_LOCKED: Mapping[str, int] = MappingProxyType({"+=": 0x00, "|=": 0x40, "&=": 0x50, "^=": 0xA0})
_FETCH, _XCHG, _CMPXCHG, _LOAD_ACQUIRE, _STORE_RELEASE = 0x01, 0xE1, 0xF1, 0x100, 0x110
_MEM, _MEMSX, _ATOMIC, _ABS, _IND, _NOSPEC = 0x60, 0x80, 0xC0, 0x20, 0x40, 0xC0
_PROBE = 0x20  # of the mode, beside _ATOMIC
_JCOND = 0xE5
_NO_CALL = 3  # the source register of a call that is of no kind
_REG = 0x08  # the right side is a register


class AsmError(ValueError):
    """A line that is no instruction. ``line``: its number in the text, from 1."""

    def __init__(self, message: str, *, line: int) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Line:
    """An instruction of the text: ``slot`` is its place in the program, ``code`` the opcode where the text has one,
    else -1; ``symbol`` what it calls or loads by name."""

    number: int
    slot: int
    text: str
    code: int
    symbol: str


_FRONT = re.compile(r"(?:\d+:\s*)?(?:\(([0-9a-f]{2})\)\s*)?(.*)")
_LABEL = re.compile(r"([A-Za-z_.][\w.]*):")
_SYMBOL = re.compile(
    r"r\d+ = ((?:map|subprog|extern|ksym|kfunc|core|data)\[.*)|call (?:pc((?![+-]\d+$)\S+)|(\S+)#-?\d+)"
)
_WIDE = re.compile(r"r\d+ = (?:0x[0-9a-f]+|\w+\[.*)")


def read_lines(text: str) -> tuple[list[Line], dict[str, int]]:
    """The instructions, and the slots of the labels."""
    lines: list[Line] = []
    labels: dict[str, int] = {}
    slot = 0
    for number, raw in enumerate(text.splitlines(), 1):
        plain = raw.split(";")[0].split("//")[0].strip()
        label = _LABEL.fullmatch(plain)
        if label:
            labels[label[1]] = slot
        if label or not plain or plain.startswith("#"):
            continue
        code, body = _FRONT.fullmatch(plain).groups()  # type: ignore[union-attr]  # it matches anything
        body = " ".join(body.split())
        found = _SYMBOL.fullmatch(body)
        symbol = next((one for one in found.groups() if one), "") if found else ""
        lines.append(Line(number, slot, body, int(code, 16) if code else -1, symbol))
        wide = lines[-1].code == LD_IMM64 or (not code and _WIDE.fullmatch(body))
        slot += 2 if wide else 1
    return lines, labels


def assemble_line(line: Line, *, labels: Mapping[str, int], helpers: Mapping[str, int]) -> list[Insn]:
    """The instruction of a line; two slots for a 64-bit load."""
    text = _with_targets(line, labels)
    for pattern, make in _FORMS:
        match = pattern.fullmatch(text)
        if match:
            try:
                insns = make(match, _Around(line.code, helpers))
            except (KeyError, ValueError, OverflowError) as error:
                raise AsmError(f"{line.text!r}: {error}", line=line.number) from None
            return _checked(insns, line)
    raise AsmError(f"{line.text!r} is no instruction", line=line.number)


def _checked(insns: list[Insn], line: Line) -> list[Insn]:
    first = insns[0]
    if line.code >= 0 and first.code != line.code:
        raise AsmError(f"{line.text!r} has opcode {first.code:02x}, not {line.code:02x}", line=line.number)
    if max(first.dst, first.src) > 15 or not -(1 << 15) <= first.off < 1 << 15:
        raise AsmError(f"{line.text!r}: a register or an offset does not fit", line=line.number)
    if not -(1 << 31) <= first.imm < 1 << 31:
        raise AsmError(f"{line.text!r}: {first.imm} does not fit into 32 bits", line=line.number)
    if insn_text(insns, 0).startswith("BUG_") and not line.text.startswith("BUG_"):
        raise AsmError(f"{line.text!r} is no instruction that a kernel knows", line=line.number)
    return insns


def _with_targets(line: Line, labels: Mapping[str, int]) -> str:
    """Distances for labels."""
    match = re.fullmatch(r"(.*\b(?:goto|gotol|may_goto|call) )([A-Za-z_.][\w.]*)", line.text)
    if match is None or match[2] not in labels:
        return line.text
    return f"{match[1]}pc{labels[match[2]] - line.slot - 1:+d}"


class _Around(NamedTuple):
    """What a line has besides its text: the opcode, or -1, and the numbers of helpers."""

    code: int
    helpers: Mapping[str, int]


_Make = Callable[[re.Match[str], _Around], list[Insn]]


def _signed(text: str) -> int:
    """A number of 32 bits, which may be written without its sign."""
    number = int(text, 0)
    return number - (1 << 32) if 1 << 31 <= number < 1 << 32 else number


def _fits(number: int) -> int:
    if not -(1 << 31) <= number < 1 << 31:
        raise ValueError(f"{number} does not fit into 32 bits")
    return number


def _alu(match: re.Match[str], at: _Around) -> list[Insn]:
    letter, dst, word, cast, right, src, imm = match.groups()
    if at.code == LD_IMM64 or (at.code < 0 and letter == "r" and word == "=" and imm and imm.startswith("0x")):
        return _two(int(dst), 0, low=int(imm, 16) & 0xFFFFFFFF, high=_unsigned(imm) >> 32)
    base = (InsnClass.ALU64 if letter == "r" else InsnClass.ALU) | _OPS[word]
    offset = 1 if word in ("s/=", "s%=") else int(cast) if cast else 0
    if src is None:
        return [Insn(base, int(dst), 0, offset, _fits(_signed(imm)))]
    if right != letter:
        raise ValueError("both registers are r, or both are w")
    return [Insn(base | _REG, int(dst), int(src), offset)]


def _negate(match: re.Match[str], at: _Around) -> list[Insn]:
    kind = InsnClass.ALU64 if match[1] == "r" else InsnClass.ALU
    return [Insn(at.code if at.code >= 0 else kind | 0x80, int(match[2]))]


def _swap(match: re.Match[str], at: _Around) -> list[Insn]:
    kind = {"bswap": InsnClass.ALU64 | 0xD0, "le": InsnClass.ALU | 0xD0, "be": InsnClass.ALU | 0xD8}[match[2]]
    return [Insn(at.code if at.code >= 0 else kind, int(match[1]), 0, 0, int(match[3]))]


def _cast(match: re.Match[str], at: _Around) -> list[Insn]:
    return [Insn(0xBF, int(match[1]), int(match[2]), 1, _signed(str(int(match[3]) << 16 | int(match[4]))))]


def _percpu(match: re.Match[str], at: _Around) -> list[Insn]:
    return [Insn(0xBF, int(match[1]), int(match[2]), -1)]


def _null(match: re.Match[str], at: _Around) -> list[Insn]:
    """What the kernel's table has no word for: only the opcode says what it is."""
    number = match[4]
    if number[0] in "rw":
        return [Insn(_opcode(at.code), int(match[2]), int(number[1:]))]
    return [Insn(_opcode(at.code), int(match[2]), 0, 0, _signed(number))]


def _unsigned(text: str) -> int:
    number = int(text, 16)
    if number >= 1 << 64:
        raise ValueError("the number does not fit into 64 bits")
    return number


def _two(dst: int, src: int, *, low: int, high: int) -> list[Insn]:
    return [Insn(LD_IMM64, dst, src, 0, _signed(str(low))), Insn(0, 0, 0, 0, _signed(str(high)))]


def _named(match: re.Match[str], at: _Around) -> list[Insn]:
    dst, kind, inside, value, offset = match.groups()
    number = re.fullmatch(r"(?:id:|idx:|fd:)?([+-]?\d+)", inside)
    low = int(number[1]) if number else 0
    if kind == "subprog":
        src = int(PseudoLoad.FUNC)
    elif kind != "map":
        src = int(PseudoLoad.BTF_ID) if number else 0
    elif inside.startswith("idx:"):
        src = int(PseudoLoad.MAP_IDX_VALUE if offset else PseudoLoad.MAP_IDX)
    else:
        src = int(PseudoLoad.MAP_VALUE if value or offset else PseudoLoad.MAP_FD)
    return _two(int(dst), src, low=low & 0xFFFFFFFF, high=int(offset or 0) & 0xFFFFFFFF)


def _packet(match: re.Match[str], at: _Around) -> list[Insn]:
    size, src, number = match.groups()
    mode = _IND if src else _ABS
    return [Insn(mode | _SIZES[size], 0, int(src or 0), 0, _signed(number))]


def _load(match: re.Match[str], at: _Around) -> list[Insn]:
    dst, size, src, off = match.groups()
    mode = _MEM if size[0] == "u" else _MEMSX
    width = _SIZES["u64" if size == "(null)" else "u" + size[1:]]
    return [Insn(InsnClass.LDX | mode | width, int(dst), int(src), int(off))]


def _store(match: re.Match[str], at: _Around) -> list[Insn]:
    size, dst, off, src, imm = match.groups()
    if src is not None:
        return [Insn(InsnClass.STX | _MEM | _SIZES[size], int(dst), int(src), int(off))]
    return [Insn(InsnClass.ST | _MEM | _SIZES[size], int(dst), 0, int(off), _signed(imm))]


def _lock(match: re.Match[str], at: _Around) -> list[Insn]:
    size, dst, off, word, src = match.groups()
    return [Insn(InsnClass.STX | _ATOMIC | _SIZES[size], int(dst), int(src), int(off), _LOCKED[word])]


def _fetch(match: re.Match[str], at: _Around) -> list[Insn]:
    _, word, size, dst, off, src = match.groups()
    number = (
        _XCHG if word == "xchg" else _CMPXCHG if word == "cmpxchg" else _ATOMICS[word.removeprefix("fetch_")] | _FETCH
    )
    return [Insn(InsnClass.STX | _ATOMIC | _SIZES[size], int(dst), int(src), int(off), number)]


def _acquire(match: re.Match[str], at: _Around) -> list[Insn]:
    dst, size, src, off = match.groups()
    return [Insn(InsnClass.STX | _ATOMIC | _SIZES[size], int(dst), int(src), int(off), _LOAD_ACQUIRE)]


def _release(match: re.Match[str], at: _Around) -> list[Insn]:
    size, dst, off, src = match.groups()
    return [Insn(InsnClass.STX | _ATOMIC | _SIZES[size], int(dst), int(src), int(off), _STORE_RELEASE)]


def _probe(match: re.Match[str], at: _Around) -> list[Insn]:
    """What the verifier makes of an atomic access to an arena, as Linux 7.3 writes it."""
    made = next((make(found, at) for form, make in _FORMS if (found := form.fullmatch(match[1]))), None)
    if made is None:
        raise ValueError("probe is for atomic instructions")
    (insn,) = made
    return [insn._replace(code=insn.code | _PROBE)]


def _jump(match: re.Match[str], at: _Around) -> list[Insn]:
    letter, dst, word, right, src, imm, off = match.groups()
    base = int(InsnClass.JMP if letter == "r" else InsnClass.JMP32)
    if word == "(null)":
        base |= _opcode(at.code) & 0xF0
    else:
        base |= _JUMPS[word]
    if src is not None:
        if right != letter:
            raise ValueError("both registers are r, or both are w")
        return [Insn(base | _REG, int(dst), int(src), int(off))]
    return [Insn(base, int(dst), int(base == _JCOND), int(off), _fits(_signed(imm)))]


def _opcode(code: int) -> int:
    if code < 0:
        raise ValueError("(null) needs its opcode in front")
    return code


def _goto(match: re.Match[str], at: _Around) -> list[Insn]:
    word, distance = match[1], int(match[2])
    if word == "goto":
        return [Insn(0x05, 0, 0, distance)]
    return [Insn(0x06, 0, 0, 0, distance)] if word == "gotol" else [Insn(0xE5, 0, 0, distance)]


def _call(match: re.Match[str], at: _Around) -> list[Insn]:
    name, number = match[1], match[2]
    wanted = at.code if at.code >= 0 else 0x85
    if name == "pc":
        return [Insn(wanted, 0, int(PseudoCall.CALL), 0, int(number or 0))]
    if number is None:
        if name.isdigit():
            return [Insn(wanted, 0, 0, 0, int(name))]
        if name not in at.helpers:
            raise ValueError(f"there is no helper {name!r}; a kernel function is written name#number")
        return [Insn(wanted, 0, 0, 0, at.helpers[name])]
    value = _signed(number)
    if name == "unknown":
        return [Insn(wanted, 0, _NO_CALL if 0 <= value < len(at.helpers) else 0, 0, value)]
    source = 0 if at.helpers.get(name) == value else int(PseudoCall.KFUNC_CALL)
    return [Insn(wanted, 0, source, 0, value)]


def _plain(match: re.Match[str], at: _Around) -> list[Insn]:
    text = match[0]
    if text.startswith("gotox"):
        return [Insn(0x0D, int(text[7:]))]
    if text.startswith("BUG_"):
        return [Insn(int(text[-2:], 16), imm=0x7F00)]  # no operation of an atomic instruction either
    return [Insn(0x95 if text == "exit" else at.code if at.code >= 0 else InsnClass.ST | _NOSPEC)]


_R, _N, _U, _OFF = r"(\d+)", r"(-?(?:0x[0-9a-f]+|\d+))", r"(u8|u16|u32|u64)", r"\(r(\d+) ([+-]\d+)\)"

_FORMS: tuple[tuple[re.Pattern[str], _Make], ...] = tuple(
    (re.compile(pattern), make)
    for pattern, make in (
        (rf"([rw]){_R} (s?(?:[+*/|&%^-]|<<|>>)?=) (?:\(s(8|16|32)\))?(?:([rw]){_R}|{_N})", _alu),
        (rf"([rw]){_R} = -\1\2", _negate),
        (rf"r{_R} = (bswap|le|be)(-?\d+) r\1", _swap),
        (rf"r{_R} = addr_space_cast\(r{_R}, (\d+), (\d+)\)", _cast),
        (rf"r{_R} = &\(void __percpu \*\)\(r{_R}\)", _percpu),
        (rf"([rw]){_R} (\(null\)) (\S+)", _null),
        (rf"r{_R} = (\w+)\[([^\]]*)\](\[0\])?(?:\+(\d+))?", _named),
        (rf"r0 = \*\({_U} \*\)skb\[(?:r{_R} \+ )?(-?\d+)\]", _packet),
        (rf"r{_R} = \*\((u64|[us]8|[us]16|[us]32|\(null\)) \*\){_OFF}", _load),
        (rf"\*\({_U} \*\){_OFF} = (?:r{_R}|{_N})", _store),
        (rf"lock \*\({_U} \*\){_OFF} ([+|&^]=) r{_R}", _lock),
        (rf"r\d+ = atomic(64|)_(\w+)\(\({_U} \*\){_OFF}, (?:r0, )?r{_R}\)", _fetch),
        (rf"r{_R} = load_acquire\(\({_U} \*\){_OFF}\)", _acquire),
        (rf"store_release\(\({_U} \*\){_OFF}, r{_R}\)", _release),
        (r"probe ((?:lock|r\d+ = atomic|r\d+ = load_acquire|store_release).*)", _probe),
        (rf"if ([rw]){_R} (\S+) (?:([rw]){_R}|{_N}) goto pc([+-]\d+)", _jump),
        (r"(goto|gotol|may_goto) pc([+-]\d+)", _goto),
        (r"call (pc)([+-]\d+(?=#|$))?\S*", _call),
        (r"call ([^#\s]+)(?:#(-?\d+))?", _call),
        (r"exit|nospec|gotox r\d+|BUG_(?:ld_|ldx_|st_)?[0-9a-f]{2}", _plain),
    )
)
