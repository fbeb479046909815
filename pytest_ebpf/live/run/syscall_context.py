"""The structure that a SYSCALL program takes: the first parameter of its function."""

from __future__ import annotations

from pytest_ebpf.btf.types import Func, FuncProto, Ptr, Struct
from pytest_ebpf.live.run.rules import RUN_RULES
from pytest_ebpf.live.typed.shape import Shape
from pytest_ebpf.obj.object import ObjectFile, ProgramDef

__all__ = ["shape_of_context"]


def shape_of_context(obj: ObjectFile, definition: ProgramDef, *, prog_type: int) -> Shape | None:
    """How its bytes are laid out; None for other types, and where the object does not say it."""
    rule, btf = RUN_RULES.get(prog_type), obj.btf
    if rule is None or rule.context != "bytes" or btf is None or not definition.btf_id:
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
