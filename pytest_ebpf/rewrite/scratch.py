"""Registers and stack that inserted code may use at an instruction."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.rewrite.asm import FRAME, Item, load, store
from pytest_ebpf.rewrite.edit import RewriteError
from pytest_ebpf.rewrite.flow import Flow

__all__ = ["STACK", "Scratch", "find_scratch", "stack_slot"]

STACK = 512  # MAX_BPF_STACK


@dataclass(frozen=True, slots=True)
class Scratch:
    """``registers`` are free between ``save`` and ``restore``."""

    registers: tuple[int, ...]
    save: tuple[Item, ...]
    restore: tuple[Item, ...]


def stack_slot(flow: Flow, slot: int, *, number: int) -> int:
    """The offset of a slot of 8 bytes that the function around ``slot`` does not use, ``number`` 0, 1, ... RewriteError
    when its stack is full."""
    offset = flow.depth[flow.function_at(slot)] - 8 * (number + 1)
    if offset < -STACK:
        raise RewriteError("its stack is full")
    return offset


def find_scratch(flow: Flow, slot: int, *, count: int, avoid: Sequence[int] = (), first_stack: int = 0) -> Scratch:
    """``count`` registers before the instruction at ``slot``: those whose value nobody reads, else some that are kept
    on the stack meanwhile, from stack slot ``first_stack`` on. RewriteError when there are none."""
    live, known = flow.live[slot], flow.set_[slot]
    dead = [register for register in range(10) if not live >> register & 1 and register not in avoid][:count]
    spare = [r for r in range(9, -1, -1) if live >> r & 1 and known >> r & 1 and r not in avoid]
    saved = spare[: count - len(dead)]
    if len(dead) + len(saved) < count:
        raise RewriteError(f"no register is free at instruction {slot}")
    places = [stack_slot(flow, slot, number=first_stack + number) for number in range(len(saved))]
    return Scratch(
        registers=(*dead, *saved),
        save=tuple(store(FRAME, register, off=place) for register, place in zip(saved, places, strict=True)),
        restore=tuple(load(register, FRAME, off=place) for register, place in zip(saved, places, strict=True)),
    )
