"""A tuple as the fields of a struct, in order, as C initialises one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Struct

__all__ = ["positional"]


def positional(btf: Btf, type_id: int, *, values: tuple[Any, ...]) -> dict[str, Any]:
    """The members of a (stripped) struct, or the first of a union, with ``values`` in order. An anonymous member takes
    one value: a tuple or dict of its fields, and of a union also the value of its first member.

    ``ValueError`` when there are more or fewer values.
    """
    struct = btf.type(type_id)
    assert isinstance(struct, Struct)
    listed = [one for one in struct.members if one.name or isinstance(btf.type(btf.resolve(one.type)), Struct)]
    members = listed[:1] if struct.is_union else listed
    if len(values) != len(members):
        names = ", ".join(member.name or "(anonymous)" for member in members)
        raise ValueError(f"has {len(members)} members ({names}), got {len(values)} values")
    given: dict[str, Any] = {}
    for member, value in zip(members, values, strict=True):
        if member.name:
            given[member.name] = value
            continue
        inner = btf.resolve(member.type)
        if isinstance(value, Mapping):
            given |= value
        else:
            given |= positional(btf, inner, values=value if isinstance(value, tuple) else (value,))
    return given
