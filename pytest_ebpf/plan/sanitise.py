"""The BTF of an object, made such as this kernel takes it. Type ids and string offsets stay as they are.

Two things are wrong with BTF as compilers write it: sections have no sizes and offsets (the symbol table has them),
and newer kinds are unknown to older kernels. The second is handled as libbpf does (src/libbpf.c,
bpf_object__sanitize_btf), kind by kind, each replaced by an older one of the same size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.btf_blob import Strings, blob, info_word

__all__ = ["SectionLayout", "sanitise_btf"]

_BUILTINS = ("memset", "memcpy", "memmove", "memcmp", "bcmp")
_NAMED = frozenset((Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FWD, Kind.TYPEDEF, Kind.FUNC, Kind.VAR))
_ODD = re.compile(r"[^A-Za-z0-9_.]")
_VOID_CONST = (0, info_word(Kind.CONST), 0)  # a record that means nothing and that every kernel takes
_EXTERN = 2  # a linkage; the kernel knows static and global only
_INT8 = 8  # INT: no encoding, 8 bits


@dataclass(frozen=True, slots=True)
class SectionLayout:
    """Where the variables of a section lie: name -> (offset, size) in bytes, in a section of ``size`` bytes."""

    size: int
    variables: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Work:
    """What the rewriting of one record may need."""

    btf: Btf
    features: frozenset[str]
    strings: Strings
    layouts: Mapping[int, SectionLayout]
    static_functions: frozenset[str]
    blank: frozenset[int]
    named_protos: frozenset[int]
    placeholder: int


class _Fix(Protocol):
    """Makes one record acceptable; ``words`` is a copy and may be changed."""

    def __call__(self, words: list[int], work: _Work, *, type_id: int) -> list[int]: ...


def sanitise_btf(obj: ObjectFile, *, features: frozenset[str], layouts: Mapping[int, SectionLayout]) -> bytes:
    """BTF for BPF_BTF_LOAD. ``layouts``: per DATASEC id what is in it; sections without are left out.

    Raises nothing: what cannot be kept becomes a type without meaning, and no id changes.
    """
    btf = obj.btf
    assert btf is not None
    blank = _blank_ids(btf, layouts=layouts)
    work = _Work(
        btf=btf,
        features=features,
        strings=Strings(obj.btf_raw[slice(*btf.header.strings)]),
        layouts=layouts,
        static_functions=frozenset(f.name for f in obj.text if not f.is_global) | frozenset(_BUILTINS),
        blank=blank,
        named_protos=frozenset(btf.record(i)[2] for i in btf.ids() if btf.kind(i) == Kind.FUNC and i not in blank),
        placeholder=len(btf),
    )
    words: list[int] = []
    for type_id in btf.ids():
        words += _record(type_id, work)
    if "enum64" not in features:
        words += [work.strings.add("enum64_placeholder"), info_word(Kind.INT), 8, 64]
    return blob(words, bytes(work.strings), byteorder=btf.byteorder)


def _blank_ids(btf: Btf, *, layouts: Mapping[int, SectionLayout]) -> frozenset[int]:
    """Sections the kernel need not know (.maps, .ksyms, license), the externs in them, and the tags on those."""
    blank: set[int] = set()
    for type_id in btf.ids():
        kind = btf.kind(type_id)
        if kind == Kind.DATASEC and type_id not in layouts:
            blank.add(type_id)
            extern = (i for i in btf.record(type_id)[3::3] if _is_extern(btf, i))
            blank.update(extern)
        elif kind not in _KNOWN:
            blank.add(type_id)
    tags = {i for i in btf.ids() if btf.kind(i) == Kind.DECL_TAG and btf.record(i)[2] in blank}
    return frozenset(blank | tags)


def _is_extern(btf: Btf, type_id: int) -> bool:
    record = btf.record(type_id)
    if btf.kind(type_id) == Kind.FUNC:
        return record[1] & 0xFFFF == _EXTERN
    return btf.kind(type_id) == Kind.VAR and record[3] == _EXTERN


def _record(type_id: int, work: _Work) -> list[int]:
    if type_id in work.blank:
        return list(_VOID_CONST)
    words = list(work.btf.record(type_id))
    kind = work.btf.kind(type_id)
    if kind in _NAMED or kind == Kind.DATASEC:
        _fix_name(words, work)
    fix = _FIXES.get(kind)
    return fix(words, work, type_id=type_id) if fix else words


def _fix_name(words: list[int], work: _Work) -> None:
    """Rust and C++ write names that no kernel takes; section names may hold anything since 6.12 only."""
    name = work.btf.string(words[0])
    if not _ODD.search(name):
        return
    if (words[1] >> 24) & 0x1F == Kind.DATASEC and "datasec_name" in work.features:
        return
    words[0] = work.strings.add(_ODD.sub("_", name))


def _ptr(words: list[int], work: _Work, *, type_id: int) -> list[int]:
    words[0] = 0  # rustc names pointers
    return words


def _enum(words: list[int], work: _Work, *, type_id: int) -> list[int]:
    if "enum64" not in work.features:
        words[1] &= 0x7FFFFFFF  # the sign came with ENUM64
    return words


def _enum64(words: list[int], work: _Work, *, type_id: int) -> list[int]:
    if "enum64" in work.features:
        return words
    count = words[1] & 0xFFFFFF
    members = [word for at in range(3, 3 + 3 * count, 3) for word in (words[at], work.placeholder, 0)]
    return [words[0], info_word(Kind.UNION, vlen=count), words[2], *members]


def _func_proto(words: list[int], work: _Work, *, type_id: int) -> list[int]:
    count = words[1] & 0xFFFFFF
    if type_id in work.named_protos:
        for index in range(count):
            at = 3 + 2 * index
            if words[at + 1] and not words[at]:
                words[at] = work.strings.add(f"arg{index}")
    if "func" not in work.features:
        words[1:3] = info_word(Kind.ENUM, vlen=count), 4
    return words


def _func(words: list[int], work: _Work, *, type_id: int) -> list[int]:
    if "func" not in work.features:
        return [words[0], info_word(Kind.TYPEDEF), words[2]]
    static = work.btf.name(type_id) in work.static_functions or "func_global" not in work.features
    if words[1] & 0xFFFF == _EXTERN or (words[1] & 0xFFFF and static):
        words[1] = info_word(Kind.FUNC)
    return words


def _var(words: list[int], work: _Work, *, type_id: int) -> list[int]:
    if "datasec" not in work.features:
        return [words[0], info_word(Kind.INT), 1, _INT8]
    if words[3] == _EXTERN:
        words[3] = 1  # a .kconfig variable: defined now
    return words


def _datasec(words: list[int], work: _Work, *, type_id: int) -> list[int]:
    layout = work.layouts[type_id]
    variables = _placed(words, work, layout=layout)
    if "datasec" in work.features:
        rows = [word for var, offset, size in variables for word in (var, offset, size)]
        return [words[0], info_word(Kind.DATASEC, vlen=len(variables)), max(layout.size, 1), *rows]
    name = work.strings.add(work.btf.name(type_id).replace(".", "_"))
    members = [word for var, offset, _ in variables for word in (work.btf.record(var)[0], var, offset * 8)]
    return [name, info_word(Kind.STRUCT, vlen=len(variables)), max(layout.size, 1), *members]


def _placed(words: list[int], work: _Work, *, layout: SectionLayout) -> list[tuple[int, int, int]]:
    """(VAR, offset, size) by rising offset; what does not fit its place is dropped, the kernel would refuse it."""
    found = []
    for var in words[3::3]:
        place = layout.variables.get(work.btf.name(var))
        if place and 0 < work.btf.size(var) <= place[1]:
            found.append((var, *place))
    found.sort(key=lambda row: row[1])
    rows: list[tuple[int, int, int]] = []
    end = 0
    for var, offset, size in found:
        if end <= offset and offset + size <= layout.size:
            rows.append((var, offset, size))
            end = offset + size
    return rows


def _float(words: list[int], work: _Work, *, type_id: int) -> list[int]:
    return words if "float" in work.features else [0, info_word(Kind.STRUCT), words[2]]


def _decl_tag(words: list[int], work: _Work, *, type_id: int) -> list[int]:
    if "decl_tag" not in work.features:
        return [words[0], info_word(Kind.INT), 1, _INT8]
    if "attribute" not in work.features:
        words[1] &= 0x7FFFFFFF
    return words


def _type_tag(words: list[int], work: _Work, *, type_id: int) -> list[int]:
    if "type_tag" not in work.features or (words[1] >> 31 and "attribute" not in work.features):
        return [0, info_word(Kind.CONST), words[2]]
    return words


_FIXES: dict[int, _Fix] = {
    Kind.PTR: _ptr,
    Kind.ENUM: _enum,
    Kind.ENUM64: _enum64,
    Kind.FUNC_PROTO: _func_proto,
    Kind.FUNC: _func,
    Kind.VAR: _var,
    Kind.DATASEC: _datasec,
    Kind.FLOAT: _float,
    Kind.DECL_TAG: _decl_tag,
    Kind.TYPE_TAG: _type_tag,
}
_KNOWN = frozenset(int(kind) for kind in Kind)
