"""One batch of operations that loads an object: types, maps, their first contents, programs, program arrays.

A program that cannot be loaded here is a problem on the plan, or a rejection among the results; it never stops the
others. Maps are shared by all programs, so a map that this kernel refuses stops the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_ebpf.agent.ops import BtfLoad, MapCreate, MapFreeze, MapSet, Obj, Op, ProgLoad, Ref, Try
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.obj.object import LineInfo, MapDef, ObjectFile, Problem, ProgramDef
from pytest_ebpf.plan.attach import ExtTarget, plan_attachment
from pytest_ebpf.plan.data_maps import DataMap, plan_data, section_layouts
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.kconfig import KCONFIG, Kconfig, plan_kconfig
from pytest_ebpf.plan.link import Linked
from pytest_ebpf.plan.maps import MapOverride, adjust_map, apply_overrides, create_op, kernel_name, nearest
from pytest_ebpf.plan.programs import FUNC_INFO_SIZE, LINE_INFO_SIZE, Preparer, pack_records, patches
from pytest_ebpf.plan.sanitise import sanitise_btf

__all__ = ["LoadOptions", "Plan", "PlannedMap", "PlannedProgram", "ProgramProblem", "plan_load"]

_RDONLY_PROG = 1 << 7
_ARRAY = 2
_EXTRA_STATS = 4
_STRUCT_OPS = 27


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a test asks of a load.

    ``globals``: variable -> value. ``maps``: map -> max_entries, fields, or a map to use instead. ``only``: names of
    the programs to load; empty: all but those whose section begins with "?". ``log_level``: of the verifier.
    ``targets``: program -> the program it extends. ``btf`` off loads the object without its types. ``site``: the line
    of test code, for leak reports.
    """

    globals: Mapping[str, Any] = field(default_factory=dict)
    maps: Mapping[str, MapOverride] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    log_level: int = _EXTRA_STATS
    targets: Mapping[str, ExtTarget] = field(default_factory=dict)
    btf: bool = True
    site: str = ""


@dataclass(frozen=True, slots=True)
class PlannedMap:
    """``op`` is the index of its MapCreate, or -1 with ``handle`` for a map that existed before. ``frozen``: its
    contents are constants. ``data``: the section whose variables it holds."""

    name: str
    definition: MapDef
    op: int
    handle: Obj
    frozen: bool = False
    data: DataMap | None = None


@dataclass(frozen=True, slots=True)
class PlannedProgram:
    """``op`` is the index of its ProgLoad (wrapped in Try). ``notes``: poisoned instructions, in words."""

    name: str
    definition: ProgramDef
    op: int
    line_info: tuple[LineInfo, ...] = field(default=(), repr=False)
    notes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProgramProblem:
    """A program that is not in the plan, and why."""

    name: str
    definition: ProgramDef
    error: PlanError | ObjectError


@dataclass(frozen=True, slots=True)
class Plan:
    """``ops`` is one batch. ``skipped``: programs that are not loaded unless asked for by name ("?" sections).
    ``btf_op``: index of the BtfLoad, -1 without. ``kconfig``: values of the .kconfig externs."""

    obj: ObjectFile = field(repr=False)
    ops: tuple[Op, ...] = field(repr=False)
    maps: tuple[PlannedMap, ...]
    programs: tuple[PlannedProgram, ...]
    problems: tuple[ProgramProblem, ...] = ()
    skipped: tuple[str, ...] = ()
    btf_op: int = -1
    kconfig: Kconfig | None = None


def plan_load(obj: ObjectFile, facts: Facts, *, options: LoadOptions | None = None) -> Plan:
    """The plan for loading ``obj`` into the kernel of ``facts``.

    Raises ObjectError when ``options`` name what the object does not have, or a value does not fit; PlanError when
    nothing of the object can run there.
    """
    options = options or LoadOptions()
    _check_byteorder(obj, facts)
    wanted, skipped = _wanted(obj, options.only)
    builder = _Builder(obj, facts, options=options)
    builder.load_btf()
    builder.create_maps()
    builder.load_programs(wanted)
    builder.fill_slots()
    return Plan(
        obj=obj,
        ops=tuple(builder.ops),
        maps=tuple(builder.maps.values()),
        programs=tuple(builder.programs),
        problems=tuple(builder.problems),
        skipped=skipped,
        btf_op=builder.btf.index if isinstance(builder.btf, Ref) else -1,
        kconfig=builder.kconfig,
    )


