"""What an eBPF object file contains, as values; ``parse_object`` (obj/parse.py) reads them from its bytes.

Nothing here depends on a kernel. Offsets are bytes unless a field is called ``insn``: then it counts instruction slots
of 8 bytes (a 64-bit load takes two) from the start of its function.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import DataSec
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.obj.attach_points import AttachPoint, attach_point
from pytest_ebpf.obj.sections import SectionSpec

__all__ = [
    "CoreReloc",
    "DataReloc",
    "DataSection",
    "Extern",
    "FuncInfo",
    "JumpTable",
    "LineInfo",
    "MapDef",
    "ObjectFile",
    "Problem",
    "ProgramDef",
    "Reloc",
    "SlotInit",
    "Variable",
]

_Named = TypeVar("_Named", "ProgramDef", "MapDef")


class Reloc(NamedTuple):
    """An instruction that names something outside itself.

    ``kind``:
    - "map": 64-bit load of a map; ``symbol`` is the map's name
    - "data": 64-bit load of an address in data section ``section``, ``offset`` bytes into it (addend included)
    - "call": call of the function that starts ``offset`` bytes into ``section``; calls within one section that the
      compiler left without a relocation entry are listed too
    - "func": 64-bit load of the address of such a function
    - "extern": 64-bit load of the extern variable ``symbol`` (kconfig or ksym)
    - "kfunc": call of the extern function ``symbol``
    """

    insn: int
    kind: str
    symbol: str
    section: str = ""
    offset: int = 0


class CoreReloc(NamedTuple):
    """A CO-RE record: ``kind`` 0-12 (enum bpf_core_relo_kind), ``access`` such as "0:1:2", ``type_id`` local."""

    insn: int
    type_id: int
    access: str
    kind: int


class FuncInfo(NamedTuple):
    """``type_id`` is the BTF FUNC of the function that starts at ``insn``."""

    insn: int
    type_id: int


class LineInfo(NamedTuple):
    """Where an instruction comes from. ``file_off``, ``line_off``, ``line_col`` are what the kernel's record holds."""

    insn: int
    file: str
    line: int
    col: int
    text: str
    file_off: int
    line_off: int
    line_col: int


