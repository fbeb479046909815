"""BTF types as values.

One frozen class per shape of record (include/uapi/linux/btf.h, kinds 1-19). ``type`` fields hold type ids, so a value
means something only together with the ``Btf`` it came from; id 0 is void. Sizes and ``offset`` are bytes, ``bits`` and
``bit_*`` are bits.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.uapi.btf import Kind

__all__ = [
    "Array",
    "BtfType",
    "DataSec",
    "DeclTag",
    "Enum",
    "Float",
    "Func",
    "FuncProto",
    "Fwd",
    "Int",
    "Kind",
    "Member",
    "Modifier",
    "Opaque",
    "Param",
    "Ptr",
    "SecVar",
    "Struct",
    "Typedef",
    "Var",
    "Void",
    "essential_name",
]


@dataclass(frozen=True, slots=True)
class Void:
    """Type id 0."""

    kind: ClassVar[Kind] = Kind.VOID
    name: ClassVar[str] = "void"


@dataclass(frozen=True, slots=True)
class Int:
    """``size`` bytes of storage of which ``bits`` count, from bit ``offset`` (always 0 since Linux 5.0)."""

    kind: ClassVar[Kind] = Kind.INT
    name: str
    size: int
    bits: int
    signed: bool = False
    is_char: bool = False
    is_bool: bool = False
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Ptr:
    """A pointer, to void when ``type`` is 0."""

    kind: ClassVar[Kind] = Kind.PTR
    name: ClassVar[str] = ""
    type: int


@dataclass(frozen=True, slots=True)
class Array:
    """``nelems`` elements; 0 for ``T x[]``."""

    kind: ClassVar[Kind] = Kind.ARRAY
    name: ClassVar[str] = ""
    type: int
    index_type: int
    nelems: int


@dataclass(frozen=True, slots=True)
class Member:
    """``bit_size`` is 0 unless the member is a bitfield. An anonymous struct or union has the name ""."""

    name: str
    type: int
    bit_offset: int
    bit_size: int = 0


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct, or a union when ``is_union``."""

    name: str
    size: int
    members: tuple[Member, ...]
    is_union: bool = False

    @property
    def kind(self) -> Kind:
        return Kind.UNION if self.is_union else Kind.STRUCT


@dataclass(frozen=True, slots=True)
class Enum:
    """``values``: (name, number) in source order; numbers are negative only when ``signed``.

    Compilers before LLVM 15 do not mark signed enums: -1 then reads as 0xffffffff.
    """

    name: str
    size: int
    values: tuple[tuple[str, int], ...]
    signed: bool = False
    is_64: bool = False

    @property
    def kind(self) -> Kind:
        return Kind.ENUM64 if self.is_64 else Kind.ENUM


@dataclass(frozen=True, slots=True)
class Fwd:
    """A struct or union that is only declared."""

    kind: ClassVar[Kind] = Kind.FWD
    name: str
    is_union: bool = False


@dataclass(frozen=True, slots=True)
class Typedef:
    """Another name for ``type``."""

    kind: ClassVar[Kind] = Kind.TYPEDEF
    name: str
    type: int


@dataclass(frozen=True, slots=True)
class Modifier:
    """VOLATILE, CONST, RESTRICT (no name) or TYPE_TAG (the tag is the name)."""

    kind: Kind
    type: int
    name: str = ""
    is_attr: bool = False


@dataclass(frozen=True, slots=True)
class Func:
    """``type`` is a FuncProto. ``linkage``: 0 static, 1 global, 2 extern."""

    kind: ClassVar[Kind] = Kind.FUNC
    name: str
    type: int
    linkage: int = 0


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. A last parameter with name "" and type 0 stands for ``...``."""

    name: str
    type: int


@dataclass(frozen=True, slots=True)
class FuncProto:
    """The signature of a function; ``ret`` 0 is void."""

    kind: ClassVar[Kind] = Kind.FUNC_PROTO
    name: ClassVar[str] = ""
    ret: int
    params: tuple[Param, ...] = ()


@dataclass(frozen=True, slots=True)
class Var:
    """``linkage``: 0 static, 1 global, 2 extern."""

    kind: ClassVar[Kind] = Kind.VAR
    name: str
    type: int
    linkage: int = 0


@dataclass(frozen=True, slots=True)
class SecVar:
    """A variable of a section: ``type`` is a Var (or, for kfuncs in ".ksyms", a Func)."""

    type: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class DataSec:
    """An ELF section of variables. Compilers leave sizes and offsets at 0; the symbol table has them."""

    kind: ClassVar[Kind] = Kind.DATASEC
    name: str
    size: int
    vars: tuple[SecVar, ...] = ()


@dataclass(frozen=True, slots=True)
class Float:
    """A floating-point number of ``size`` bytes."""

    kind: ClassVar[Kind] = Kind.FLOAT
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class DeclTag:
    """A tag on ``type``, or on its member or parameter ``component`` when that is not -1."""

    kind: ClassVar[Kind] = Kind.DECL_TAG
    name: str
    type: int
    component: int = -1
    is_attr: bool = False


@dataclass(frozen=True, slots=True)
class Opaque:
    """A kind newer than this package, whose length the BTF itself gives. ``data`` follows the 12 bytes."""

    kind: int
    name: str
    info: int
    type: int
    data: bytes


BtfType: TypeAlias = (
    Void
    | Int
    | Ptr
    | Array
    | Struct
    | Enum
    | Fwd
    | Typedef
    | Modifier
    | Func
    | FuncProto
    | Var
    | DataSec
    | Float
    | DeclTag
    | Opaque
)


def essential_name(name: str) -> str:
    """``name`` without its flavour, by libbpf's rule (``bpf_core_essential_name_len``): cut before the *last* ``___``
    that has something other than ``_`` on both sides.

    >>> essential_name("task_struct___old"), essential_name("a___b___c"), essential_name("x____y")
    ('task_struct', 'a___b', 'x____y')
    """
    at = name.rfind("___")
    while at > 0:
        if at + 3 < len(name) and name[at - 1] != "_" and name[at + 3] != "_":
            return name[:at]
        at = name.rfind("___", 0, at + 2)
    return name
