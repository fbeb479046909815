"""A plan as a value: one batch of operations, and the operation that makes each object."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_ebpf.agent.ops import BtfByName, FdAt, MapCreate, Obj, Op, ProgLoad, Ref, Try
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.frozen import dataclass, field, replace
from pytest_ebpf.obj.object import LineInfo, MapDef, ObjectFile, ProgramDef
from pytest_ebpf.plan.data_maps import DataMap
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.kconfig import Kconfig

__all__ = ["OpBatch", "Plan", "PlannedMap", "PlannedProgram", "PlannedStructOps", "ProgramProblem"]


@dataclass(frozen=True, slots=True)
class PlannedMap:
    """``op`` is the index of its MapCreate, or -1 with ``handle`` for a map that existed before. ``frozen``: its
    contents are constants. ``data``: the section whose variables it holds. ``pin``: where it gets pinned, by the
    operation ``pin_op`` (wrapped in Try); "" and -1 when it does not."""

    name: str
    definition: MapDef
    op: int
    handle: Obj
    frozen: bool = False
    data: DataMap | None = None
    pin: str = ""
    pin_op: int = -1


@dataclass(frozen=True, slots=True)
class PlannedProgram:
    """``op`` is the index of its ProgLoad (wrapped in Try). ``notes``: poisoned instruction -> why. ``starts``: (slot,
    function) of each of its functions. ``tables``: (slot of the load of its address, slots it leads to) of each jump
    table."""

    name: str
    definition: ProgramDef
    op: int
    line_info: tuple[LineInfo, ...] = field(default=(), repr=False)
    notes: Mapping[int, str] = field(default_factory=dict)
    starts: tuple[tuple[int, ProgramDef], ...] = field(default=(), repr=False)
    tables: tuple[tuple[int, tuple[int, ...]], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ProgramProblem:
    """A program that is not in the plan, and the error."""

    name: str
    definition: ProgramDef
    error: PlanError | ObjectError


@dataclass(frozen=True, slots=True)
class PlannedStructOps:
    """A table of functions for the kernel. Setting ``value``, with the fds of ``programs`` in it, registers it at
    once, or (``by_link``) when a link is made on the map (``.struct_ops.link``)."""

    name: str
    kernel_type: str
    map: Obj
    value: bytes = field(repr=False)
    programs: tuple[FdAt, ...]
    by_link: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """``ops`` is one batch. ``skipped``: programs that are not loaded unless asked for by name ("?" sections).
    ``btf_op``: index of the BtfLoad, -1 without. ``kconfig``: values of the .kconfig externs. ``lost``: tables of
    struct_ops that this kernel cannot have, and why. ``tables_off``: those that are not loaded, and why.
    ``arena_start``: where its variables begin in an arena, in bytes."""

    obj: ObjectFile = field(repr=False)
    ops: tuple[Op, ...] = field(repr=False)
    maps: tuple[PlannedMap, ...]
    programs: tuple[PlannedProgram, ...]
    problems: tuple[ProgramProblem, ...] = ()
    skipped: tuple[str, ...] = ()
    btf_op: int = -1
    kconfig: Kconfig | None = None
    struct_ops: tuple[PlannedStructOps, ...] = ()
    lost: Mapping[str, PlanError | ObjectError] = field(default_factory=dict)
    tables_off: Mapping[str, str] = field(default_factory=dict)
    arena_start: int = 0


class OpBatch:
    """A growing batch; later operations refer to earlier ones by index. ``site``: the line of test code. Objects have
    no names if the kernel supports none."""

    def __init__(self, facts: Facts, *, site: str) -> None:
        self.ops: list[Op] = []
        self.site = site
        self._named = facts.names
        self._modules: dict[str, Ref] = {}

    def add(self, op: Op) -> Ref:
        """Append an operation. The result refers to the object that it makes."""
        self.ops.append(op if self._named else _nameless(op))
        return Ref(len(self.ops) - 1)

    def module(self, name: str) -> Obj:
        """The BTF object of a kernel module, opened once."""
        found = self._modules.get(name)
        if found is None:
            found = self._modules[name] = self.add(BtfByName(name, site=self.site))
        return found


def _nameless(op: Op) -> Op:
    if isinstance(op, Try):
        return Try(_nameless(op.op))
    return replace(op, name="") if isinstance(op, MapCreate | ProgLoad) else op
