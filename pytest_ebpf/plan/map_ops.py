"""The maps of an object as operations: data sections, kconfig, declared maps, their contents and pins."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_ebpf.agent.ops import Handle, MapCreate, MapFreeze, MapSet, MemWrite, Mount, Obj, ObjPin, Ref, Try
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.object import MapDef, ObjectFile
from pytest_ebpf.plan.data_maps import DataMap, arena_of, arena_start, plan_data
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.kconfig import KCONFIG, Kconfig
from pytest_ebpf.plan.map_definitions import adjust_map, apply_overrides, create_op, override_map
from pytest_ebpf.plan.options import LoadOptions
from pytest_ebpf.plan.pins import BPFFS, directories, pin_path
from pytest_ebpf.plan.planned import OpBatch, PlannedMap
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import MapCreateFlag

__all__ = ["MapPlanner", "create_jump_tables", "jump_table_ops"]

_KEY = bytes(4)
_JUMP_TABLE_VALUE = 16  # bytes of struct bpf_insn_array_value: orig_off, xlated_off, jitted_off, padding


class MapPlanner:
    """``plan`` appends to the batch. ``digest``: program name -> its hash, for maps that only it may use."""

    def __init__(
        self, obj: ObjectFile, facts: Facts, *, options: LoadOptions, batch: OpBatch, digest: Callable[[str], bytes]
    ) -> None:
        self.obj = obj
        self.facts = facts
        self.options = options
        self.batch = batch
        self.maps: dict[str, PlannedMap] = {}
        self._digest = digest
        self._overridden = apply_overrides(obj, options.maps)
        self._mounted = False

    def plan(self, *, btf: Ref | None, kconfig: Kconfig | None) -> dict[str, PlannedMap]:
        """Every map by name."""
        for data in plan_data(self.obj, self.facts, values=self.options.globals):
            if self.facts.global_data:
                self._data_map(data, btf=btf)
        if kconfig and self.facts.global_data:
            self._kconfig_map(kconfig, btf=btf)
        for definition in self._overridden.maps:
            if not self._reuse(definition):
                self._map(adjust_map(definition, self.facts), btf=btf)
        self._fill_arena()
        return self.maps

    def _extra(self, name: str, what: str) -> Any:
        return self._overridden.extras.get(name, {}).get(what)

    def _reuse(self, definition: MapDef, *, data: DataMap | None = None) -> bool:
        handle: Handle | None = self._overridden.reused.get(definition.name)
        if handle is None:
            return False
        self.maps[definition.name] = PlannedMap(definition.name, definition, -1, handle, data=data)
        return True

    def _map(self, definition: MapDef, *, btf: Ref | None) -> None:
        inner = None
        if definition.inner is not None:
            template = adjust_map(definition.inner, self.facts)
            inner = self.batch.add(create_op(template, btf=btf, site=self.batch.site))
        name = definition.name
        op = create_op(definition, btf=btf, inner=inner, site=self.batch.site)
        if user := self._extra(name, "exclusive"):
            op = replace(op, exclusive=self._digest(user))
        ref = self.batch.add(op)
        pin, pin_op = self._pin(definition, ref)
        for key, value in self._extra(name, "contents") or ():
            self.batch.add(MapSet(ref, key, value))
        if self._extra(name, "freeze"):
            self.batch.add(MapFreeze(ref))
        self.maps[name] = PlannedMap(name, definition, ref.index, ref, pin=pin, pin_op=pin_op)

    def _data_map(self, data: DataMap, *, btf: Ref | None) -> None:
        name = data.definition.name
        definition = override_map(data.definition, self.options.maps.get(name), path=self.obj.name)
        if definition.value_size < data.section.size:
            raise ObjectError(f"section {name} has {data.section.size} bytes of variables", path=self.obj.name)
        if self._reuse(definition, data=data):
            return
        typed = btf if "datasec" in self.facts.btf_features else None
        contents = data.contents.ljust(definition.value_size, b"\0") if data.contents else b""
        if definition.type == MapType.PERCPU_ARRAY:
            contents = contents.ljust(-(-len(contents) // 8) * 8, b"\0") * self.facts.described.cpus
        op = create_op(definition, btf=typed, name=data.kernel_name, site=self.batch.site)
        ref = self._filled(op, contents=contents, frozen=data.frozen)
        pin, pin_op = self._pin(definition, ref)
        self.maps[name] = PlannedMap(
            name, definition, ref.index, ref, frozen=data.frozen, data=data, pin=pin, pin_op=pin_op
        )

    def _kconfig_map(self, kconfig: Kconfig, *, btf: Ref | None) -> None:
        size = len(kconfig.contents)
        definition = MapDef(
            KCONFIG,
            MapType.ARRAY,
            4,
            size,
            1,
            flags=MapCreateFlag.RDONLY_PROG,
            value_type=kconfig.btf_id,
            section=KCONFIG,
        )
        op = create_op(definition, btf=btf, site=self.batch.site)
        ref = self._filled(op, contents=kconfig.contents, frozen=True)
        self.maps[KCONFIG] = PlannedMap(KCONFIG, definition, ref.index, ref, frozen=True)

    def _filled(self, op: MapCreate, *, contents: bytes, frozen: bool) -> Ref:
        ref = self.batch.add(op)
        if any(contents):
            self.batch.add(MapSet(ref, _KEY, contents))
        if frozen:
            self.batch.add(Try(MapFreeze(ref)))  # 5.2; without it the verifier cannot use the values as constants
        return ref

    def _pin(self, definition: MapDef, ref: Ref) -> tuple[str, int]:
        path = pin_path(definition, self.options)
        if not path:
            return "", -1
        if path.startswith(f"{BPFFS}/") and not self._mounted:
            self.batch.add(Try(Mount("bpf", BPFFS, "bpf")))
            self._mounted = True
        for op in directories(path):
            self.batch.add(Try(op))  # it may exist already
        return path, self.batch.add(Try(ObjPin(ref, path, undo=True))).index

    def _fill_arena(self) -> None:
        """Write the global variables of an arena (see ``arena_start``). Zeros are written too: this allocates their
        pages, which bpf_arena_alloc_pages() would otherwise give to the program."""
        section = arena_of(self.obj)
        if section is None:
            return
        arenas = [planned for planned in self.maps.values() if planned.definition.type == MapType.ARENA]
        if len(arenas) != 1:
            raise PlanError(
                f"{self.obj.name} has variables in an arena, which needs one arena map, but it has {len(arenas)}"
            )
        self.maps[section.name] = replace(arenas[0], name=section.name)
        if arenas[0].op >= 0 and section.data:
            start = arena_start(self.obj, self.facts, overrides=self.options.maps)
            self.batch.add(MemWrite(arenas[0].handle, start, section.data))


def create_jump_tables(tables: Mapping[str, tuple[int, ...]], *, batch: OpBatch, byteorder: str) -> dict[str, Obj]:
    """Jump tables (clang 22 and later, ``-mcpu=v4``), each a map of instructions made before its program: name -> map.

    As libbpf 1.7 (src/libbpf.c: create_jt_map): an entry names an instruction of the program as it is handed over; the
    kernel (Linux 6.19, b4ce5923e780) keeps it up to date while it rewrites the program, and wants the map frozen.
    """
    made: dict[str, Obj] = {}
    for name, targets in tables.items():
        create, fill = jump_table_ops(targets, byteorder=byteorder)
        ref = made[name] = batch.add(replace(create, site=batch.site))
        for op in fill:
            batch.add(replace(op, map=ref))
    return made


def jump_table_ops(targets: Sequence[int], *, byteorder: str) -> tuple[MapCreate, tuple[MapSet | MapFreeze, ...]]:
    """What makes a map of the table, and what fills and freezes it, once their ``map`` is the one that was made."""
    code = "<" if byteorder == "little" else ">"
    create = MapCreate(
        type=MapType.INSN_ARRAY,
        key_size=4,
        value_size=_JUMP_TABLE_VALUE,
        max_entries=len(targets),
        name="jump_table",
    )
    fill = tuple(
        MapSet(Ref(0), struct.pack(code + "I", index), struct.pack(code + "I12x", target))
        for index, target in enumerate(targets)
    )
    return create, (*fill, MapFreeze(Ref(0)))
