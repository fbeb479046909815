"""One batch of operations that loads an object: types, maps, their first contents, programs, program arrays.

A program that cannot be loaded becomes a problem of the plan or a rejection among the results; it never stops the
others. All programs share the maps, so a map that this kernel refuses stops the batch.
"""

from __future__ import annotations

from collections.abc import Collection

from pytest_ebpf.agent.ops import BtfLoad, FdAt, MapSet, ProgLoad, Ref, Try
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.object import ObjectFile, Problem, ProgramDef
from pytest_ebpf.plan.attach import Attachment, plan_attachment
from pytest_ebpf.plan.context_args import ContextArgs, plan_context_args
from pytest_ebpf.plan.data_maps import arena_of, arena_start, section_layouts
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.kconfig import KCONFIG, Kconfig, plan_kconfig
from pytest_ebpf.plan.link import Linked
from pytest_ebpf.plan.map_definitions import create_op, kernel_name, nearest
from pytest_ebpf.plan.map_ops import MapPlanner, create_jump_tables
from pytest_ebpf.plan.options import LoadOptions
from pytest_ebpf.plan.planned import OpBatch, Plan, PlannedMap, PlannedProgram, PlannedStructOps, ProgramProblem
from pytest_ebpf.plan.program_overrides import override_programs
from pytest_ebpf.plan.programs import FUNC_INFO_SIZE, LINE_INFO_SIZE, Preparer, digest, pack_records, patches
from pytest_ebpf.plan.sanitise import sanitise_btf
from pytest_ebpf.plan.struct_ops import plan_struct_ops
from pytest_ebpf.plan.struct_ops_options import load_table_programs, switched_off
from pytest_ebpf.uapi.enums import ProgType
from pytest_ebpf.uapi.flags import ProgFlag

__all__ = ["LoadOptions", "Plan", "PlannedMap", "PlannedProgram", "PlannedStructOps", "ProgramProblem", "plan_load"]


def plan_load(obj: ObjectFile, facts: Facts, *, options: LoadOptions | None = None) -> Plan:
    """The plan for loading ``obj`` into the kernel of ``facts``.

    Raises ObjectError when ``options`` name something that the object lacks, or a value does not fit; PlanError when
    nothing of the object can run there.
    """
    options = options or LoadOptions()
    _check_byteorder(obj, facts)
    _check_kconfig(obj, options)
    obj = load_table_programs(override_programs(obj, options.programs), options)
    wanted, skipped = _wanted(obj, options.only)
    builder = _Builder(obj, facts, options=options, wanted=wanted)
    builder.load_btf()
    builder.create_maps()
    builder.load_programs(wanted)
    struct_ops = builder.fill_slots()
    return Plan(
        obj=obj,
        ops=tuple(builder.batch.ops),
        maps=tuple(planned for name, planned in builder.maps.items() if name == planned.definition.name),
        programs=tuple(builder.programs),
        problems=tuple(builder.problems),
        skipped=skipped,
        btf_op=builder.btf.index if isinstance(builder.btf, Ref) else -1,
        kconfig=builder.kconfig,
        struct_ops=struct_ops,
        lost=builder.struct_ops.lost,
        tables_off=switched_off(obj, options),
        arena_start=builder.arena_start,
    )


def _check_kconfig(obj: ObjectFile, options: LoadOptions) -> None:
    names = [extern.name for extern in obj.externs if extern.kind == "kconfig"]
    for name in options.kconfig:
        if name not in names:
            raise ObjectError(f"no __kconfig variable {name!r} to set", path=obj.name, hint=nearest(name, names))


def _check_byteorder(obj: ObjectFile, facts: Facts) -> None:
    if obj.byteorder != facts.described.byteorder:
        raise PlanError(
            f"{obj.name}: object is {obj.byteorder} endian, this kernel ({facts.described.machine}) is "
            f"{facts.described.byteorder} endian",
            hint=_build_hint(obj.name, facts.described.byteorder),
        )


