"""What a test asks of a load, in its own words, and those words as ``LoadOptions``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.events.levels import LEVEL_VARIABLE, LOG_LEVELS, level_name
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.live.maps.codec import MapCodec
from pytest_ebpf.live.program_function import function_of_program, is_program
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.sections import number_of_type
from pytest_ebpf.plan.attach import Device
from pytest_ebpf.plan.map_definitions import MapOverride, nearest, override_map
from pytest_ebpf.plan.options import LoadOptions, ProgramOverride
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.sections import ATTACH_TYPES, MAP_TYPES, PROG_TYPES

__all__ = ["Asked", "LoadArguments", "options_of"]

_TYPED = ("key", "value")  # fields of maps= that name a type
_PROGRAM_FIELDS = (
    "section",
    "type",
    "attach_type",
    "target",
    "autoload",
    "sleepable",
    "frags",
    "extends",
    "traces",
    "interface",
)

_PROGRAM_TYPES: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("section", (str,), 'the name of one: "fentry/do_exit"'),
    ("type", (str, int), "the name of a program type, or its number"),
    ("attach_type", (str, int), "the name of an attach type, or its number"),
    *((field, (bool,), "True or False") for field in ("autoload", "sleepable", "frags")),
)


class LoadArguments(TypedDict, total=False):
    """The keyword arguments of ``bpf.load``."""

    globals: Mapping[str, object] | None
    maps: Mapping[str, object] | None
    programs: Mapping[str, object] | None
    kconfig: Mapping[str, object] | None
    struct_ops: Mapping[str, object] | None
    btf: str | os.PathLike[str] | bytes | Btf | None
    pin_path: str | os.PathLike[str]
    only: Iterable[str] | str | None
    log_level: int | None
    license: str
    perf_pages: int
    types: str | os.PathLike[str] | Btf | None
    doubles: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Asked:
    """The keyword arguments of ``bpf.load``, with their defaults."""

    globals: Mapping[str, Any] = field(default_factory=dict)
    maps: Mapping[str, Any] = field(default_factory=dict)
    programs: Mapping[str, Any] = field(default_factory=dict)
    kconfig: Mapping[str, Any] = field(default_factory=dict)
    struct_ops: Mapping[str, Any] = field(default_factory=dict)
    btf: str | os.PathLike[str] | bytes | Btf | None = None
    pin_path: str = ""
    only: Iterable[str] | str | None = None
    log_level: int | None = None
    license: str = ""
    perf_pages: int = 0
    types: str | os.PathLike[str] | Btf | None = None
    doubles: Mapping[str, Any] = field(default_factory=dict)

    @property
    def map_types(self) -> dict[str, dict[str, str]]:
        """The names of types that ``maps=`` gives for keys and values."""
        named = {
            name: {part: fields[part] for part in _TYPED if fields.get(part) is not None}
            for name, fields in self.maps.items()
            if isinstance(fields, Mapping) and not hasattr(fields, "handle")  # a Map stands for itself
        }
        return {name: parts for name, parts in named.items() if parts}


def _with_level(given: Mapping[str, Any]) -> dict[str, Any]:
    """The level of aya-log may be given by its name: ``AYA_LOG_LEVEL="warn"``."""
    level = given.get(LEVEL_VARIABLE)
    if not isinstance(level, str):
        return dict(given)
    return {**given, LEVEL_VARIABLE: LOG_LEVELS[level_name(level, what=f"globals: {LEVEL_VARIABLE}")]}


def options_of(asked: Asked, *, obj: ObjectFile, session: Session) -> LoadOptions:
    """``BpfUsageError`` for words that no option has; what the object does not have is found when it is planned."""
    _check_shapes(asked)
    names = (asked.only,) if isinstance(asked.only, str) else tuple(asked.only or ())
    if asked.only is not None and not names:
        raise BpfUsageError("only=() would load nothing: name the programs to load")
    given: dict[str, Any] = {
        "globals": _with_level(asked.globals),
        "kconfig": dict(asked.kconfig),
        "maps": _maps(asked, obj=obj, session=session),
        "programs": {name: _program(name, value) for name, value in asked.programs.items()},
        "only": names,
        "struct_ops": dict(asked.struct_ops),
    }
    if asked.log_level is not None:
        if not isinstance(asked.log_level, int) or asked.log_level < 0:
            raise BpfUsageError(
                f"log_level={asked.log_level!r} is no level", hint="0 nothing, 1 or 2 a trace, 4 statistics."
            )
        given["log_level"] = asked.log_level
    if not isinstance(asked.license, str):
        raise BpfUsageError(f"license={asked.license!r} is not a text", hint='Write license="GPL".')
    given["license"] = asked.license
    if asked.pin_path:
        given["pin_path"] = str(asked.pin_path)
    return LoadOptions(**given)


def _check_shapes(asked: Asked) -> None:
    for option in ("globals", "maps", "programs", "kconfig", "struct_ops"):
        value = getattr(asked, option)
        if type(value) is not dict and not isinstance(value, Mapping):
            raise BpfUsageError(f"{option}={value!r} is no dict", hint=f'Write {option}={{"name": value}}.')
    for name, value in asked.struct_ops.items():
        if not isinstance(value, bool | Mapping):
            hint = f"Write struct_ops={{{name!r}: True}} or struct_ops={{{name!r}: {{member: value}}}}."
            raise BpfUsageError(
                f"struct_ops={{{name!r}: {value!r}}} is not True, False or a dict of members", hint=hint
            )
    names = asked.only
    if names is None or isinstance(names, str):
        return
    if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise BpfUsageError(f"only={names!r} names no programs", hint='Write only="name" or only=["one", "two"].')


def _maps(asked: Asked, *, obj: ObjectFile, session: Session) -> dict[str, MapOverride]:
    """What is asked of each map, with ``perf_pages`` for those perf event arrays of which nothing else says it."""
    found = {name: _map(name, value, obj=obj, session=session) for name, value in asked.maps.items()}
    pages = {
        name: fields["perf_pages"]
        for name, fields in found.items()
        if isinstance(fields, Mapping) and "perf_pages" in fields
    }
    for given in (asked.perf_pages, *pages.values()):
        if given != 0 and (not isinstance(given, int) or given < 0 or given & (given - 1)):
            raise BpfUsageError(f"perf_pages={given!r} is no power of two", hint="Write perf_pages=256.")
    for definition in obj.maps if asked.perf_pages else ():
        own = found.get(definition.name, {})
        if definition.type == MapType.PERF_EVENT_ARRAY and definition.name not in pages and not isinstance(own, Handle):
            fields = {"max_entries": own} if isinstance(own, int) else own
            found[definition.name] = {**fields, "perf_pages": asked.perf_pages}
    return found


def _map(name: str, value: Any, *, obj: ObjectFile, session: Session) -> MapOverride:
    handle = getattr(value, "handle", None)
    if handle is not None:
        return handle  # type: ignore[no-any-return]  # a Map's
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, Mapping):
        raise BpfUsageError(
            f"maps={{{name!r}: {value!r}}} is no number of entries, dict of fields or Map",
            hint=f'Write maps={{{name!r}: 64}} or maps={{{name!r}: {{"max_entries": 64, "contents": {{...}}}}}}.',
        )
    fields = {field: given for field, given in value.items() if field not in _TYPED}
    if isinstance(fields.get("type"), str):
        fields["type"] = _number("map", fields["type"])
    exclusive = fields.get("exclusive")
    if is_program(exclusive):
        fields["exclusive"] = exclusive.name
    if fields.get("contents") is not None:
        fields["contents"] = _contents(name, fields, obj=obj, session=session)
    return fields


def _contents(
    name: str, fields: Mapping[str, Any], *, obj: ObjectFile, session: Session
) -> tuple[tuple[bytes, Any], ...]:
    """Keys and values as the kernel takes them, written as one writes them to the map itself. A list fills an array
    from its first element on, or a queue or stack."""
    definition = next((found for found in obj.maps if found.name == name), None)
    if definition is None:
        return ()  # the plan says so, and what there is
    plain = {field: value for field, value in fields.items() if field != "contents"}
    codec = MapCodec(session, definition=override_map(definition, plain, path=obj.name), btf=obj.btf)
    contents = fields["contents"]
    if not isinstance(contents, Mapping):
        keyed = codec.kind.access == "keyed"
        contents = {} if not contents else None if not keyed else dict(enumerate(contents))
        if contents is None:
            return tuple((b"", _raw(codec, value)) for value in fields["contents"])
    return tuple((codec.raw_key(key), _raw(codec, value)) for key, value in contents.items())


def _raw(codec: MapCodec, value: object) -> Any:
    """A value as an op takes it: an object by its handle, anything else as bytes."""
    stored = codec.store(value)
    return codec.bytes_of(value) if stored.fds else stored.value


def _program(name: str, value: Any) -> ProgramOverride:
    if isinstance(value, bool) or value is None:
        return ProgramOverride(autoload=bool(value))
    if isinstance(value, str):
        return ProgramOverride(section=value)
    if not isinstance(value, Mapping):
        raise BpfUsageError(
            f"programs={{{name!r}: {value!r}}} is no section name, True, False or dict",
            hint=f'Write programs={{{name!r}: {{"target": "do_unlinkat"}}}}.',
        )
    fields = dict(value)
    for field_name in fields:
        if field_name not in _PROGRAM_FIELDS:
            raise BpfUsageError(
                f"programs={{{name!r}: ...}} has no {field_name!r}", hint=f"There are: {', '.join(_PROGRAM_FIELDS)}."
            )
    for field_name, what in (("type", "program"), ("attach_type", "attach")):
        if isinstance(fields.get(field_name), str):
            fields[field_name] = _number(what, fields[field_name])
    _check_program(name, fields)
    if "target" in fields and not isinstance(fields["target"], str | None):  # a loaded program, as cilium/ebpf has it
        fields["traces"] = fields.pop("target")
    extends, traces = fields.pop("extends", None), fields.pop("traces", None)
    if extends is not None or traces is not None:
        fields["program"] = function_of_program(name, extends if extends is not None else traces)
    if extends is not None:
        fields.setdefault("type", _number("program", "ext"))
    interface = fields.pop("interface", None)
    if interface is not None:
        fields["device"] = _device(name, interface)
    return ProgramOverride(**fields)


def _check_program(name: str, fields: Mapping[str, Any]) -> None:
    """``BpfUsageError`` for a value that the field cannot have."""
    for key, types, what in _PROGRAM_TYPES:
        value = fields.get(key)
        if value is not None and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
            raise BpfUsageError(f"programs={{{name!r}: {{{key!r}: {value!r}}}}}: {key} is {what}")


def _device(name: str, interface: object) -> Device:
    """An interface by name, index, or an object that has an ``index`` and maybe a ``netns`` (``veth.b``)."""
    index = interface if isinstance(interface, int | str) else getattr(interface, "index", None)
    if isinstance(index, bool) or not isinstance(index, int | str) or not index:
        raise BpfUsageError(
            f"programs={{{name!r}: {{'interface': {interface!r}}}}} is no interface",
            hint="Give its name, its index, or an interface of the test such as bpf_veth.b.",
        )
    netns = getattr(getattr(interface, "netns", None), "handle", None)
    return Device(index, netns if isinstance(netns, Handle) else None)


def _number(what: str, name: str) -> int:
    names = {"program": PROG_TYPES, "attach": ATTACH_TYPES, "map": MAP_TYPES}[what]
    number = number_of_type(name, names)
    if number is None:
        raise BpfUsageError(f"there is no {what} type {name!r}", hint=nearest(name.upper(), list(names)))
    return number
