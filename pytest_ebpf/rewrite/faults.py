"""A call that fails when a test says so: the decision is in an array map, so the test can change it between runs."""

from __future__ import annotations

from pytest_ebpf.agent.ops import Obj
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.rewrite import asm
from pytest_ebpf.rewrite.edit import Edit
from pytest_ebpf.rewrite.flow import Flow
from pytest_ebpf.rewrite.scratch import find_scratch
from pytest_ebpf.rewrite.sites import CallSite

__all__ = ["FAULT_SIZE", "Fault", "fault_edit"]

PASSES, LEFT, FAILED = 0, 8, 16  # u64 each: calls that still pass, failures left, failures so far
FAULT_SIZE = 24
_KEY_REGISTER = 2
_FIRST_STACK = 2  # a record of the same call keeps its place on the stack before (spies.py)


@dataclass(frozen=True, slots=True)
class Fault:
    """``offset``: of its numbers in the map's value. ``retval``: what the failing call returns. ``key``: only calls
    whose second argument points to these bytes. ``cleared``: register of an argument -> bytes that it points to, which
    the call sets to zero when it fails."""

    offset: int
    retval: int
    key: bytes = b""
    cleared: tuple[tuple[int, int], ...] = ()


def fault_edit(
    site: CallSite, fault: Fault, *, target: Obj, flow: Flow, call: tuple[asm.Item, ...] = (asm.KEPT,)
) -> Edit:
    """``call``: what stands at the site when it does not fail."""
    used = range(1, 1 + (len(site.signature.params) or 5))
    scratch = find_scratch(flow, site.slot, count=1, avoid=(0, *used), first_stack=_FIRST_STACK)
    (other,) = scratch.registers
    width = _slots(call)
    fail: tuple[asm.Item, ...] = (
        asm.add_imm(other, -1),
        asm.store(0, other, off=LEFT),
        asm.load(other, 0, off=FAILED),
        asm.add_imm(other, 1),
        asm.store(0, other, off=FAILED),
        *(asm.clear_byte(register, off=at) for register, size in fault.cleared for at in range(size)),
        *scratch.restore,
        *((asm.mov_imm(0, 0),) if fault.retval == 0 else asm.imm64(0, fault.retval)),
        asm.goto(len(scratch.restore) + width),
    )
    # skip when nothing passes any more; else count one down and go to the call behind ``fail``
    count_down: tuple[asm.Item, ...] = (asm.add_imm(other, -1), asm.store(0, other, off=PASSES))
    decide: tuple[asm.Item, ...] = (
        asm.MapLoad(0, target, fault.offset),
        asm.load(other, 0, off=PASSES),
        asm.if_eq(other, 0, skip=len(count_down) + 1),
        *count_down,
        asm.goto(2 + len(fail)),
        asm.load(other, 0, off=LEFT),
        asm.if_eq(other, 0, skip=len(fail)),
    )
    compare = _compare(fault.key, miss=_slots(decide) + len(fail))
    return Edit(instead=(*scratch.save, *compare, *decide, *fail, *scratch.restore, *call))


def _compare(key: bytes, *, miss: int) -> tuple[asm.Item, ...]:
    """Go on when the bytes at r2 are ``key``, else skip ``miss`` slots behind the comparison. Byte by byte: the
    verifier wants whole accesses to the stack aligned."""
    items: list[asm.Item] = []
    for index, byte in enumerate(key):
        left = 2 * (len(key) - index - 1)
        items += (asm.load(0, _KEY_REGISTER, off=index, size=1), asm.if_ne32(0, byte, skip=left + miss))
    return tuple(items)


def _slots(items: tuple[asm.Item, ...]) -> int:
    return sum(2 if isinstance(item, asm.MapLoad) else 1 for item in items)
