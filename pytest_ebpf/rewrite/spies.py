"""Records of calls: before a call its arguments go to an array map, behind it what it returned.

The map's value begins with the number of calls so far, which those past the last record count, too. A record is
``RECORD`` bytes: a u64 each for the site's number + 1, the five arguments, the return value, whether it returned, and
room for what two arguments point to.
"""

from __future__ import annotations

from collections.abc import Mapping

from pytest_ebpf.agent.ops import Obj
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.rewrite import asm
from pytest_ebpf.rewrite.edit import Edit
from pytest_ebpf.rewrite.flow import Flow
from pytest_ebpf.rewrite.scratch import find_scratch, stack_slot
from pytest_ebpf.rewrite.sites import CallSite

__all__ = ["HEAD", "MEMORY", "RECORD", "RECORDS", "RecordedSite", "record_edit"]

HEAD = 16  # bytes before the first record: the number of calls, and nothing
RECORDS = 1024
SITE, ARGUMENTS, RETVAL, RETURNED, POINTED = 0, 8, 48, 56, 64
MEMORY = 64  # bytes kept of what an argument points to
RECORD = POINTED + 2 * MEMORY


@dataclass(frozen=True, slots=True)
class RecordedSite:
    """``number`` names the site in records. ``registers``: those of r1 to r5 that hold something. ``pointed``: register
    -> bytes to keep of what it points to, at most two, each at most ``MEMORY``."""

    site: CallSite
    number: int
    registers: tuple[int, ...]
    pointed: Mapping[int, int]


def record_edit(recorded: RecordedSite, *, target: Obj, flow: Flow, atomic: bool) -> Edit:
    """The place of the record is kept on the stack across the call, because calls of functions record in between.
    ``atomic``: programs on several processors take no place twice, and none overwrites another's record."""
    slot = recorded.site.slot
    place = stack_slot(flow, slot, number=0)
    scratch = find_scratch(flow, slot, count=1, avoid=(0, *recorded.registers), first_stack=1)
    (other,) = scratch.registers
    take = (asm.fetch_add(0, other),) if atomic else _step(other)
    fill: tuple[asm.Item, ...] = (
        asm.store(asm.FRAME, other, off=place),
        asm.mul_imm(other, RECORD),
        asm.add(0, other),
        asm.store_imm(0, 0, off=HEAD + SITE),
        asm.store_imm(0, 0, off=HEAD + RETURNED),
        *scratch.restore,
        *(asm.store(0, r, off=HEAD + ARGUMENTS + 8 * (r - 1)) for r in recorded.registers),
        *_copies(recorded, other=other),
        asm.store_imm(0, recorded.number + 1, off=HEAD + SITE),
    )
    full: tuple[asm.Item, ...] = (asm.mov_imm(other, RECORDS), asm.store(asm.FRAME, other, off=place))
    head: tuple[asm.Item, ...] = (
        *scratch.save,
        asm.MapLoad(0, target),
        asm.mov_imm(other, 1),
        *take,
        asm.if_ge(other, RECORDS, skip=asm.size_of(fill, kept=1) + 1),
        *fill,
        asm.goto(len(full)),
        *full,
        *scratch.restore,
    )
    return Edit(head=head, after=_returned(recorded.site, place=place, target=target))


def _step(other: int) -> tuple[asm.Item, ...]:
    """As ``fetch_add`` of 1, for kernels that have no such instruction."""
    return (asm.load(other, 0), asm.add_imm(other, 1), asm.store(0, other), asm.add_imm(other, -1))


def _returned(site: CallSite, *, place: int, target: Obj) -> tuple[asm.Item, ...]:
    gives = site.signature.returns != "void"  # after a call of such a function r0 cannot be read
    kept: tuple[asm.Item, ...] = (asm.store(1, 0, off=HEAD + RETVAL),) if gives else ()
    return (
        asm.load(2, asm.FRAME, off=place),
        asm.if_ge(2, RECORDS, skip=5 + len(kept)),
        asm.MapLoad(1, target),
        asm.mul_imm(2, RECORD),
        asm.add(1, 2),
        *kept,
        asm.store_imm(1, 1, off=HEAD + RETURNED),
    )


def _copies(recorded: RecordedSite, *, other: int) -> tuple[asm.Item, ...]:
    """Byte by byte: the verifier wants whole accesses to the stack aligned."""
    items: list[asm.Item] = []
    for number, (register, size) in enumerate(recorded.pointed.items()):
        for index in range(min(size, MEMORY)):
            items += (
                asm.load(other, register, off=index, size=1),
                asm.store(0, other, off=HEAD + POINTED + number * MEMORY + index, size=1),
            )
    return tuple(items)