def _build_hint(name: str, byteorder: str) -> str:
    if byteorder == "little":
        return "compile it with -target bpfel"
    stem = name.rpartition("/")[2].removesuffix(".o").removesuffix(".bpf")
    return f"compile it with -target bpfeb, as {stem}.bpfeb.o beside it: big-endian kernels are given that one"


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

    def __init__(self, obj: ObjectFile, facts: Facts, *, options: LoadOptions, wanted: Collection[ProgramDef]) -> None:
        self.obj = obj
        self.facts = facts
        self.options = options
        self.batch = OpBatch(facts, site=options.site)
        self.btf: Ref | None = None
        self.wanted = wanted
        self.contexts = ContextArgs()
        self.maps: dict[str, PlannedMap] = {}
        self.programs: list[PlannedProgram] = []
        self.problems: list[ProgramProblem] = []
        self.unknown = {problem.section: problem for problem in reversed(obj.problems)}
        self.targets = {**options.targets, **{n: o.program for n, o in options.programs.items() if o.program}}
        self.kconfig = plan_kconfig(obj, facts, values={**options.globals, **options.kconfig})
        self.struct_ops = plan_struct_ops(obj, facts, options=options, wanted=[program.name for program in wanted])
        self.arena_start = arena_start(obj, facts, overrides=options.maps)
        arena = arena_of(obj)
        self.preparer = Preparer(
            obj,
            facts,
            kconfig=self.kconfig,
            maps=_map_names(obj, facts, kconfig=self.kconfig),
            starts={arena.name: self.arena_start} if arena is not None else {},
        )

    def load_btf(self) -> None:
        if self.obj.btf is None or not self.options.btf or "btf" not in self.facts.btf_features:
            return
        layouts = section_layouts(self.obj)
        if self.kconfig and self.kconfig.btf_id:
            layouts[self.kconfig.btf_id] = self.kconfig.layout
        if not self.facts.data.get("arg_ctx", True):
            types = (program.spec.prog_type for program in self.wanted if program.spec is not None)
            self.contexts = plan_context_args(self.obj.btf, types)
        features = self.facts.btf_features
        data = sanitise_btf(self.obj, features=features, layouts=layouts, append=self.contexts.types)
        self.btf = self.batch.add(BtfLoad(data, site=self.options.site))

    def create_maps(self) -> None:
        planner = MapPlanner(self.obj, self.facts, options=self.options, batch=self.batch, digest=self._digest)
        self.maps = planner.plan(btf=self.btf, kconfig=self.kconfig)
        for table in self.struct_ops.tables:
            kernel_btf = self.batch.module(table.module) if table.module else None
            op = create_op(table.definition, btf=None, site=self.options.site)
            # the kernel requires BTF of the object, though it uses no type of it
            op = replace(op, btf=self.btf, kernel_value=table.value_type, kernel_btf=kernel_btf)
            ref = self.batch.add(op)
            self.maps[table.name] = PlannedMap(table.name, table.definition, ref.index, ref)

    def _digest(self, name: str) -> bytes:
        for program in self.obj.programs:
            if program.name == name:
                return digest(self.preparer.link(program), byteorder=self.obj.byteorder)
        names = [program.name for program in self.obj.programs]
        raise ObjectError(f"no program {name!r} to be the only one", path=self.obj.name, hint=nearest(name, names))

    def load_programs(self, wanted: list[ProgramDef]) -> None:
        for program in wanted:
            try:
                self._program(program)
            except (PlanError, ObjectError) as error:
                self.problems.append(ProgramProblem(program.name, program, error))

    def _program(self, program: ProgramDef) -> None:
        if program.spec is None:
            raise _unknown_section(self.obj, program, problem=self.unknown.get(program.section))
        attachment = self._attachment(program)
        linked = self.contexts.applied(self.preparer.link(program), program.spec.prog_type)
        _check_callbacks(program, linked, facts=self.facts)
        jumps = create_jump_tables(linked.jump_tables, batch=self.batch, byteorder=self.obj.byteorder)
        handles = {**{name: planned.handle for name, planned in self.maps.items()}, **jumps}
        records = pack_records(linked, byteorder=self.obj.byteorder)
        typed = self.btf is not None and bool(linked.func_info) and "func" in self.facts.btf_features
        lines = typed and bool(linked.line_info)
        module, modules = self.batch.module, [self.batch.module(name) for name in self.preparer.modules]
        ref = self.batch.add(
            Try(
                ProgLoad(
                    type=program.spec.prog_type,
                    insns=records.insns,
                    license=self.options.license or self.obj.license,
                    name=kernel_name(program.name),
                    expected_attach_type=attachment.attach_type,
                    flags=attachment.flags,
                    log_level=self.options.log_level,
                    patches=patches(linked, handles, module=module),
                    btf=self.btf if typed else None,
                    func_info=records.func_info if typed else b"",
                    func_info_rec_size=FUNC_INFO_SIZE if typed else 0,
                    line_info=records.line_info if lines else b"",
                    line_info_rec_size=LINE_INFO_SIZE if lines else 0,
                    attach_btf_id=attachment.btf_id,
                    attach_prog=attachment.prog,
                    attach_btf_obj=module(attachment.module) if attachment.module else None,
                    fd_array=(modules[0], *modules) if modules else (),  # calls of vmlinux have index 0
                    device=attachment.device.interface,
                    netns=attachment.device.netns,
                    site=self.options.site,
                )
            )
        )
        self.programs.append(_planned(program, ref.index, linked=linked))

    def _attachment(self, program: ProgramDef) -> Attachment:
        assert program.spec is not None
        if program.spec.prog_type != ProgType.STRUCT_OPS:
            attachment = plan_attachment(program, self.facts, targets=self.targets)
            override = self.options.programs.get(program.name)
            if override is None or override.device is None:
                return attachment
            return replace(attachment, flags=attachment.flags | ProgFlag.XDP_DEV_BOUND_ONLY, device=override.device)
        slot = self.struct_ops.slots.get(program.name)
        if slot is not None:
            flags = ProgFlag.SLEEPABLE if program.spec.sleepable else 0
            return Attachment(slot.member, flags, slot.type_id, module=slot.module)
        raise self.struct_ops.errors.get(program.name) or PlanError(
            f"{program.name}: no struct in .struct_ops or .struct_ops.link has it as a member"
        )

    def fill_slots(self) -> tuple[PlannedStructOps, ...]:
        """Set the slots that the object initialises: the other maps exist now, and so do the programs that were not
        refused."""
        programs = {planned.name: Ref(planned.op) for planned in self.programs}
        for planned in self.maps.values():
            if planned.op < 0 or planned.name != planned.definition.name:
                continue
            for slot in planned.definition.values:
                key = slot.index.to_bytes(4, "little" if self.obj.byteorder == "little" else "big")
                if slot.kind == "map" and slot.symbol in self.maps:
                    self.batch.add(MapSet(planned.handle, key, self.maps[slot.symbol].handle))
                elif slot.kind == "func" and slot.symbol in programs:
                    self.batch.add(Try(MapSet(planned.handle, key, programs[slot.symbol])))
        return tuple(
            PlannedStructOps(
                name=table.name,
                kernel_type=table.kernel_type,
                map=self.maps[table.name].handle,
                value=table.value,
                programs=tuple(FdAt(at, programs[name]) for at, name in table.programs if name in programs),
                by_link=table.by_link,
            )
            for table in self.struct_ops.tables
        )


