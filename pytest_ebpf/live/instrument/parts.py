"""A loaded program as rewriting sees it, and the copy that is loaded of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

from pytest_ebpf.agent.ops import FdPatch, Handle, ProgLoad, ProgLoaded
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.frozen import replace
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.insn import Insn, unpack_insns
from pytest_ebpf.obj.object import LineInfo, ObjectFile, ProgramDef
from pytest_ebpf.plan.map_ops import jump_table_ops
from pytest_ebpf.rewrite.coverage import block_ends
from pytest_ebpf.rewrite.edit import Edit, Rewritten, apply_edits
from pytest_ebpf.rewrite.flow import Flow, find_flow
from pytest_ebpf.rewrite.sites import CallSite, Names, call_sites

__all__ = ["Instrumented", "MadeOf", "Original", "Parts", "with_tables"]


class MadeOf(Protocol):
    """What a program is made of: of ``live.reload.Reload`` or ``plan.planned.PlannedProgram``."""

    @property
    def line_info(self) -> Sequence[LineInfo]: ...
    @property
    def starts(self) -> tuple[tuple[int, ProgramDef], ...]: ...
    @property
    def tables(self) -> tuple[tuple[int, tuple[int, ...]], ...]: ...


class Instrumented(Protocol):
    """A ``Program``, as far as copies are made of it."""

    @property
    def name(self) -> str: ...
    @property
    def original(self) -> Original | None: ...
    @property
    def handle(self) -> Handle: ...
    def use(self, copy: ProgLoaded | None, *, watch: object = None) -> None: ...


class Original(Protocol):
    """How a program was loaded: ``live.reload.Reload``."""

    @property
    def op(self) -> ProgLoad: ...
    @property
    def line_info(self) -> Sequence[LineInfo]: ...
    @property
    def starts(self) -> tuple[tuple[int, ProgramDef], ...]: ...
    @property
    def tables(self) -> tuple[tuple[int, tuple[int, ...]], ...]: ...


class Parts:
    """``op`` loads the program as the object has it. ``aliases``: functions that stand in for others."""

    def __init__(
        self, name: str, op: ProgLoad, *, made_of: MadeOf, obj: ObjectFile, aliases: Mapping[str, str]
    ) -> None:
        self.name = name
        self.op = op
        self.lines = made_of.line_info
        self.starts = made_of.starts
        self.tables = made_of.tables
        self.obj = obj
        self.aliases = aliases

    @cached_property
    def insns(self) -> tuple[Insn, ...]:
        return unpack_insns(self.op.insns, byteorder=self.obj.byteorder)

    @cached_property
    def sites(self) -> tuple[CallSite, ...]:
        externs = {extern.name: extern for extern in self.obj.externs}
        names = Names(HELPERS, self.starts, externs, self.obj.btf, self.aliases)
        return call_sites(self.insns, names, lines=self.lines)

    @cached_property
    def flow(self) -> Flow:
        return find_flow(self.insns, tables=self.tables, also=block_ends(self.sites))

    def rewritten(self, edits: Mapping[int, Edit]) -> Rewritten:
        """RewriteError when it does not fit."""
        return apply_edits(self.op, edits, byteorder=self.obj.byteorder, tables=self.tables)


def with_tables(session: Session, parts: Parts, *, rewritten: Rewritten) -> tuple[ProgLoad, tuple[Handle, ...]]:
    """The op of a copy, with jump tables of its own: the maps of those of the original name its instructions."""
    op = rewritten.op
    made: list[Handle] = []
    for slot, targets in rewritten.tables:
        create, fill = jump_table_ops(targets, byteorder=parts.obj.byteorder)
        handle = session.make(create)
        session.run([replace(one, map=handle) for one in fill])
        made.append(handle)
        op = replace(op, patches=tuple(FdPatch(p.insn, handle) if p.insn == slot else p for p in op.patches))
    return op, tuple(made)
