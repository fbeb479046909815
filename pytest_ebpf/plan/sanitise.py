"""The BTF of an object, changed so that this kernel accepts it. Type ids and string offsets stay the same.

Three things are wrong with BTF as compilers write it: sections have no sizes and offsets (the symbol table has them);
newer kinds are unknown to older kernels, which is handled as libbpf does (src/libbpf.c, bpf_object__sanitize_btf): each
kind is replaced by an older one of the same size; and some compilers write what no kernel accepts: names where none
are allowed (Zig), names that are too long (Rust), two encodings of one integer (GCC 12), functions without a type
(clang -g1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.functions import is_function
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import BtfType, Kind
from pytest_ebpf.btf.write import rewrite_btf
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.uapi.btf import Linkage

__all__ = ["SectionLayout", "place_variables", "sanitise_btf"]

# Compilers insert calls of these; as global functions they would be verified on their own, and fail.
_BUILTINS = ("memset", "memcpy", "memmove", "memcmp", "bcmp")
_ODD = re.compile(r"[^A-Za-z0-9_]|^(?=[0-9])")  # not allowed in identifiers: such characters, or a digit first
_ODD_IN_SECTION = re.compile(r"[^A-Za-z0-9_.]")
_NOTHING = t.Modifier(Kind.CONST, 0)  # "const void": without meaning, and every kernel accepts it
_INT8 = 8
# Kinds that every kernel accepts as they are; and those of which only names can be wrong, with the words that hold
# them.
_SETTLED = frozenset((Kind.INT, Kind.PTR, Kind.ARRAY, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT))
_NAMES: dict[int, slice] = {
    Kind.STRUCT: slice(0, None, 3),
    Kind.UNION: slice(0, None, 3),
    Kind.FWD: slice(1),
    Kind.TYPEDEF: slice(1),
}
# Likewise on a kernel that knows the feature; the first item begins at word 3. A parameter without a name may need one.
_NAMES_WITH: dict[int, tuple[str, int]] = {
    Kind.ENUM: ("enum64", 2),
    Kind.ENUM64: ("enum64", 3),
    Kind.FUNC_PROTO: ("func", 2),
}
_NAMED = (t.Struct, t.Enum, t.Fwd, t.Typedef, t.Func, t.Var)
# btf.c: KSYM_NAME_LEN less the NUL; it is 128 before Linux 6.1 and 512 since. Rust and Zig write longer names.
_LONGEST_NAME = 127
_SOUND_NAME = re.compile(rb"(?:[A-Za-z_][A-Za-z0-9_]{0,126})?\0")


@dataclass(frozen=True, slots=True)
class SectionLayout:
    """Where the variables of a section lie: name -> (offset, size) in bytes, in a section of ``size`` bytes."""

    size: int
    variables: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Work:
    """What the rewriting of one type may need. ``protos``: prototypes of functions, whose parameters need names.
    ``int64``: the id of an integer of 8 bytes, appended where ENUM64 has to go."""

    btf: Btf
    features: frozenset[str]
    layouts: Mapping[int, SectionLayout]
    static: frozenset[str]
    protos: frozenset[int]
    int64: int

    def can(self, feature: str) -> bool:
        return feature in self.features


def sanitise_btf(
    obj: ObjectFile,
    *,
    features: frozenset[str],
    layouts: Mapping[int, SectionLayout],
    append: Sequence[BtfType] = (),
) -> bytes:
    """BTF for BPF_BTF_LOAD. ``features``: names in ``BTF_FEATURES``. ``layouts``: DATASEC id -> its variables;
    sections without one are left out: the kernel does not need them (.maps, .ksyms, license). ``append``: types that
    follow the last one, changed like the others.

    A type that cannot be kept becomes one without meaning; no id changes.
    """
    btf = obj.btf
    assert btf is not None
    unusual = btf.unusual_records()
    doubtful = {type_id: btf.type(type_id) for type_id in (*_doubtful(btf, features), *unusual)}
    blank = _blank_ids(btf, doubtful, layouts=layouts)
    added = dict(enumerate(append, len(btf)))
    functions = (*(type_ for i, type_ in doubtful.items() if i not in blank), *append)
    work = _Work(
        btf=btf,
        features=features,
        layouts=layouts,
        static=frozenset(f.name for f in obj.text if f.is_hidden) | frozenset(_BUILTINS),
        protos=frozenset(type_.type for type_ in functions if isinstance(type_, t.Func)),
        int64=len(btf) + len(append),
    )
    changed: dict[int, BtfType] = dict.fromkeys(blank, _NOTHING)
    for type_id, type_ in doubtful.items():
        if type_id not in blank:
            fixed = _fixed(type_, work, type_id=type_id)
            if fixed != type_ or type_id in unusual:
                changed[type_id] = fixed
    enums = any(type_.kind == Kind.ENUM64 for type_ in doubtful.values()) and not work.can("enum64")
    extra = [_fixed(type_, work, type_id=type_id) for type_id, type_ in added.items()]
    return rewrite_btf(btf, changed, append=[*extra, t.Int("enum64_placeholder", 8, 64)] if enums else extra)


def _doubtful(btf: Btf, features: frozenset[str]) -> list[int]:
    """Types that may have to change. Most of any BTF are structs; their names are looked at without reading them."""
    kinds = list(zip(btf.ids(), btf.kinds(), strict=True))
    names: set[int] = set()
    doubtful: set[int] = set()
    known = {kind: width for kind, (feature, width) in _NAMES_WITH.items() if feature in features}
    for type_id, kind in kinds:
        if kind in _NAMES:
            names.update(btf.record(type_id)[_NAMES[kind]])
        elif kind in known:
            record = btf.record(type_id)
            items = record[3 :: known[kind]]
            if kind == Kind.FUNC_PROTO and 0 in items:
                doubtful.add(type_id)
            names.add(record[0])
            names.update(items)
    strings, match = btf.strings, _SOUND_NAME.match
    sound = all(match(strings, offset) for offset in names)
    settled = _SETTLED.union(_NAMES, known) if sound else _SETTLED
    return [type_id for type_id, kind in kinds if kind not in settled or type_id in doubtful]


def _blank_ids(btf: Btf, doubtful: Mapping[int, BtfType], *, layouts: Mapping[int, SectionLayout]) -> frozenset[int]:
    """Types to leave out: sections without a layout and the externs in them, unknown kinds, and the tags on any of
    those."""
    blank: set[int] = set()
    for type_id, type_ in doubtful.items():
        if isinstance(type_, t.Opaque) or (isinstance(type_, t.Func) and not is_function(btf, type_id)):
            blank.add(type_id)
        elif isinstance(type_, t.Var) and not btf.known_size(type_id):
            blank.add(type_id)  # of type void: clang 14 writes it for a complex number
        elif isinstance(type_, t.DataSec) and type_id not in layouts:
            blank.add(type_id)
            blank.update(entry.type for entry in type_.vars if _is_extern(btf.type(entry.type)))
    tags = (i for i, type_ in doubtful.items() if isinstance(type_, t.DeclTag) and type_.type in blank)
    return frozenset(blank.union(tags))


def _is_extern(type_: BtfType) -> bool:
    return isinstance(type_, t.Func | t.Var) and type_.linkage == Linkage.EXTERN


def _fixed(type_: BtfType, work: _Work, *, type_id: int) -> BtfType:
    if isinstance(type_, t.DataSec):
        return _datasec(type_, work, layout=work.layouts[type_id])
    if isinstance(type_, t.FuncProto):
        return _func_proto(type_, work, named=type_id in work.protos)
    fix = _FIXES.get(type(type_))
    return fix(_renamed(type_), work) if fix else _renamed(type_)


def _renamed(type_: Any) -> Any:
    """Rust and C++ write names that no kernel takes. Kinds with free names (INT, FLOAT, tags) pass."""
    if isinstance(type_, _NAMED) and _is_odd(type_.name):
        return replace(type_, name=_plain(type_.name))
    return type_


def _is_odd(name: str) -> bool:
    return len(name) > _LONGEST_NAME or _ODD.search(name) is not None


def _plain(name: str) -> str:
    return _ODD.sub("_", name)[:_LONGEST_NAME]


def _struct(type_: t.Struct, work: _Work) -> BtfType:
    if not any(_is_odd(member.name) for member in type_.members):
        return type_
    members = tuple(replace(member, name=_plain(member.name)) for member in type_.members)
    return replace(type_, members=members)


def _enum(type_: t.Enum, work: _Work) -> BtfType:
    if any(_is_odd(name) for name, _ in type_.values):
        type_ = replace(type_, values=tuple((_plain(name), number) for name, number in type_.values))
    if work.can("enum64"):
        return type_
    if type_.is_64:
        members = tuple(t.Member(name, work.int64, 0) for name, _ in type_.values)
        return t.Struct(type_.name, type_.size, members, is_union=True)
    return replace(type_, signed=False)  # the sign came with ENUM64


def _func_proto(type_: t.FuncProto, work: _Work, *, named: bool) -> BtfType:
    params = type_.params
    if named:
        params = tuple(t.Param(_plain(p.name) or f"arg{at}", p.type) if p.type else p for at, p in enumerate(params))
    if not work.can("func"):
        return t.Enum("", 4, tuple((param.name, param.type) for param in params))
    return type_ if params == type_.params else replace(type_, params=params)


def _func(type_: t.Func, work: _Work) -> BtfType:
    if not work.can("func"):
        return t.Typedef(type_.name, type_.type)
    keeps = type_.linkage == Linkage.GLOBAL and type_.name not in work.static and work.can("func_global")
    return type_ if keeps else replace(type_, linkage=Linkage.STATIC)


def _var(type_: t.Var, work: _Work) -> BtfType:
    if not work.can("datasec"):
        return t.Int(type_.name, 1, _INT8)
    return (
        replace(type_, linkage=Linkage.GLOBAL) if type_.linkage == Linkage.EXTERN else type_
    )  # of .kconfig: defined by now


def _datasec(type_: t.DataSec, work: _Work, *, layout: SectionLayout) -> BtfType:
    entries = place_variables(type_, btf=work.btf, layout=layout)
    size = max(layout.size, 1)
    if not work.can("datasec"):
        members = tuple(t.Member(work.btf.name(entry.type), entry.type, entry.offset * 8) for entry in entries)
        return t.Struct(_plain(type_.name), size, members)
    name = type_.name if work.can("datasec_name") else _ODD_IN_SECTION.sub("_", type_.name)
    return t.DataSec(name, size, entries)


def place_variables(type_: t.DataSec, *, btf: Btf, layout: SectionLayout) -> tuple[t.SecVar, ...]:
    """The variables by rising offset. A variable that does not fit its place is dropped: the kernel would refuse it."""
    found = []
    seen: dict[str, int] = {}
    for entry in type_.vars:
        name = btf.name(entry.type)
        seen[name] = seen.get(name, 0) + 1
        numbered = name if seen[name] == 1 else f"{name}#{seen[name]}"  # static variables of several files
        offset, size = layout.variables.get(numbered, (0, 0))
        if 0 < btf.known_size(entry.type) <= size and offset + size <= layout.size:
            found.append(t.SecVar(entry.type, offset, size))
    found.sort(key=lambda entry: entry.offset)
    entries: list[t.SecVar] = []
    end = 0
    for entry in found:
        if entry.offset >= end:
            entries.append(entry)
            end = entry.offset + entry.size
    return tuple(entries)


def _float(type_: t.Float, work: _Work) -> BtfType:
    return type_ if work.can("float") else t.Struct("", type_.size, ())


def _decl_tag(type_: t.DeclTag, work: _Work) -> BtfType:
    if not work.can("decl_tag"):
        return t.Int(type_.name, 1, _INT8)
    return type_ if work.can("attribute") else replace(type_, is_attr=False)


def _modifier(type_: t.Modifier, work: _Work) -> BtfType:
    known = work.can("type_tag") and (not type_.is_attr or work.can("attribute"))
    if type_.kind != Kind.TYPE_TAG:
        return replace(type_, name="")
    return type_ if known else t.Modifier(Kind.CONST, type_.type)


def _int(type_: t.Int, work: _Work) -> BtfType:
    """Keep the sign when there are several encodings: GCC 12 writes ``char`` as signed and a character."""
    return replace(type_, is_char=False, is_bool=False) if type_.signed else replace(type_, is_char=False)


_FIXES: dict[type, Callable[[Any, _Work], BtfType]] = {
    t.Struct: _struct,
    t.Enum: _enum,
    t.Func: _func,
    t.Var: _var,
    t.Float: _float,
    t.DeclTag: _decl_tag,
    t.Modifier: _modifier,
    t.Int: _int,
}
