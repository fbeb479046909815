"""What an instruction reads and writes, from the verifier's disassembly (``kernel/bpf/disasm.c``)."""

from __future__ import annotations

import re

from pytest_ebpf.frozen import dataclass

__all__ = ["Operands", "read_operands"]

_REG = re.compile(r"\b[rw](\d+)\b")
_ASSIGN = re.compile(r"[rw](\d+) (s?(?:[-+*/%&|^]|<<|>>)?)= (.*)")
_LOAD = re.compile(r"\*\((\w+) \*\)\(([rw]\d+) ([-+]\d+)\)")
_STORE = re.compile(r"\*\((\w+) \*\)\(([rw]\d+) ([-+]\d+)\) = ([rw]\d+\b|-?\d\w*)")
_JUMP = re.compile(r"goto (?:pc)?([-+]\d+)")
_CALL = re.compile(r"call (?:pc([-+]\d+)|(\S+?)(?:#(-?\d+))?)$")
_MOVE = re.compile(r"(?:\(s\d+\))?([rw]\d+)$")


@dataclass(frozen=True, slots=True)
class Operands:
    """Registers by number. ``writes`` is -1 for none. ``moved_from`` is the register whose value is taken over
    unchanged (``r1 = r2``), ``slot`` the place in memory (base register, offset) that is loaded or, with ``stores``
    (a register or a constant), stored to. ``call`` names what is called (``pc+4`` for a function of the program),
    ``jump`` is the distance of a jump, ``conditional`` whether it depends on something."""

    writes: int = -1
    reads: tuple[int, ...] = ()
    moved_from: int = -1
    keeps: bool = False
    slot: tuple[int, int] | None = None
    stores: str = ""
    call: str = ""
    jump: int | None = None
    conditional: bool = False

    @property
    def clobbers(self) -> bool:
        """Whether R0-R5 are lost: any call."""
        return bool(self.call)


def read_operands(text: str) -> Operands:
    """From the text of an instruction, without index and opcode. What is not understood has no operands."""
    if text.startswith("call"):
        found = _CALL.match(text)
        name = text[5:] if found is None else (f"pc{found[1]}" if found[1] else found[2])
        return Operands(writes=0, call=name or "?")
    if text.startswith("if ") or text.startswith("may_goto") or text.startswith("goto"):
        return _jump(text)
    if found := _STORE.match(text):
        base = int(found[2][1:])
        value = found[4]
        return Operands(reads=_registers(text), slot=(base, int(found[3])), stores=value)
    if found := _ASSIGN.match(text):
        return _assign(int(found[1]), found[2], rest=found[3])
    return Operands(writes=0 if text.startswith("r0 = ") else -1, reads=_registers(text))


def _assign(target: int, operator: str, *, rest: str) -> Operands:
    reads = _registers(rest)
    load = _LOAD.match(rest)
    if load:
        return Operands(target, reads, slot=(int(load[2][1:]), int(load[3])))
    if operator:
        return Operands(target, (target, *reads), keeps=True)
    moved = _MOVE.match(rest)
    return Operands(target, reads, moved_from=int(moved[1][1:]) if moved else -1)


def _jump(text: str) -> Operands:
    found = _JUMP.search(text)
    distance = int(found[1]) if found else None
    return Operands(reads=_registers(text), jump=distance, conditional=not text.startswith("goto"))


def _registers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(int(number) for number in _REG.findall(text)))
