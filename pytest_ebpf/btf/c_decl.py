"""C declarations of BTF types: declarators, and the bodies of structs, unions and enums."""

from __future__ import annotations

import re

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.c_layout import Piece, c_layout
from pytest_ebpf.btf.c_names import CNames, float_spelling, identifier, int_spelling
from pytest_ebpf.btf.c_order import needs_alias
from pytest_ebpf.btf.layout import MAX_DEPTH
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import ObjectError

__all__ = ["CDeclarer", "keyword"]

_QUALIFIERS = {t.Kind.CONST: "const", t.Kind.VOLATILE: "volatile", t.Kind.RESTRICT: "restrict"}
_MODES = {1: "QI", 2: "HI", 8: "DI"}  # GCC's names of integer sizes; clang has them too
_PACKED = " __attribute__((packed))"
_LONG = 64  # bits
_INT_MIN, _LONG_MIN = -(1 << 31), -(1 << 63)


class CDeclarer:
    """Writes types of one ``Btf``, with the names given by ``names``."""

    def __init__(self, btf: Btf, names: CNames) -> None:
        self._btf = btf
        self._names = names
        # A type without a name is written wherever it is used: two uses per level make 2^32 at level 32.
        self._left = 4 * len(btf) + 10_000

    def declare(self, type_id: int, inner: str = "", *, depth: int = 0) -> str:
        """A declaration of ``inner`` as a ``type_id``: "int (*inner)(void *)". ``depth`` counts tabs."""
        self._left -= 1
        if self._left < 0:
            raise ObjectError("types without names repeat over and over: the BTF is damaged", section=".BTF")
        quals: list[str] = []
        for _ in range(2 * MAX_DEPTH):
            found = self._btf.type(type_id)
            if isinstance(found, t.Modifier):
                quals += self._qualifier(found, quals=quals)
                type_id = found.type
            elif isinstance(found, t.Ptr):
                inner, quals = "*" + " ".join([*quals, inner]), []
                type_id = found.type
            elif isinstance(found, t.Array):
                inner = f"{_wrapped(inner)}[{found.nelems}]"
                type_id = found.type
            elif isinstance(found, t.FuncProto):
                inner, quals = f"{_wrapped(inner)}({self._params(found, depth=depth)})", []
                type_id = found.ret
            else:
                break
        else:
            raise ObjectError(f"BTF type {type_id} nests too deep to be written in C", section=".BTF")
        quals = [word for word in quals if word != "restrict" or isinstance(found, t.Typedef)]
        return " ".join(filter(None, (*quals, self._base(found, type_id=type_id, depth=depth), inner)))

    def _qualifier(self, found: t.Modifier, *, quals: list[str]) -> list[str]:
        word = _QUALIFIERS.get(found.kind) or f"__attribute__(({_tag(found)}))"
        return [] if word in quals else [word]

    def prototype(self, name: str, proto: t.FuncProto) -> str:
        """A function with the names of its parameters: "int name(void *ctx, u32 len)"."""
        return self.declare(proto.ret, f"{name}({self._params(proto, depth=0, named=True)})")

    def _params(self, proto: t.FuncProto, *, depth: int, named: bool = False) -> str:
        texts = [self._param(param, depth=depth, name=param.name if named else "") for param in proto.params]
        # a lone ``...`` is not valid C before C23
        return ", ".join(texts) if texts != ["..."] else ""

    def _param(self, param: t.Param, *, depth: int, name: str) -> str:
        return self.declare(param.type, identifier(name), depth=depth) if param.type else "..."

    def _base(self, found: t.BtfType, *, type_id: int, depth: int) -> str:
        names = self._names
        match found:
            case t.Struct() if not found.name:
                return self.body(type_id, found, depth=depth)
            case t.Enum() if not found.name:
                return self.enum_body(found, depth=depth)
            case t.Struct() | t.Fwd() | t.Enum():
                return f"{keyword(found)} {names.tag(type_id)}"
            case t.Int() | t.Float():
                return names.ident(type_id) if needs_alias(found) else _number(found)
            case t.Typedef():
                return names.ident(type_id)
        return "void"

    def body(self, type_id: int, struct: t.Struct, *, depth: int = 0, tag: str = "") -> str:
        """ "struct tag { ... }" with its attributes. ObjectError when it contains itself."""
        if depth > MAX_DEPTH:
            raise ObjectError(f"BTF type {type_id} nests too deep to be written in C", section=".BTF")
        layout = c_layout(self._btf, type_id)
        lines = [f"{keyword(struct)} {tag} {{" if tag else f"{keyword(struct)} {{"]
        indent = "\t" * (depth + 1)
        if layout.opaque:
            lines.append(f"{indent}unsigned char bytes[{struct.size}]; /* C has no struct with the layout in BTF */")
        lines += [f"{indent}{self._line(piece, depth=depth + 1)};" for piece in layout.pieces]
        closing = "\t" * depth + "}"
        return "\n".join([*lines, closing + (_PACKED if layout.packed else "")])

    def _line(self, piece: Piece, *, depth: int) -> str:
        member = piece.member
        if member is None:
            return _filler(piece.bits)
        if not member.name:
            # an unnamed member needs -fms-extensions if its struct has a tag; without the tag it does not
            inner_id = self._btf.resolve(member.type)
            inner = self._btf.type(inner_id)
            assert isinstance(inner, t.Struct)
            return self.body(inner_id, inner, depth=depth)
        text = self.declare(member.type, identifier(member.name), depth=depth)
        return f"{text}: {piece.bits}" if piece.bits else text

    def enum_body(self, enum: t.Enum, *, depth: int = 0, tag: str = "") -> str:
        """ "enum tag { ... }"; ``enum tag`` alone when BTF has no values for it."""
        head = f"enum {tag}" if tag else "enum"
        if not enum.values:
            return head if tag else "int"
        indent = "\t" * (depth + 1)
        values = [f"{indent}{self._names.enumerator(name)} = {_enum_number(number)}," for name, number in enum.values]
        mode = f" __attribute__((mode({_MODES[enum.size]})))" if _needs_mode(enum) else ""
        return "\n".join([f"{head} {{", *values, "\t" * depth + "}" + mode])


