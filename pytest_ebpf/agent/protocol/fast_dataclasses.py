"""What the agent uses of ``dataclasses``, made for a quick start. A guest's bundle holds this module under that name.

The standard module generates source and compiles it for each class, and imports ``inspect``: 40 ms of the agent's
60 ms of imports, which is 0.8 s of a guest's boot under emulation. Here a class gets shared methods. The host never
imports this; the contract suite runs on both.

Less than the original: no inheritance between dataclasses, ``frozen`` and ``slots`` always on, no ordering.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["MISSING", "Field", "dataclass", "field", "fields", "is_dataclass", "replace"]

_FIELDS = "__dataclass_fields__"


class _Missing:
    """The type of MISSING: there is no default."""


MISSING = _Missing()


class Field:
    """One field of a dataclass; ``type`` is its annotation as text. ``compare`` is for equality and hash alike."""

    __slots__ = ("compare", "default", "default_factory", "name", "type")

    def __init__(self, *, default: Any = MISSING, default_factory: Any = MISSING, compare: bool = True) -> None:
        self.name = ""
        self.type = ""
        self.default = default
        self.default_factory = default_factory
        self.compare = compare


def field(*, default: Any = MISSING, default_factory: Any = MISSING, compare: bool = True) -> Any:
    """A field with more to say than a default."""
    return Field(default=default, default_factory=default_factory, compare=compare)


def dataclass(*, frozen: bool, slots: bool) -> Callable[[type[Any]], type[Any]]:
    """The decorator. Both arguments have to be true, which is the rule of this project."""
    if not (frozen and slots):
        raise TypeError("dataclasses here are frozen and slotted")
    return _make


def fields(kind: Any) -> tuple[Field, ...]:
    """The fields of a dataclass, or of a value of one, in order."""
    return tuple(getattr(kind, _FIELDS).values())


def is_dataclass(kind: Any) -> bool:
    """Whether it is a dataclass, or a value of one."""
    return hasattr(kind, _FIELDS)


def replace(value: Any, /, **changes: Any) -> Any:
    """A copy with some fields changed."""
    return type(value)(**{name: getattr(value, name) for name in value.__slots__} | changes)


def _make(cls: type[Any]) -> type[Any]:
    body = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    declared = {}
    for name, kind in body.get("__annotations__", {}).items():
        default = body.pop(name, MISSING)
        one = declared[name] = default if isinstance(default, Field) else Field(default=default)
        one.name, one.type = name, kind
    names = tuple(declared)
    body |= {"__slots__": names, "__match_args__": names, _FIELDS: declared}
    for name, method in _METHODS.items():
        body.setdefault(name, method)
    made = type(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    return made


def _init(self: Any, *args: Any, **named: Any) -> None:
    declared = self.__dataclass_fields__
    if len(args) > len(declared):
        raise TypeError(f"{type(self).__name__} takes {len(declared)} fields, not {len(args)}")
    given = dict(zip(declared, args, strict=False))
    if given.keys() & named.keys() or named.keys() - declared.keys():
        raise TypeError(f"{type(self).__name__} has no place for {', '.join(named)}")
    given |= named
    for name, one in declared.items():
        value = given[name] if name in given else _default(self, one)
        object.__setattr__(self, name, value)
    if hasattr(self, "__post_init__"):
        self.__post_init__()


def _default(value: Any, one: Field) -> Any:
    if one.default is not MISSING:
        return one.default
    if one.default_factory is not MISSING:
        return one.default_factory()
    raise TypeError(f"{type(value).__name__} needs {one.name}")


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, one.name) for one in value.__dataclass_fields__.values() if one.compare)


def _equal(self: Any, other: object) -> Any:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _repr(self: Any) -> str:
    texts = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{type(self).__name__}({', '.join(texts)})"


def _frozen(self: Any, name: str, *value: Any) -> None:
    raise AttributeError(f"{type(self).__name__}.{name}: values are frozen")


_METHODS = {
    "__init__": _init,
    "__eq__": _equal,
    "__hash__": _hash,
    "__repr__": _repr,
    "__setattr__": _frozen,
    "__delattr__": _frozen,
}
