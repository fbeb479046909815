"""What stands in for a call: a constant, or instructions that take the value from an array map.

As a call does, they set r0 and leave r6 to r9 alone; r1 to r5 are free, since no program reads them after a call.
"""

from __future__ import annotations

from pytest_ebpf.agent.ops import Obj
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.rewrite.asm import (
    KEPT,
    Item,
    MapLoad,
    add,
    add_imm,
    div_imm,
    goto,
    if_eq,
    if_ge,
    imm64,
    load,
    mov,
    mov_imm,
    mul,
    shift_left,
    shift_right,
    store,
    store_imm,
)
from pytest_ebpf.rewrite.edit import Edit
from pytest_ebpf.rewrite.sites import CallSite

__all__ = ["Cell", "Constant", "Double", "Random", "Sequence", "double_edit"]

_MULTIPLIER, _INCREMENT = 6364136223846793005, 1442695040888963407  # Knuth's MMIX generator
INDEX, OVERRUN, FIRST = 0, 8, 16  # of a sequence: where the next value's number, the calls too many, the values are


@dataclass(frozen=True, slots=True)
class Constant:
    """A number that the verifier knows; 0 is NULL for what returns a pointer."""

    value: int


@dataclass(frozen=True, slots=True)
class Cell:
    """The u64 at ``offset`` of the map's value, which can change between runs, divided by ``divisor``."""

    offset: int
    divisor: int = 1


@dataclass(frozen=True, slots=True)
class Sequence:
    """``count`` values, one for each call: a u64 with the number of the next, one that counts the calls after the last,
    and the values. After the last it begins anew (``repeat``), or the last one stays and the call is counted."""

    offset: int
    count: int
    repeat: bool


@dataclass(frozen=True, slots=True)
class Random:
    """Numbers of 32 bits from a generator whose state is the u64 at ``offset``."""

    offset: int


Double = Constant | Cell | Sequence | Random


def double_edit(site: CallSite, double: Double, *, target: Obj) -> Edit:
    """``target``: the array map. A function that nothing calls any more would be unreachable code, which kernels
    refuse; so its call stays, behind a branch that the verifier knows not to be taken."""
    value = _value(double, target=target)
    kept: tuple[Item, ...] = (mov_imm(0, 0), if_eq(0, 0, skip=1), KEPT) if site.kind == "function" else ()
    return Edit(instead=(*kept, *value))


def _value(double: Double, *, target: Obj) -> tuple[Item, ...]:
    if isinstance(double, Constant):
        return (mov_imm(0, 0),) if double.value == 0 else imm64(0, double.value)
    cell = MapLoad(1, target, double.offset)
    if isinstance(double, Cell):
        return (cell, load(0, 1), *((div_imm(0, double.divisor),) if double.divisor != 1 else ()))
    if isinstance(double, Random):
        step = (load(0, 1), *imm64(2, _MULTIPLIER), mul(0, 2), *imm64(2, _INCREMENT), add(0, 2), store(1, 0))
        return (cell, *step, shift_right(0, 32))
    last = double.count - 1
    if double.repeat:
        past: tuple[Item, ...] = (mov_imm(0, 0), store_imm(1, 0, off=INDEX))
    else:
        past = (load(0, 1, off=OVERRUN), add_imm(0, 1), store(1, 0, off=OVERRUN), load(0, 1, off=FIRST + 8 * last))
    take: tuple[Item, ...] = (
        mov(2, 0),
        add_imm(2, 1),
        store(1, 2, off=INDEX),
        shift_left(0, 3),
        add(1, 0),
        load(0, 1, off=FIRST),
    )
    if double.repeat:  # the number is 0 now, and taken as any other
        return (cell, load(0, 1, off=INDEX), if_ge(0, double.count, skip=1), goto(len(past)), *past, *take)
    return (
        cell,
        load(0, 1, off=INDEX),
        if_ge(0, double.count, skip=len(take) + 1),
        *take,
        goto(len(past)),
        *past,
    )
