"""A type's name as C would write it."""

from __future__ import annotations

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Enum, FuncProto, Fwd, Kind, Modifier, Ptr, Struct

__all__ = ["describe"]

_LIMIT = 16
_PARAMS = 16  # parameters shown of a signature; signatures nest less deep, as each has many parts
_PARAM_DEPTH = 6
_QUALIFIERS = {Kind.CONST: "const", Kind.VOLATILE: "volatile", Kind.RESTRICT: "restrict"}


def describe(btf: Btf, type_id: int) -> str:
    """A short name: "struct task_struct *", "char[16]", "int (*)(void *, int)"; "…" where it nests very deep."""
    return _declare(btf, type_id, inner="", depth=0)


def _declare(btf: Btf, type_id: int, *, inner: str, depth: int) -> str:
    """The declaration of the type around ``inner``, the C declarator built so far."""
    if depth > _LIMIT:
        return f"…{inner}"
    found = btf.type(type_id)
    if isinstance(found, Ptr):
        target = btf.type(found.type)
        wrapped = f"(*{inner})" if isinstance(target, Array | FuncProto) else f"*{inner}"
        return _declare(btf, found.type, inner=wrapped, depth=depth + 1)
    if isinstance(found, Array):
        return _declare(btf, found.type, inner=f"{inner}[{found.nelems or ''}]", depth=depth + 1)
    if isinstance(found, FuncProto):
        params = _params(btf, found, depth=depth + _PARAM_DEPTH)
        return _declare(btf, found.ret, inner=f"{inner}({params or 'void'})", depth=depth + 1)
    if isinstance(found, Modifier):
        return _qualified(btf, found, inner=inner, depth=depth)
    return _base(found) + (f" {inner}" if inner[:1] in ("*", "(") else inner)


def _params(btf: Btf, proto: FuncProto, *, depth: int) -> str:
    shown = [
        _declare(btf, param.type, inner="", depth=depth) if param.type else "..." for param in proto.params[:_PARAMS]
    ]
    return ", ".join(shown + ["…"] * (len(proto.params) > _PARAMS))


def _qualified(btf: Btf, modifier: Modifier, *, inner: str, depth: int) -> str:
    word = _QUALIFIERS.get(modifier.kind)
    if word and isinstance(btf.type(modifier.type), Ptr):
        return _declare(btf, modifier.type, inner=f" {word}{inner}", depth=depth + 1)
    text = _declare(btf, modifier.type, inner=inner, depth=depth + 1)
    return f"{word} {text}" if word else text


def _base(found: object) -> str:
    name = getattr(found, "name", "") or "(anonymous)"
    if isinstance(found, Struct | Fwd):
        return f"{'union' if found.is_union else 'struct'} {name}"
    return f"enum {name}" if isinstance(found, Enum) else str(name)