def keyword(found: t.Struct | t.Fwd | t.Enum) -> str:
    """struct, union or enum: what goes before the tag."""
    if isinstance(found, t.Enum):
        return "enum"
    return "union" if found.is_union else "struct"


def _wrapped(inner: str) -> str:
    return f"({inner})" if inner.startswith("*") else inner


def _tag(found: t.Modifier) -> str:
    if found.is_attr:  # the tag is an attribute: address_space(1) of arena pointers
        return re.sub(r"[^\w(), ]", "_", found.name)
    text = found.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'btf_type_tag("{text}")'


def _number(found: t.Int | t.Float) -> str:
    return float_spelling(found) if isinstance(found, t.Float) else int_spelling(found)


def _filler(bits: int) -> str:
    if bits <= _LONG:
        return f"long :{bits}"
    longs, rest = divmod(bits, _LONG)
    fields = [f"long :{_LONG};"] * longs + ([f"long :{rest};"] if rest else [])
    return f"struct {{ {' '.join(fields)} }}{_PACKED}"


def _needs_mode(enum: t.Enum) -> bool:
    """Whether a compiler would choose another size."""
    wide = any(not _INT_MIN <= number < 1 << 32 for _, number in enum.values)
    # both below 0 and above INT_MAX: neither int nor unsigned int holds them all
    wide = wide or (
        any(number < 0 for _, number in enum.values) and any(number >= 1 << 31 for _, number in enum.values)
    )
    return enum.size in _MODES and enum.size != (8 if wide else 4)


def _enum_number(number: int) -> str:
    if number == _LONG_MIN:
        return f"({number + 1}LL - 1)"  # C reads it as the negative of a number that does not fit any type
    if number >= 1 << 63:
        return f"{number}ULL"
    return f"{number}LL" if not _INT_MIN <= number < 1 << 32 else str(number)
