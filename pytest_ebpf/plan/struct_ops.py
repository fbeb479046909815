"""struct_ops: tables of functions that the kernel calls (a TCP congestion control, a scheduler).

The object holds its own version of the kernel's struct; it is converted to the kernel's layout, member by member.
As libbpf (src/libbpf.c: bpf_map__init_kern_struct_ops, v1.7): members that this kernel lacks must be zero.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import BtfType, FuncProto, Kind, Member, Ptr, Struct, essential_name
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.obj.object import DataSection, MapDef, ObjectFile, Variable
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.modules import find_in_modules
from pytest_ebpf.plan.options import LoadOptions
from pytest_ebpf.plan.struct_ops_options import members_of, switched_off, table_data, tables_of
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import MapCreateFlag

__all__ = ["Slot", "StructOps", "Tables", "plan_struct_ops"]

_PREFIX = "bpf_struct_ops_"


class Slot(NamedTuple):
    """What PROG_LOAD is given for a program: member ``member`` of the kernel's struct ``type_id``."""

    type_id: int
    member: int
    module: str


@dataclass(frozen=True, slots=True)
class StructOps:
    """One table. ``value``: the kernel's bpf_struct_ops_<type>; ``programs``: (byte in it, program)."""

    name: str
    kernel_type: str
    definition: MapDef
    value: bytes = field(repr=False)
    programs: tuple[tuple[int, str], ...]
    value_type: int
    module: str
    by_link: bool


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of an object, the slots of its programs, and the reasons why a program or table is missing."""

    tables: tuple[StructOps, ...] = ()
    slots: Mapping[str, Slot] = field(default_factory=dict)
    errors: Mapping[str, PlanError | ObjectError] = field(default_factory=dict)
    lost: Mapping[str, PlanError | ObjectError] = field(default_factory=dict)


class _KernelType(NamedTuple):
    btf: Btf
    module: str
    type_id: int
    value_id: int

    @property
    def struct(self) -> Struct:
        found = self.btf.type(self.type_id)
        assert isinstance(found, Struct)
        return found


def plan_struct_ops(obj: ObjectFile, facts: Facts, *, options: LoadOptions, wanted: Collection[str]) -> Tables:
    """A table that this kernel cannot have fails its programs. A table without a ``wanted`` program is left out; a
    program that ``options`` leave out by name leaves its member empty, as if the object did not set it."""
    tables: list[StructOps] = []
    slots: dict[str, Slot] = {}
    errors: dict[str, PlanError | ObjectError] = {}
    lost: dict[str, PlanError | ObjectError] = {}
    off = switched_off(obj, options)
    without = {name for name, override in options.programs.items() if override.autoload is False}
    for section, variable, struct in tables_of(obj):
        if variable.name in off:
            continue
        named = members_of(section, variable)
        if named and not any(name in wanted for name in named.values()):
            continue
        members = {at: name for at, name in named.items() if name not in without}
        data = section.data.ljust(section.size, b"\0")[variable.offset : variable.offset + variable.size]
        asked = options.struct_ops.get(variable.name)
        data = table_data(obj, variable, data=data, struct=struct, asked=asked, members=members)
        try:
            kernel = _kernel_type(obj, variable, facts=facts)
            table, found = _table(obj, section, variable=variable, kernel=kernel, members=members, data=data)
        except (PlanError, ObjectError) as error:
            lost[variable.name] = error
            errors.update(dict.fromkeys(members.values(), error))
            continue
        tables.append(table)
        slots.update(found)
    return Tables(tuple(tables), slots, errors, lost)


def _local(obj: ObjectFile, variable: Variable) -> Struct:
    assert obj.btf is not None
    found = obj.btf.type(obj.btf.resolve(variable.type_id))
    assert isinstance(found, Struct)
    return found


def _kernel_type(obj: ObjectFile, variable: Variable, *, facts: Facts) -> _KernelType:
    name = essential_name(_local(obj, variable).name)
    if facts.btf is None:
        raise PlanError(f"struct_ops {variable.name} needs the kernel's BTF, and this kernel has none", feature="btf")
    own = [("", facts.btf, type_id) for type_id in facts.btf.find(_PREFIX + name, Kind.STRUCT)]
    for module, btf, value_id in own or find_in_modules(facts, _PREFIX + name, kind=Kind.STRUCT):
        for type_id in btf.find(name, Kind.STRUCT):
            return _KernelType(btf, module, type_id, value_id)
    raise PlanError(
        f"struct_ops {variable.name}: this kernel has no struct_ops of struct {name}",
        feature=f"struct_ops:{name}",
        since="5.6 for tcp_congestion_ops",
    )


def _table(
    obj: ObjectFile,
    section: DataSection,
    *,
    variable: Variable,
    kernel: _KernelType,
    members: Mapping[int, str],
    data: bytes,
) -> tuple[StructOps, dict[str, Slot]]:
    size = kernel.btf.size(kernel.value_id)
    start = _data_offset(kernel)
    value = bytearray(size)
    programs: list[tuple[int, str]] = []
    slots: dict[str, Slot] = {}
    for member in _local(obj, variable).members:
        place = _Place(obj, variable.name, member, kernel)
        at = member.bit_offset // 8
        index, target = place.find(is_set=at in members or any(data[at : at + place.size]))
        if target is None:
            continue
        to = start + target.bit_offset // 8
        if at in members:
            programs.append((to, members[at]))
            slots[members[at]] = Slot(kernel.type_id, index, kernel.module)
        else:
            value[to : to + place.size] = data[at : at + place.size]
    by_link = _by_link(section, variable, kernel=kernel)
    flags = (MapCreateFlag.LINK if by_link else 0) | (MapCreateFlag.VTYPE_BTF_OBJ_FD if kernel.module else 0)
    definition = MapDef(variable.name, MapType.STRUCT_OPS, 4, size, 1, flags=flags, section=section.name)
    table = StructOps(
        variable.name,
        kernel.struct.name,
        definition,
        bytes(value),
        tuple(programs),
        kernel.value_id,
        kernel.module,
        by_link,
    )
    return table, slots


def _by_link(section: DataSection, variable: Variable, *, kernel: _KernelType) -> bool:
    """Whether the table is registered by a link. Links to struct_ops came with Linux 6.4 (68b04864ca42), with a struct
    in its BTF."""
    if not section.name.removeprefix("?").startswith(".struct_ops.link"):
        return False
    if not kernel.btf.find("bpf_struct_ops_link", Kind.STRUCT):
        raise PlanError(
            f"struct_ops {variable.name} is to be registered through a link",
            feature="link:struct_ops",
            since="6.4",
            hint='this kernel takes it from SEC(".struct_ops")',
        )
    return True


def _data_offset(kernel: _KernelType) -> int:
    """The offset of the struct in the kernel's value."""
    value = kernel.btf.type(kernel.value_id)
    for member in value.members if isinstance(value, Struct) else ():
        if kernel.btf.resolve(member.type) == kernel.type_id:
            return member.bit_offset // 8
    raise PlanError(f"struct {_PREFIX}{kernel.struct.name} of this kernel does not hold struct {kernel.struct.name}")


