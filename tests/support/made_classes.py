"""The Python module that is made from BTF, run, and its classes held against what the BTF says."""

from __future__ import annotations

import ctypes
from typing import Any

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.py_source import render_python
from pytest_ebpf.btf.types import Struct
from pytest_ebpf.btf.value_type import python_type

__all__ = ["check_places", "run_classes"]


def run_classes(btf: Btf, *types: int) -> dict[str, Any]:
    """What the module defines."""
    namespace: dict[str, Any] = {"__name__": "made"}
    exec(compile(render_python(btf, types or None), "made", "exec"), namespace)
    return namespace


def check_places(btf: Btf, made: dict[str, Any]) -> int:
    """Size and offset of every field of every struct whose name is its own; how many fields that were."""
    count = 0
    for type_id, found in btf:
        if not isinstance(found, Struct) or not found.name or len(btf.find(found.name)) > 1:
            continue
        spellings = (found.name, f"{found.name}_", f"{found.name}___2")  # struct class, struct property
        cls = next(made[one] for one in spellings if one in made and hasattr(made[one], "_fields_"))
        assert ctypes.sizeof(cls) == found.size, found.name
        if any(name == "_pad_0" and _size_of(cls, name) == found.size for name, *_ in cls._fields_):
            continue  # bitfields only, or fields that overlap
        for place in python_type(btf, type_id).fields.values():
            if place.bits or not hasattr(cls, place.name):
                continue
            attribute = getattr(cls, place.name)
            assert (attribute.offset, attribute.size) == (place.offset, place.size), (found.name, place.name)
            count += 1
    return count


def _size_of(cls: Any, name: str) -> int:
    size: int = getattr(cls, name).size
    return size