def _check_byteorder(obj: ObjectFile, facts: Facts) -> None:
    if obj.byteorder != facts.described.byteorder:
        raise PlanError(
            f"{obj.name} is for {obj.byteorder}-endian machines, this one ({facts.described.machine}) is "
            f"{facts.described.byteorder}-endian",
            hint=f"compile it with -target {'bpfel' if facts.described.byteorder == 'little' else 'bpfeb'}",
        )


def _wanted(obj: ObjectFile, only: tuple[str, ...]) -> tuple[list[ProgramDef], tuple[str, ...]]:
    names = [program.name for program in obj.programs]
    for name in only:
        if name not in names:
            raise ObjectError(f"no program {name!r}", path=obj.name, hint=nearest(name, names))
    if only:
        return [p for p in obj.programs if p.name in only], tuple(n for n in names if n not in only)
    off = tuple(p.name for p in obj.programs if p.spec is not None and not p.spec.autoload)
    without = frozenset(off)
    return [p for p in obj.programs if p.name not in without], off


class _Builder:
    """Appends operations; each step needs the handles of those before."""

    def __init__(self, obj: ObjectFile, facts: Facts, *, options: LoadOptions) -> None:
        self.obj = obj
        self.facts = facts
        self.options = options
        self.ops: list[Op] = []
        self.btf: Ref | None = None
        self.maps: dict[str, PlannedMap] = {}
        self.programs: list[PlannedProgram] = []
        self.problems: list[ProgramProblem] = []
        self.unknown = {problem.section: problem for problem in reversed(obj.problems)}
        self.kconfig = plan_kconfig(obj, facts, values=options.globals)

    def add(self, op: Op) -> Ref:
        self.ops.append(op)
        return Ref(len(self.ops) - 1)

    def load_btf(self) -> None:
        if self.obj.btf is None or not self.options.btf or "btf" not in self.facts.btf_features:
            return
        layouts = section_layouts(self.obj)
        if self.kconfig and self.kconfig.btf_id:
            layouts[self.kconfig.btf_id] = self.kconfig.layout
        data = sanitise_btf(self.obj, features=self.facts.btf_features, layouts=layouts)
        self.btf = self.add(BtfLoad(data, site=self.options.site))

    def create_maps(self) -> None:
        for data in plan_data(self.obj, self.facts, values=self.options.globals):
            self._data_map(data)
        if self.kconfig:
            self._kconfig_map(self.kconfig)
        overridden = apply_overrides(self.obj, self.options.maps)
        for definition in overridden.maps:
            handle = overridden.reused.get(definition.name)
            if handle is not None:
                self.maps[definition.name] = PlannedMap(definition.name, definition, -1, handle)
            else:
                self._map(adjust_map(definition, self.facts))

    def _map(self, definition: MapDef) -> None:
        inner = None
        if definition.inner is not None:
            template = adjust_map(definition.inner, self.facts)
            inner = self.add(create_op(template, btf=self.btf, site=self.options.site))
        ref = self.add(create_op(definition, btf=self.btf, inner=inner, site=self.options.site))
        self.maps[definition.name] = PlannedMap(definition.name, definition, ref.index, ref)

    def _data_map(self, data: DataMap) -> None:
        typed = self.btf if "datasec" in self.facts.btf_features else None
        op = create_op(data.definition, btf=typed, site=self.options.site)
        ref = self._filled(op, name=data.kernel_name, contents=data.contents, frozen=data.frozen)
        name = data.definition.name
        self.maps[name] = PlannedMap(name, data.definition, ref.index, ref, frozen=data.frozen, data=data)

    def _kconfig_map(self, kconfig: Kconfig) -> None:
        size = len(kconfig.contents)
        definition = MapDef(KCONFIG, _ARRAY, 4, size, 1, flags=_RDONLY_PROG, value_type=kconfig.btf_id, section=KCONFIG)
        op = create_op(definition, btf=self.btf, site=self.options.site)
        ref = self._filled(op, name=kernel_name(KCONFIG), contents=kconfig.contents, frozen=True)
        self.maps[KCONFIG] = PlannedMap(KCONFIG, definition, ref.index, ref, frozen=True)

    def _filled(self, op: MapCreate, *, name: str, contents: bytes, frozen: bool) -> Ref:
        ref = self.add(replace(op, name=name))
        if contents.count(0) < len(contents):
            self.add(MapSet(ref, bytes(4), contents))
        if frozen:
            self.add(Try(MapFreeze(ref)))  # 5.2; without it the verifier only knows less
        return ref

    def load_programs(self, wanted: list[ProgramDef]) -> None:
        preparer = Preparer(self.obj, self.facts, kconfig=self.kconfig, maps=frozenset(self.maps))
        for program in wanted:
            try:
                self._program(program, preparer)
            except (PlanError, ObjectError) as error:
                self.problems.append(ProgramProblem(program.name, program, error))

    def _program(self, program: ProgramDef, preparer: Preparer) -> None:
        if program.spec is None:
            raise _unknown_section(self.obj, program, problem=self.unknown.get(program.section))
        if program.spec.prog_type == _STRUCT_OPS:
            raise PlanError(f"{program.name}: struct_ops programs are loaded by their map, which is not done yet")
        attachment = plan_attachment(program, self.facts, targets=self.options.targets)
        linked = preparer.link(program)
        _check_callbacks(program, linked, facts=self.facts)
        records = pack_records(linked, byteorder=self.obj.byteorder)
        typed = self.btf is not None and bool(linked.func_info) and "func" in self.facts.btf_features
        lines = typed and bool(linked.line_info)
        ref = self.add(
            Try(
                ProgLoad(
                    type=program.spec.prog_type,
                    insns=records.insns,
                    license=self.obj.license,
                    name=kernel_name(program.name),
                    expected_attach_type=attachment.attach_type,
                    flags=attachment.flags,
                    log_level=self.options.log_level,
                    patches=patches(linked, {name: planned.handle for name, planned in self.maps.items()}),
                    btf=self.btf if typed else None,
                    func_info=records.func_info if typed else b"",
                    func_info_rec_size=FUNC_INFO_SIZE if typed else 0,
                    line_info=records.line_info if lines else b"",
                    line_info_rec_size=LINE_INFO_SIZE if lines else 0,
                    attach_btf_id=attachment.btf_id,
                    attach_prog=attachment.prog,
                    kern_version=0,
                    site=self.options.site,
                )
            )
        )
        self.programs.append(
            PlannedProgram(program.name, program, ref.index, line_info=linked.line_info, notes=linked.notes)
        )

    def fill_slots(self) -> None:
        """Slots that the object initialises: other maps now exist, and programs, unless they were refused."""
        programs = {planned.name: Ref(planned.op) for planned in self.programs}
        for planned in self.maps.values():
            if planned.op < 0:
                continue
            for slot in planned.definition.values:
                key = slot.index.to_bytes(4, "little" if self.obj.byteorder == "little" else "big")
                if slot.kind == "map" and slot.symbol in self.maps:
                    self.add(MapSet(planned.handle, key, self.maps[slot.symbol].handle))
                elif slot.kind == "func" and slot.symbol in programs:
                    self.add(Try(MapSet(planned.handle, key, programs[slot.symbol])))


def _check_callbacks(program: ProgramDef, linked: Linked, *, facts: Facts) -> None:
    """The kernel's own words would be about func_info, or about reserved fields."""
    if facts.callbacks:
        return
    for _, function in linked.starts:
        for reloc in function.relocs:
            if reloc.kind == "func":
                raise PlanError(
                    f"{program.name} passes {reloc.symbol or 'a function'} to a helper as a callback, which this "
                    "kernel cannot do",
                    feature="callbacks",
                    since="5.13",
                )


def _unknown_section(obj: ObjectFile, program: ProgramDef, *, problem: Problem | None) -> ObjectError:
    if problem:
        return ObjectError(problem.message, path=obj.name, section=program.section, hint=problem.hint)
    return ObjectError(f"no program type is known for {program.name!r}", path=obj.name, section=program.section)
