"""The type of the context of a program that chooses it itself."""

from __future__ import annotations

from pytest_ebpf.btf.types import Func, FuncProto, Ptr, Struct
from pytest_ebpf.live.typed.shape import Shape
from pytest_ebpf.obj.object import ObjectFile, ProgramDef

__all__ = ["first_parameter"]


def first_parameter(obj: ObjectFile, definition: ProgramDef) -> Shape | None:
    """What the parameter of a program points to, from the prototype of its function; None without BTF."""
    btf = obj.btf
    if btf is None or not definition.btf_id:
        return None
    func = btf.type(definition.btf_id)
    proto = btf.type(func.type) if isinstance(func, Func) else None
    if not isinstance(proto, FuncProto) or not proto.params:
        return None
    pointer = btf.type(btf.resolve(proto.params[0].type))
    target = btf.resolve(pointer.type) if isinstance(pointer, Ptr) else 0
    if not isinstance(btf.type(target), Struct):
        return None
    return Shape(f"context of {definition.name}", btf.size(target), btf.byteorder, btf, target)
