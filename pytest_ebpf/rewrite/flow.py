"""What flows where in a program: functions, basic blocks, which registers hold something that is read later."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Insn
from pytest_ebpf.rewrite.asm import EXIT, FRAME
from pytest_ebpf.rewrite.edit import jump_distance
from pytest_ebpf.uapi.insn import InsnClass, PseudoCall, PseudoLoad

__all__ = ["Block", "Flow", "find_flow", "registers_of"]

_JUMPS = (InsnClass.JMP, InsnClass.JMP32)
_GOTOS = (0x05, 0x06)
_COMPUTED_GOTO = 0x0D
_MAY_GOTO = 0xE5
_ATOMIC = 0xC0  # the mode of STX
_FETCH, _CMPXCHG, _LOAD_ACQUIRE = 0x01, 0xF1, 0x100
_END = 0xD0  # byte swaps: they read and write dst, whatever their source bit says
_MOV = 0xB0
_NEG = 0x80
_ARGUMENTS = 0b111110  # r1 to r5
_CLOBBERED = 0b111111  # r0 to r5
_LEGACY = (0x20, 0x40)  # LD_ABS, LD_IND


@dataclass(frozen=True, slots=True)
class Block:
    """Slots ``start`` to ``end`` (without it), entered at the start alone. ``following``: the starts of blocks that
    can come next; ``falls``: that of the one that comes without a jump, -1 for none. ``jumped``: whether some jump
    leads here."""

    start: int
    end: int
    last: int
    following: tuple[int, ...]
    falls: int
    jumped: bool


@dataclass(frozen=True, slots=True)
class Flow:
    """``functions``: the first slot of each. ``live[slot]``: a bit for each register whose value is read later, when
    ``slot`` is about to run. ``set_[slot]``: for each that was written on every way there since the last call.
    ``depth``: by function, the lowest offset of the stack that it uses (0 or negative, a multiple of 8)."""

    blocks: tuple[Block, ...]
    functions: tuple[int, ...]
    live: Sequence[int]
    set_: Sequence[int]
    depth: Mapping[int, int]

    def function_at(self, slot: int) -> int:
        """The first slot of the function that ``slot`` is in."""
        return self.functions[bisect_right(self.functions, slot) - 1]


def find_flow(
    insns: Sequence[Insn], *, tables: Sequence[tuple[int, tuple[int, ...]]] = (), also: Collection[int] = ()
) -> Flow:
    """``tables``: the targets of jump tables, by the slot of the load of their address. ``also``: slots at which a
    block begins, whatever leads there."""
    functions = _functions(insns)
    targets = {target for _, row in tables for target in row}
    blocks = _blocks(insns, functions, targets=targets, also=also)
    by_start = {block.start: block for block in blocks}
    return Flow(
        blocks=blocks,
        functions=functions,
        live=_live(insns, blocks, by_start=by_start),
        set_=_set(insns, blocks, by_start=by_start, functions=functions),
        depth=_depths(insns, functions),
    )


def _functions(insns: Sequence[Insn]) -> tuple[int, ...]:
    found = {0}
    for slot, insn in enumerate(insns):
        is_call = insn.code == CALL and insn.src == PseudoCall.CALL
        if is_call or (insn.code == LD_IMM64 and insn.src == PseudoLoad.FUNC):
            found.add(slot + 1 + insn.imm)
    return tuple(sorted(start for start in found if 0 <= start < len(insns)))


def _blocks(
    insns: Sequence[Insn], functions: Sequence[int], *, targets: set[int], also: Collection[int]
) -> tuple[Block, ...]:
    jumped = set(targets)
    leaders = {*functions, *targets, *also}
    for slot, insn in enumerate(insns):
        if insn.code & 7 in _JUMPS and insn.code != CALL:
            distance = jump_distance(insn)
            if distance is not None:
                jumped.add(slot + 1 + distance)
            leaders.add(slot + 1)
    leaders |= jumped
    starts = sorted(start for start in leaders if 0 <= start < len(insns))
    blocks = []
    for start, end in zip(starts, [*starts[1:], len(insns)], strict=True):
        last = end - 2 if end - 2 >= start and insns[end - 2].code == LD_IMM64 else end - 1
        following, falls = _following(insns, last, end=end, targets=targets)
        blocks.append(Block(start, end, last, following, falls, start in jumped))
    return tuple(blocks)


def _following(insns: Sequence[Insn], last: int, *, end: int, targets: set[int]) -> tuple[tuple[int, ...], int]:
    insn = insns[last]
    if insn.code == EXIT:
        return (), -1
    if insn.code == _COMPUTED_GOTO:
        return tuple(sorted(targets)), -1
    falls = end if end < len(insns) else -1
    after = (falls,) if falls >= 0 else ()
    distance = jump_distance(insn) if insn.code & 7 in _JUMPS and insn.code != CALL else None
    if distance is None:
        return after, falls
    target = last + 1 + distance
    return ((target,), -1) if insn.code in _GOTOS else ((*after, target), falls)


def registers_of(insn: Insn) -> tuple[int, int]:
    """Registers that it reads and that it writes, as bits."""
    kind, dst, src = insn.code & 7, 1 << insn.dst, 1 << insn.src
    if insn.code == LD_IMM64:
        return 0, dst
    if kind == InsnClass.LDX:
        return src, dst
    if kind == InsnClass.ST:
        return dst, 0
    if kind == InsnClass.STX:
        return _store_uses(insn, dst=dst, src=src)
    if kind in (InsnClass.ALU, InsnClass.ALU64):
        return _alu_uses(insn, dst=dst, src=src)
    if kind == InsnClass.LD:
        return (1 << 6 | (src if insn.code & 0xE0 == _LEGACY[1] else 0), _CLOBBERED)
    return _jump_uses(insn, dst=dst, src=src)


def _store_uses(insn: Insn, *, dst: int, src: int) -> tuple[int, int]:
    if insn.code & 0xE0 != _ATOMIC:
        return dst | src, 0
    if insn.imm == _LOAD_ACQUIRE:
        return src, dst
    if insn.imm == _CMPXCHG:
        return dst | src | 1, 1
    return dst | src, src if insn.imm & _FETCH else 0


def _alu_uses(insn: Insn, *, dst: int, src: int) -> tuple[int, int]:
    operation = insn.code & 0xF0
    if operation in (_END, _NEG):
        return dst, dst
    reads = src if insn.code & 8 else 0
    return (reads if operation == _MOV else reads | dst), dst


def _jump_uses(insn: Insn, *, dst: int, src: int) -> tuple[int, int]:
    if insn.code & 0xF0 == CALL & 0xF0:
        return _ARGUMENTS | (dst if insn.code & 8 else 0), _CLOBBERED
    if insn.code == EXIT:
        return 1, 0
    if insn.code in _GOTOS or insn.code == _MAY_GOTO:
        return 0, 0
    return dst | (src if insn.code & 8 else 0), 0


def _live(insns: Sequence[Insn], blocks: Sequence[Block], *, by_start: Mapping[int, Block]) -> list[int]:
    uses = [registers_of(insn) for insn in insns]
    live = [0] * (len(insns) + 1)
    changed = True
    while changed:
        changed = False
        for block in reversed(blocks):
            out = 0
            for start in block.following:
                out |= live[start] if start in by_start else 0
            before = live[block.start]
            slot = block.last
            while slot >= block.start:
                if insns[slot].code or slot == block.start or insns[slot - 1].code != LD_IMM64:
                    reads, writes = uses[slot]
                    out = out & ~writes | reads
                live[slot] = out
                slot -= 1
            changed |= out != before
    return live


def _set(
    insns: Sequence[Insn], blocks: Sequence[Block], *, by_start: Mapping[int, Block], functions: Sequence[int]
) -> list[int]:
    """Forwards: what was written on every way. A function knows nothing of its arguments, and after a call only r0 and
    r6 to r9 hold something. The main program gets its context in r1."""
    everything = (1 << 11) - 1
    came = dict.fromkeys(by_start, everything)
    for start in functions:
        came[start] = 1 << FRAME | (2 if start == 0 else 0)
    known = [0] * len(insns)
    changed = True
    while changed:
        changed = False
        for block in blocks:
            now = came[block.start]
            for slot in range(block.start, block.end):
                known[slot] = now
                if insns[slot].code:
                    writes = registers_of(insns[slot])[1]
                    now = now & ~_ARGUMENTS | 1 if writes == _CLOBBERED else now | writes
            for start in block.following:
                if start in came and came[start] & now != came[start]:
                    came[start] &= now
                    changed = True
    return known


def _depths(insns: Sequence[Insn], functions: Sequence[int]) -> dict[int, int]:
    """An offset that is surely below all that a function uses of its stack: constants subtracted from any register,
    and the offsets of accesses through one, count as if they were of the frame pointer."""
    ends = [*functions[1:], len(insns)]
    return {start: _depth(insns[start:end]) for start, end in zip(functions, ends, strict=True)}


def _depth(insns: Sequence[Insn]) -> int:
    direct = least = further = 0
    for insn in insns:
        kind = insn.code & 7
        if insn.code == 0x07:
            least = min(least, insn.imm if insn.imm >= -512 else 0)
        elif insn.code == 0x17:
            least = min(least, -insn.imm if insn.imm <= 512 else 0)
        elif kind in (InsnClass.LDX, InsnClass.ST, InsnClass.STX):
            base = insn.src if kind == InsnClass.LDX else insn.dst
            if base == FRAME:
                direct = min(direct, insn.off)
            elif insn.off >= -512:
                further = min(further, insn.off)
    return min(direct, least + further) & ~7
