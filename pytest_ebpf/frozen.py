"""Frozen, slotted dataclasses that are quick to define and to make: ``dataclasses`` for the values of this package.

The standard module compiles six methods for each class when the class is defined, which is 0.3 ms for each of the
hundreds here, a fifth of the time of ``pytest-ebpf inspect``; and its ``__init__`` of a frozen class sets each field by
a call, a third of the time of loading a small object. Here methods are shared, and ``__init__`` is compiled when the
first value is made. It sets the fields while the value is of a class that is not frozen, and freezes it then.

What is told from outside is the same: ``dataclasses.fields``, ``replace``, ``asdict`` and ``is_dataclass`` take these
classes, and so do ``match``, ``copy``, ``pickle``, ``inspect.signature`` and the comparisons that pytest prints.
Type checkers are given the standard module. Less than the original: ``frozen`` and ``slots`` always, no inheritance
between dataclasses, no ordering.

This travels to guests, where the standard module would take 0.6 s of the boot under emulation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import attrgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace

__all__ = ["MISSING", "asdict", "dataclass", "field", "fields", "is_dataclass", "replace"]

_LAYOUT = "__frozen__"


class _Mark:
    """A value that stands for none, by its name."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


_MISSING = _Mark("MISSING")  # there is no default
_FACTORY = _Mark("<factory>")  # the default is made anew for each value


class _Field:
    """One field: ``type`` is its annotation, as text or not. ``compare`` is for equality and hash alike."""

    __slots__ = ("compare", "default", "default_factory", "init", "name", "repr", "type")

    def __init__(self, *, default: Any, default_factory: Any, init: bool, repr: bool, compare: bool) -> None:
        self.name = ""
        self.type: Any = ""
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr
        self.compare = compare


def _field(
    *,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    init: bool = True,
    repr: bool = True,
    compare: bool = True,
) -> Any:
    """A field with more to say than a default."""
    return _Field(default=default, default_factory=default_factory, init=init, repr=repr, compare=compare)


def _dataclass(*, frozen: bool, slots: bool, repr: bool = True, eq: bool = True) -> Callable[[type[Any]], type[Any]]:
    """The decorator. The first two arguments have to be true, which is the rule of this project."""
    if not (frozen and slots):
        raise TypeError("dataclasses here are frozen and slotted")
    left_out = (*(() if repr else ("__repr__",)), *(() if eq else ("__eq__", "__hash__")))
    return lambda cls: _made(cls, left_out=left_out)


def _fields(kind: Any) -> tuple[Any, ...]:
    """The fields of a dataclass, or of a value of one, in order."""
    layout = getattr(kind, _LAYOUT, None)
    if layout is not None:
        return tuple(layout.fields.values())
    import dataclasses

    return dataclasses.fields(kind)


def _is_dataclass(kind: Any) -> bool:
    """Whether it is a dataclass, or a value of one; of this module or of the standard one."""
    cls = kind if isinstance(kind, type) else type(kind)
    return hasattr(cls, _LAYOUT) or hasattr(cls, "__dataclass_fields__")


def _replace(value: Any, /, **changes: Any) -> Any:
    """A copy with some fields changed."""
    layout = getattr(value, _LAYOUT, None)
    if layout is None:
        import dataclasses

        return dataclasses.replace(value, **changes)
    values, places = list(layout.given(value)), layout.places
    for name, changed in changes.items():
        if name not in places:
            raise TypeError(f"{type(value).__qualname__} has no field {name!r}")
        values[places[name]] = changed
    return type(value)(*values)


def _asdict(value: Any) -> dict[str, Any]:
    """The fields and what is in them, with values of dataclasses as such dicts too."""
    return {one.name: _plain(getattr(value, one.name)) for one in _fields(value)}


def _plain(value: Any) -> Any:
    if _is_dataclass(value) and not isinstance(value, type):
        return _asdict(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_plain, value))
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return type(value)((_plain(key), _plain(item)) for key, item in value.items())
    return value


class _Layout:
    """The fields of a class by name, the places of those that ``__init__`` takes, and a function from a value to all
    that is in these; and the names of the module, which may be gone from ``sys.modules`` when the first value is made:
    pytester forgets what an inner run imported."""

    __slots__ = ("fields", "given", "names", "places")

    def __init__(self, fields: dict[str, _Field], *, module: str) -> None:
        self.fields = fields
        self.names = vars(sys.modules[module]) if module in sys.modules else {}
        names = [name for name, one in fields.items() if one.init]
        self.places = {name: place for place, name in enumerate(names)}
        self.given = _getter(names)


def _made(cls: type[Any], *, left_out: tuple[str, ...]) -> type[Any]:
    body = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    declared: dict[str, _Field] = {}
    for name, kind in cls.__annotations__.items():  # of this class alone; Python 3.14 has none in the body
        if str(kind).removeprefix("typing.").startswith("ClassVar"):
            continue
        default = body.pop(name, _MISSING)
        one = default if isinstance(default, _Field) else _field(default=default)
        one.name, one.type = name, kind
        declared[name] = one
    body["__slots__"] = tuple(declared)
    body["__match_args__"] = tuple(name for name, one in declared.items() if one.init)
    body[_LAYOUT], body["__dataclass_fields__"] = _Layout(declared, module=cls.__module__), _Standard()
    body["__dataclass_params__"] = _PARAMS
    compared = _getter([one.name for one in declared.values() if one.compare])
    methods = {"__init__": _Init(), "__eq__": _equality(compared), "__hash__": _hashing(compared), **_METHODS}
    for name, method in methods.items():
        if name not in left_out:
            body.setdefault(name, method)
    made = _class(cls, body)
    made.__qualname__ = cls.__qualname__
    return made


