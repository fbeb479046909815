"""A list whose items are made when somebody looks at one."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

__all__ = ["LaterList", "MadeList"]

T = TypeVar("T")


class MadeList(list[T]):
    """What a ``LaterList`` is from the first look on: a list in everything."""

    __slots__ = ("_count", "_make")


class LaterList(MadeList[T]):
    """``make`` gives the items, ``count`` of them; ``len`` does not need them. Many runs of a program are for what they
    leave in its maps, and then nobody looks at their results, whose making takes as long as a run.

    C code takes the items of a list without asking its methods only if it is a list and no subclass, but for adding it
    to another list (``__radd__``)."""

    __slots__ = ()

    def __init__(self, make: Callable[[], list[T]], *, count: int) -> None:
        super().__init__()
        self._make, self._count = make, count

    def __len__(self) -> int:
        return self._count

    def __radd__(self, before: list[T]) -> list[T]:
        return before + list(self)

    def __reduce_ex__(self, protocol: Any, /) -> Any:
        self._fill()
        return self.__reduce_ex__(protocol)  # that of the other class

    def _fill(self) -> None:
        items = self._make()
        list.__setitem__(self, slice(None), items)  # twice is as good as once, if two threads look at it
        self._make = list  # nothing is kept for it, and copies by pickle have it
        self.__class__ = MadeList  # type: ignore[assignment]  # which has the same fields


def _after_filling(name: str) -> Callable[..., Any]:
    plain = getattr(list, name)

    @wraps(plain)
    def method(self: LaterList[Any], /, *given: Any, **named: Any) -> Any:
        self._fill()
        return plain(self, *given, **named)

    return method


_OWN = ("__class_getitem__", "__doc__", "__getattribute__", "__hash__", "__init__", "__len__", "__new__")
for _name in sorted(set(vars(list)) - set(_OWN)):
    setattr(LaterList, _name, _after_filling(_name))