def _planned(program: ProgramDef, op: int, *, linked: Linked) -> PlannedProgram:
    return PlannedProgram(
        program.name,
        program,
        op,
        line_info=linked.line_info,
        notes=linked.notes,
        starts=linked.starts,
        tables=linked.table_slots,
    )


def _map_names(obj: ObjectFile, facts: Facts, *, kconfig: Kconfig | None) -> frozenset[str]:
    """The names that programs can use as a map."""
    names = {definition.name for definition in obj.maps}
    if facts.global_data:
        names |= {section.name for section in obj.data if section.kind != "struct_ops"}
        names |= {KCONFIG} if kconfig else set()
    return frozenset(names)


def _check_callbacks(program: ProgramDef, linked: Linked, *, facts: Facts) -> None:
    """PlanError for a callback on a kernel without them, whose own message would be about func_info or reserved
    fields."""
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
                    hint='Callbacks came with Linux 5.13: mark the test @pytest.mark.bpf_feature("callbacks").',
                )


def _unknown_section(obj: ObjectFile, program: ProgramDef, *, problem: Problem | None) -> ObjectError:
    if problem:
        return ObjectError(problem.message, path=obj.name, section=program.section, hint=problem.hint)
    return ObjectError(f"no program type is known for {program.name!r}", path=obj.name, section=program.section)