def _class(like: type[Any], body: dict[str, Any]) -> type[Any]:
    """A class with the name, the bases and the metaclass of another."""
    kind: Any = type(like)
    made: type[Any] = kind(like.__name__, like.__bases__, body)
    return made


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function from a value to the tuple of these fields."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple([getattr(value, name) for name in names])


def _equality(compared: Callable[[Any], tuple[Any, ...]]) -> Any:
    def equal(self: Any, other: object) -> Any:
        return compared(self) == compared(other) if type(other) is type(self) else NotImplemented

    # pytest shows field by field what differs, for classes whose method is one that dataclasses wrote
    equal.__code__ = equal.__code__.replace(co_filename="<string>")
    return equal


def _hashing(compared: Callable[[Any], tuple[Any, ...]]) -> Any:
    return lambda self: hash(compared(self))


class _Init:
    """Stands for ``__init__`` until that is asked for: then it is compiled, and takes this place."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.owner = owner

    def __get__(self, value: Any, cls: type[Any]) -> Any:
        owner = self.owner
        made = owner.__init__ = _compiled(owner, getattr(owner, _LAYOUT).fields)
        return made if value is None else made.__get__(value, cls)


def _compiled(owner: type[Any], declared: dict[str, Any]) -> Any:
    """``__init__`` of a class. The class of the value is another one until all fields are set: setting a field of a
    frozen class is a call, setting one of that class is not."""
    known: dict[str, Any] = {
        "_freeze": object.__setattr__,
        "_Frozen": owner,
        "_Thawed": _class(owner, {"__slots__": getattr(owner, _LAYOUT).fields.keys()}),
        "_factory": _FACTORY,
    }
    parameters, lines = [], []
    for name, one in declared.items():
        value = name
        if one.default_factory is not _MISSING:
            known[f"_{name}_made"] = one.default_factory
            parameters.append(f"{name}=_factory" if one.init else "")
            value = f"{name} if {name} is not _factory else _{name}_made()" if one.init else f"_{name}_made()"
        elif one.default is not _MISSING:
            known[f"_{name}_default"] = one.default
            parameters.append(f"{name}=_{name}_default" if one.init else "")
            value = name if one.init else f"_{name}_default"
        elif one.init:
            parameters.append(name)
        else:
            continue  # of __post_init__
        lines.append(f"  self.{name} = {value}\n")
    after = "  self.__post_init__()\n" if hasattr(owner, "__post_init__") else ""
    source = (
        f"def _make({', '.join(known)}):\n"
        f" def __init__({', '.join(filter(None, ['self', *parameters]))}):\n"
        f"  _freeze(self, '__class__', _Thawed)\n{''.join(lines)}  self.__class__ = _Frozen\n{after} return __init__\n"
    )
    found: dict[str, Any] = {}
    exec(source, getattr(owner, _LAYOUT).names, found)  # there typing.get_type_hints() finds what annotations name
    made = found["_make"](**known)
    made.__qualname__ = f"{owner.__qualname__}.__init__"
    made.__module__ = owner.__module__
    made.__annotations__ = {name: one.type for name, one in declared.items() if one.init} | {"return": None}
    return made


def _repr(self: Any) -> str:
    texts = [f"{one.name}={getattr(self, one.name)!r}" for one in getattr(self, _LAYOUT).fields.values() if one.repr]
    return f"{type(self).__qualname__}({', '.join(texts)})"


# pprint and pytest write a value over several lines when its method wraps one that dataclasses wrote.
_repr.__wrapped__ = FunctionType(_repr.__code__, globals(), "__repr__")  # type: ignore[attr-defined]
_repr.__wrapped__.__qualname__ = "__create_fn__.<locals>.__repr__"  # type: ignore[attr-defined]


class _Params:
    """How the classes were made, as ``dataclasses`` keeps it."""

    __slots__ = ()
    init = repr = eq = frozen = slots = match_args = True
    order = unsafe_hash = kw_only = weakref_slot = False


_PARAMS = _Params()


def _set(self: Any, name: str, value: Any) -> None:
    raise _frozen_error(f"cannot assign to field {name!r}")


def _delete(self: Any, name: str) -> None:
    raise _frozen_error(f"cannot delete field {name!r}")


def _frozen_error(message: str) -> Exception:
    try:
        from dataclasses import FrozenInstanceError
    except ImportError:  # in a guest
        return AttributeError(message)
    return FrozenInstanceError(message)


def _state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in getattr(self, _LAYOUT).fields]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(getattr(self, _LAYOUT).fields, state, strict=True):
        object.__setattr__(self, name, value)


class _Standard:
    """The fields as ``dataclasses`` has them, made when somebody asks: that module imports much."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.owner = owner

    def __get__(self, value: Any, cls: type[Any]) -> Any:
        import dataclasses

        found = {}
        for name, one in getattr(self.owner, _LAYOUT).fields.items():
            given = {what: getattr(one, what) for what in ("default", "default_factory") if _has(one, what)}
            made = found[name] = dataclasses.field(init=one.init, repr=one.repr, compare=one.compare, **given)
            made.name, made.type = name, one.type
            made._field_type = dataclasses._FIELD  # type: ignore[attr-defined]  # dataclasses.fields() looks at it
        self.owner.__dataclass_fields__ = found
        return found


def _has(one: _Field, what: str) -> bool:
    return getattr(one, what) is not _MISSING


_METHODS: dict[str, Any] = {
    "__repr__": _repr,
    "__setattr__": _set,
    "__delattr__": _delete,
    "__replace__": _replace,
    "__getstate__": _state,
    "__setstate__": _set_state,
}
if not TYPE_CHECKING:
    MISSING, asdict, dataclass, field = _MISSING, _asdict, _dataclass, _field
    fields, is_dataclass, replace = _fields, _is_dataclass, _replace