class _Place(NamedTuple):
    """A member of the object's struct, looked up in the kernel's."""

    obj: ObjectFile
    table: str
    member: Member
    kernel: _KernelType

    @property
    def size(self) -> int:
        assert self.obj.btf is not None
        return self.obj.btf.size(self.member.type)

    def find(self, *, is_set: bool) -> tuple[int, Member | None]:
        """(index, member) in the kernel's struct; None for a member that the kernel lacks and that is zero."""
        name = essential_name(self.member.name)
        for index, target in enumerate(self.kernel.struct.members):
            if target.name == name and name:
                self._check(target)
                return index, target
        if is_set:
            raise PlanError(
                f"{self._words}: this kernel has no such member, and the object sets it", hint=self._way_out
            )
        return -1, None

    @property
    def _way_out(self) -> str:
        """How to load the table without the member."""
        return f"to load it without: struct_ops={{{self.table!r}: {{{self.member.name!r}: None}}}}"

    @property
    def _words(self) -> str:
        return f"struct_ops {self.table}: {self.kernel.struct.name}.{self.member.name}"

    def _check(self, target: Member) -> None:
        btf = self.obj.btf
        assert btf is not None
        if self.member.bit_size or target.bit_size:
            raise PlanError(f"{self._words} is a bitfield, which cannot be set")
        local, kernel = btf.type(btf.resolve(self.member.type)), self._target_type(target.type)
        if local.kind != kernel.kind:
            raise PlanError(f"{self._words} is a {_kind(kernel.kind)} in this kernel, not a {_kind(local.kind)}")
        if isinstance(local, Ptr):
            is_function = isinstance(btf.type(btf.resolve(local.type)), FuncProto)
            if is_function != isinstance(self._target_type(getattr(kernel, "type", 0)), FuncProto):
                raise PlanError(f"{self._words} is a function in the object or in this kernel, but not in both")
        elif self.size != self.kernel.btf.size(target.type):
            raise PlanError(
                f"{self._words} has {self.kernel.btf.size(target.type)} bytes in this kernel, not {self.size}"
            )

    def _target_type(self, type_id: int) -> BtfType:
        return self.kernel.btf.type(self.kernel.btf.resolve(type_id))


def _kind(kind: int) -> str:
    return Kind(kind).name.lower()