class JumpTable(NamedTuple):
    """A table that the load at ``insn`` takes the address of, for a computed jump (``gotox``). ``targets``: the
    instructions that its entries lead to, from the start of the function."""

    insn: int
    name: str
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in an object that cannot be used. ``symbol`` names it, "" for the whole section.

    ``costs``: "program" or "map" when ``symbol`` is one that a load would have made: a load without it fails. "" for
    what no loader makes anything of (a section that no table knows): it costs nothing else.
    """

    section: str
    symbol: str
    message: str
    hint: str = ""
    costs: str = ""

    def __str__(self) -> str:
        where = f"{self.section}: {self.symbol}" if self.symbol else self.section
        return f"{where}: {self.message}" + (f"\n{self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True)
class ProgramDef:
    """A function: a program to load (``spec`` says of what type) or a subprogram that others call (``spec`` None).

    A function of ``ObjectFile.programs`` whose ``spec`` is None is in a section that no table knows.
    ``btf_id``: its FUNC in the object's BTF, or 0. ``section_offset``: where it starts in its section, in bytes.
    ``is_hidden``: global to the linker but not beyond the object (``__hidden``); libbpf then tells the verifier that
    it is static, so that it is checked with its callers and not by itself.
    """

    name: str
    section: str
    spec: SectionSpec | None
    insns: bytes
    section_offset: int = 0
    is_global: bool = True
    is_weak: bool = False
    is_hidden: bool = False
    btf_id: int = 0
    relocs: tuple[Reloc, ...] = ()
    core: tuple[CoreReloc, ...] = ()
    func_info: tuple[FuncInfo, ...] = ()
    line_info: tuple[LineInfo, ...] = field(default=(), repr=False)
    jump_tables: tuple[JumpTable, ...] = ()

    @property
    def attach_point(self) -> AttachPoint | None:
        """Where it wants to be attached, None when its section does not say."""
        return attach_point(self.spec) if self.spec is not None else None


@dataclass(frozen=True, slots=True)
class SlotInit:
    """Slot ``index`` of a map starts out holding ``symbol``, a "map" (map-in-map) or "func" (program array)."""

    index: int
    kind: str
    symbol: str


@dataclass(frozen=True, slots=True)
class MapDef:
    """A map as declared. ``key_type``/``value_type`` are ids in the object's BTF, 0 when only sizes were given.

    ``pinning``: 0 none, 1 by name. ``values``: initialised slots. ``inner``: what a map-in-map holds.
    ``legacy``: a struct bpf_map_def in section "maps" instead of BTF in ".maps". ``btf_id``: its VAR, or 0.
    ``is_weak``: gives way to another definition when objects are linked. ``is_static``: declared ``static``.
    ``perf_pages``: of each perf buffer, which no object says; 0 for the default.
    """

    name: str
    type: int
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: int = 0
    key_type: int = 0
    value_type: int = 0
    pinning: int = 0
    map_extra: int = 0
    numa_node: int = 0
    inner: MapDef | None = None
    values: tuple[SlotInit, ...] = ()
    section: str = ".maps"
    legacy: bool = False
    btf_id: int = 0
    is_weak: bool = False
    is_static: bool = False
    perf_pages: int = 0


@dataclass(frozen=True, slots=True)
class Variable:
    """A global variable. ``type_id`` is its type in the object's BTF (not the VAR), 0 when there is none.
    ``is_global``: has a name for the linker (not ``static``); ``is_weak``: gives way to another definition.
    ``var_name``: what BTF calls it, "" for the same (Zig has two names)."""

    name: str
    offset: int
    size: int
    type_id: int = 0
    is_global: bool = True
    is_weak: bool = False
    var_name: str = ""

    @property
    def place(self) -> tuple[int, int]:
        """Offset and size in bytes."""
        return self.offset, self.size


class DataReloc(NamedTuple):
    """A pointer in a data section: the 8 bytes at ``offset`` hold the address of ``target`` + ``addend``.
    ``kind`` as in ``Reloc``: "func", "map", "data" or "extern"; ``section``: where the target is."""

    offset: int
    kind: str
    target: str
    section: str
    addend: int


@dataclass(frozen=True, slots=True)
class DataSection:
    """A section of global data. ``kind``: "data", "rodata", "bss", "struct_ops", "arena", "percpu", or "custom" (a
    writable section of another name). ``data`` is as long as ``size`` but for bss, where it is empty. ``btf_id``: its
    DATASEC, or 0."""

    name: str
    kind: str
    size: int
    data: bytes = field(repr=False)
    variables: tuple[Variable, ...] = ()
    relocs: tuple[DataReloc, ...] = ()
    btf_id: int = 0


@dataclass(frozen=True, slots=True)
class Extern:
    """Something that is defined elsewhere. ``kind``: "kconfig", "ksym" or "kfunc" for what the kernel (or its
    configuration) has to provide; "map", "data" or "func" for what another object has to.

    ``type_id``: the type of the variable, or the FUNC_PROTO of the function; 0: untyped. ``size`` and ``align`` in
    bytes (kconfig only). ``btf_id``: its VAR or FUNC.
    """

    name: str
    kind: str
    type_id: int = 0
    is_weak: bool = False
    size: int = 0
    align: int = 0
    btf_id: int = 0


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """A parsed object. ``text``: the subprograms. ``btf_raw``: the .BTF section as it is (b"" when ``btf`` is None).

    The callee of a "call" or "func" relocation is the function with that ``section`` and ``section_offset``, among
    ``programs`` and ``text``. ``datasecs``: (type id, DATASEC) with the sizes and offsets that the compiler left 0 and
    that the kernel wants, ready for ``rewrite_btf``. ``files``: of an object that was linked, the files it is made of.
    """

    name: str
    byteorder: str
    license: str
    programs: tuple[ProgramDef, ...]
    text: tuple[ProgramDef, ...] = ()
    maps: tuple[MapDef, ...] = ()
    data: tuple[DataSection, ...] = ()
    btf: Btf | None = None
    btf_raw: bytes = field(default=b"", repr=False)
    datasecs: tuple[tuple[int, DataSec], ...] = field(default=(), repr=False)
    externs: tuple[Extern, ...] = ()
    problems: tuple[Problem, ...] = ()
    version: int = 0
    files: tuple[str, ...] = ()

    def program(self, name: str) -> ProgramDef:
        """The program of that name; KeyError names those there are."""
        return _named(self.programs, name)

    def map(self, name: str) -> MapDef:
        """The map of that name; KeyError names those there are."""
        return _named(self.maps, name)


def _named(values: tuple[_Named, ...], name: str) -> _Named:
    for value in values:
        if value.name == name:
            return value
    raise KeyError(f"no {name!r}; there are: {', '.join(sorted(value.name for value in values)) or 'none'}")
