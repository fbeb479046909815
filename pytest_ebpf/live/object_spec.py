"""An object file that is not loaded yet, to be changed: a thin front over the keyword arguments of ``bpf.load``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.bpf_object import BpfObject, Named
from pytest_ebpf.live.load_request import Asked
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.program import Program
from pytest_ebpf.obj.object import MapDef, ObjectFile, Problem, ProgramDef
from pytest_ebpf.obj.sections import SectionSpec
from pytest_ebpf.obj.static_names import meanings
from pytest_ebpf.plan.data_maps import section_map
from pytest_ebpf.plan.map_definitions import nearest
from pytest_ebpf.plan.program_overrides import why_lost
from pytest_ebpf.suggest import did_you_mean

__all__ = ["MapSpec", "ProgramSpec", "ObjectSpec", "ValuesMapping"]

_OBJECT_FIELDS = ("btf", "globals", "kconfig", "license", "log_level", "perf_pages", "pin_path", "struct_ops", "types")


class _Field:
    """A field of a definition that can be set: what was set is kept apart from what the object says."""

    def __init__(self, doc: str, *, of: str = "definition", called: str = "") -> None:
        self.__doc__ = doc
        self._of = of
        self._called = called
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, spec: Any, owner: type) -> Any:
        if spec is None:
            return self
        if self._name in spec.changes:
            return spec.changes[self._name]
        return getattr(getattr(spec, self._of), self._called or self._name, None)

    def __set__(self, spec: Any, value: Any) -> None:
        spec.changes[self._name] = value


def _settable(spec: object) -> list[str]:
    """What of a specification can be set."""
    if isinstance(spec, ObjectSpec):
        return list(_OBJECT_FIELDS)
    return [name for name, value in vars(type(spec)).items() if isinstance(value, _Field)]


def _set(*assignment: Any) -> None:
    """``BpfUsageError`` for what cannot be set: it would be ignored."""
    spec, name, value = assignment
    known = _settable(spec)
    if name not in known:
        kind = type(spec).__name__.removesuffix("Spec").lower()
        other = getattr(type(spec), name, None) is not None or name in vars(spec)
        why = (
            f"{name!r} of {kind} {spec.name!r} cannot be set"
            if other
            else f"{kind} {spec.name!r} has no {name!r} to set"
        )
        raise BpfUsageError(
            why, hint=f"{did_you_mean(name, known, otherwise='')}\nWhat can be set: {', '.join(known)}.".strip()
        )
    object.__setattr__(spec, name, value)


class MapSpec:
    """A map as it will be created. ``definition`` is what the object says, ``changes`` what was set since."""

    type = _Field("Number of enum bpf_map_type, or its name.")
    key_size = _Field("Bytes.")
    value_size = _Field("Bytes; of one processor's value where there is one for each.")
    max_entries = _Field("Elements; bytes of a ring buffer.")
    flags = _Field("BPF_F_* bits.")
    map_extra = _Field("What the type makes of it: hash functions of a bloom filter, the address of an arena.")
    numa_node = _Field("With BPF_F_NUMA_NODE.")
    perf_pages = _Field("Pages of the buffer of each processor, of a perf event array; a power of two.")
    contents = _Field("What it starts with: a dict, or a list of values.")
    freeze = _Field("True: user space cannot change it after ``contents``.")
    exclusive = _Field("The name of the one program that may use it (Linux 6.18).")
    key = _Field("The name of the type of its keys.")
    value = _Field("The name of the type of its values.")
    pin = _Field("A path to be pinned at, True for its name in ``pin_path``, False for no pin.")

    definition: MapDef
    changes: dict[str, Any]
    inner: MapSpec | None
    _instead: Map | None

    def __init__(self, definition: MapDef) -> None:
        inner = MapSpec(definition.inner) if definition.inner is not None else None
        vars(self).update(definition=definition, changes={}, inner=inner, _instead=None)

    __setattr__ = _set

    @property
    def name(self) -> str:
        """Its name in the object."""
        return self.definition.name

    def replace(self, other: Map) -> None:
        """Use a map that exists already."""
        vars(self)["_instead"] = other

    def asked(self) -> Any:
        """The changes as ``bpf.load(maps=...)`` takes them, None for none."""
        if self._instead is not None:
            return self._instead
        inner = self.inner.asked() if self.inner is not None else None
        return {**self.changes, **({"inner": inner} if inner else {})} or None

    def __repr__(self) -> str:
        return f"<MapSpec {self.name}{_words(self.changes)}>"


class ProgramSpec:
    """A program as it will be loaded. ``definition`` is what the object says, ``changes`` what was set since."""

    type = _Field("Number of enum bpf_prog_type, or its name.", of="_spec", called="prog_type")
    attach_type = _Field("Number of enum bpf_attach_type, or its name.", of="_spec")
    target = _Field('What it is attached to, "do_unlinkat" or "module:function".', of="_spec")
    autoload = _Field("Whether it is loaded.", of="_spec")
    sleepable = _Field("Whether it may sleep.", of="_spec")
    frags = _Field("Whether it takes packets in several pieces (XDP).", of="_spec")
    section = _Field("The section that it counts as being in.")
    interface = _Field("The network interface that an XDP program is loaded for (Linux 6.3).")

    definition: ProgramDef
    changes: dict[str, Any]
    _spec: SectionSpec | None

    def __init__(self, definition: ProgramDef) -> None:
        vars(self).update(definition=definition, changes={}, _spec=definition.spec)

    __setattr__ = _set

    @property
    def name(self) -> str:
        """The name of its C function."""
        return self.definition.name

    def extends(self, program: Program, function: str = "") -> None:
        """Make it a replacement for a function of a loaded program (freplace)."""
        self.changes["extends"] = (program, function)

    def traces(self, program: Program, function: str = "") -> None:
        """Attach it (fentry, fexit) to a function of a loaded program instead of one of the kernel."""
        self.changes["traces"] = (program, function)

    def __repr__(self) -> str:
        return f"<ProgramSpec {self.name}{_words(self.changes)}>"


class ValuesMapping(MutableMapping[str, Any]):
    """Values of variables by name; only those that were set are there to be listed."""

    def __init__(self, names: tuple[str, ...], *, what: str) -> None:
        self.names = names
        self._what = what
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        return self._values[self._known(name)]

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[self._known(name)] = value

    def __delitem__(self, name: str) -> None:
        del self._values[self._known(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _known(self, name: str) -> str:
        if name not in self.names:
            if which := meanings(name, self.names):
                raise BpfUsageError(which)
            raise BpfUsageError(f"the object has no {self._what} {name!r}", hint=nearest(name, list(self.names)))
        return name


class ObjectSpec:
    """What ``bpf.open`` gives: ``spec.programs["p"].target = "do_exit"``, ``spec.maps["m"].max_entries = 8``,
    ``spec.globals["limit"] = 3``, ``spec.kconfig["CONFIG_HZ"] = 100``, ``spec.btf = path``,
    ``spec.types = "events.h"``, then ``spec.load()``.

    ``load`` may be called again, after other changes too: each gives an object of its own.
    """

    obj: ObjectFile
    programs: Mapping[str, ProgramSpec]
    maps: Mapping[str, MapSpec]
    globals: MutableMapping[str, Any]
    kconfig: MutableMapping[str, Any]
    struct_ops: dict[str, bool | dict[str, Any]]
    btf: str | os.PathLike[str] | bytes | Btf | None = None
    pin_path: str | os.PathLike[str] = ""
    log_level: int | None = None
    license: str
    perf_pages: int = 0
    types: str | os.PathLike[str] | Btf | None = None
    _load: Callable[[ObjectFile, Asked], BpfObject]

    def __init__(self, obj: ObjectFile, *, load: Callable[[ObjectFile, Asked], BpfObject], license: str = "") -> None:
        programs = {program.name: ProgramSpec(program) for program in obj.programs}
        maps = {name: MapSpec(found) for name, found in _maps(obj)}
        variables = tuple(variable.name for section in obj.data for variable in section.variables)
        kconfig = tuple(extern.name for extern in obj.externs if extern.kind == "kconfig")
        vars(self).update(
            obj=obj,
            programs=Named(programs, what="program", why_not=why_lost(obj, "program")),
            maps=Named(maps, what="map", why_not=why_lost(obj, "map")),
            globals=ValuesMapping(variables, what="global variable"),
            kconfig=ValuesMapping(kconfig, what="__kconfig variable"),
            struct_ops={},
            license=license,
            _load=load,
        )

    __setattr__ = _set

    @property
    def name(self) -> str:
        """The file's."""
        return self.obj.name.rpartition("/")[2]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What of the object cannot be used, and why."""
        return self.obj.problems

    def asked(self) -> Asked:
        """The changes as the keyword arguments of ``bpf.load``."""
        maps = {name: asked for name, spec in self.maps.items() if (asked := spec.asked()) is not None}
        return Asked(
            globals=dict(self.globals),
            maps=maps,
            programs={name: dict(spec.changes) for name, spec in self.programs.items() if spec.changes},
            kconfig=dict(self.kconfig),
            btf=self.btf,
            pin_path=os.fspath(self.pin_path),
            log_level=self.log_level,
            license=self.license,
            perf_pages=self.perf_pages,
            struct_ops=self.struct_ops,
            types=self.types,
        )

    def load(self) -> BpfObject:
        """Load it as it is now. Raises what ``bpf.load`` raises."""
        return self._load(self.obj, self.asked())

    def __repr__(self) -> str:
        return f"<ObjectSpec {self.name}: {', '.join(self.programs)}>"


def _maps(obj: ObjectFile) -> Iterator[tuple[str, MapDef]]:
    """The maps, those of data sections too: these can be made larger, pinned, and replaced."""
    yield from ((definition.name, definition) for definition in obj.maps)
    for section in obj.data:
        if section.kind not in ("struct_ops", "arena") and section.size:
            yield section.name, section_map(section)


def _words(changes: Mapping[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in changes.items())
