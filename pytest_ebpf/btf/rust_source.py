"""BTF as Rust source for ``no_std`` programs: what aya-tool makes with bpftool and bindgen, in bindgen's names.

Sizes and offsets are assertions in the text, so that the compiler checks them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from pytest_ebpf.btf.c_names import identifier
from pytest_ebpf.btf.layout import MAX_DEPTH
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.rust_layout import Bits, Row, RustLayout, rust_layout
from pytest_ebpf.btf.types import Array, Enum, Float, FuncProto, Fwd, Int, Ptr, Struct, Typedef
from pytest_ebpf.errors import ObjectError

__all__ = ["render_rust"]

_HEAD = """\
// Types made from BTF by pytest-ebpf. Sizes and offsets are those of the source; the compiler checks them.
#![allow(dead_code, non_camel_case_types, non_snake_case, non_upper_case_globals, clippy::all)]
"""
_BITS = """
#[inline(always)]
fn _get_bits(bytes: &[u8], start: usize, width: usize) -> u64 {
    let mut value = 0u64;
    let mut bit = 0;
    while bit < width {
        let at = start + bit;
        if bytes[at / 8] >> (%s) & 1 == 1 {
            value |= 1 << %s;
        }
        bit += 1;
    }
    value
}

#[inline(always)]
fn _set_bits(bytes: &mut [u8], start: usize, width: usize, value: u64) {
    let mut bit = 0;
    while bit < width {
        let at = start + bit;
        let mask = 1u8 << (%s);
        if value >> %s & 1 == 1 {
            bytes[at / 8] |= mask;
        } else {
            bytes[at / 8] &= !mask;
        }
        bit += 1;
    }
}
"""
_PLACES = {"little": ("at % 8", "bit"), "big": ("7 - at % 8", "(width - 1 - bit)")}
# Strict and reserved words of the 2024 edition. bindgen appends "_", too.
_WORDS = (
    "as async await break const continue crate dyn else enum extern false fn for gen if impl in let loop match mod "
    "move mut pub ref return self Self static struct super trait true type unsafe use where while abstract become box "
    "do final macro override priv try typeof unsized virtual yield"
)
_KEYWORDS = frozenset(_WORDS.split())
_PRIMITIVES = frozenset(
    (*(f"{sign}{bits}" for sign in "iu" for bits in (8, 16, 32, 64, 128, "size")), "f32", "f64", "bool", "char", "str")
)
_INTS = {1: "8", 2: "16", 4: "32", 8: "64"}
_VOID = "*mut ::core::ffi::c_void"


def render_rust(btf: Btf, types: Iterable[int]) -> str:
    """The text of a Rust module with each type of ``types`` (ids) and the types in them. The target of a pointer that
    is not among them is only declared. Two types of one name become ``x`` and ``x___2``."""
    source = _Source(btf)
    wanted = list(types)
    for type_id in wanted:
        source.complete(type_id)
    for type_id in wanted:
        source.add(type_id)
    blocks = source.blocks()
    text = "\n".join(blocks)
    start, number = _PLACES[btf.byteorder]
    helpers = _BITS % (start, number, start, number) if "_get_bits(" in text else ""
    return f"{_HEAD}{helpers}\n{text}"


class _Source:
    """The items of a module. Their order is free in Rust."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._names: dict[int, str] = {}
        self._used: Counter[str] = Counter(_PRIMITIVES)
        self._complete: set[int] = set()
        self._items: dict[str, str] = {}
        self._waiting: list[int] = []

    def blocks(self) -> list[str]:
        """The text of each item, with those that only pointers lead to."""
        while self._waiting:
            self._type(self._waiting.pop(), hint="", depth=0)
        return list(self._items.values())

    def complete(self, type_id: int, *, depth: int = 0) -> None:
        """Note the structs that are to be written in full: ``type_id``, and what it holds by value."""
        found = self._btf.type(target := self._btf.resolve(type_id))
        if depth > MAX_DEPTH:
            raise ObjectError(f"BTF type {type_id} nests too deep to be written in Rust", section=".BTF")
        if isinstance(found, Array):
            self.complete(found.type, depth=depth + 1)
        elif isinstance(found, Struct) and target not in self._complete:
            self._complete.add(target)
            for member in found.members:
                self.complete(member.type, depth=depth + 1)

    def add(self, type_id: int) -> None:
        """Write a type that was asked for, and a typedef with it."""
        found = self._btf.type(type_id)
        target = self._btf.type(self._btf.resolve(type_id))
        if isinstance(found, Typedef) and isinstance(target, Struct | Enum) and not target.name:
            self._name(self._btf.resolve(type_id), found.name)
        self._type(type_id, hint=found.name, depth=0)

    def _type(self, type_id: int, *, hint: str, depth: int) -> str:
        """The Rust type of a field. ``hint``: the name of an anonymous struct or enum."""
        if depth > MAX_DEPTH:
            raise ObjectError(f"{hint} nests too deep to be written in Rust", section=".BTF")
        named = self._alias(type_id, depth=depth)
        if named:
            return named
        target = self._btf.resolve(type_id)
        found = self._btf.type(target)
        match found:
            case Array():
                return f"[{self._type(found.type, hint=hint, depth=depth + 1)}; {found.nelems}]"
            case Ptr():
                return self._pointer(found, depth=depth)
            case Struct():
                return self._struct(target, found, hint=hint, depth=depth)
            case Enum():
                return self._enum(target, found, hint=hint)
            case Fwd():
                return self._declared(target)
            case Int() | Float():
                return _number(found)
        return _VOID.removeprefix("*mut ")

    def _alias(self, type_id: int, *, depth: int) -> str:
        """The name of a typedef of a number, pointer or array, whose item is written on first use; "" for others."""
        found = self._btf.type(type_id)
        while not isinstance(found, Typedef) and self._btf.resolve(type_id) != type_id:
            type_id = found.type  # type: ignore[union-attr]  # const, volatile, restrict, a type tag
            found = self._btf.type(type_id)
        if not isinstance(found, Typedef) or found.name in _PRIMITIVES:
            return ""
        target = self._btf.type(self._btf.resolve(type_id))
        if isinstance(target, Struct | Enum | Fwd):
            if not target.name and self._btf.resolve(type_id) not in self._names:
                self._name(self._btf.resolve(type_id), found.name)
            return ""
        if type_id not in self._names:
            name = self._name(type_id, found.name)
            meant = self._type(self._btf.resolve(type_id), hint=found.name, depth=depth + 1)
            self._items[name] = f"pub type {name} = {meant};\n"
        return self._names[type_id]

    def _pointer(self, found: Ptr, *, depth: int) -> str:
        target = self._btf.resolve(found.type)
        meant = self._btf.type(target)
        if not found.type or isinstance(meant, FuncProto) or (isinstance(meant, Struct | Enum) and not meant.name):
            return _VOID
        if isinstance(meant, Struct):
            if target not in self._complete:
                return f"*mut {self._declared(target)}"
            self._waiting.append(target)  # written later: what points to each other would nest without end
            return f"*mut {self._names.get(target) or self._name(target, meant.name)}"
        text = self._type(found.type, hint="", depth=depth + 1)
        return f"*mut {text}" if text else _VOID

    def _declared(self, type_id: int) -> str:
        """The name of a struct of which nothing else is known."""
        if type_id not in self._names:
            name = self._name(type_id, self._btf.name(type_id))
            self._items[name] = (
                f"#[repr(C)]\n#[derive(Copy, Clone)]\npub struct {name} {{\n    _unknown: [u8; 0],\n}}\n"
            )
        return self._names[type_id]

    def _struct(self, type_id: int, found: Struct, *, hint: str, depth: int) -> str:
        name = self._names.get(type_id) or self._name(type_id, found.name or hint)
        if name not in self._items:
            self._items[name] = ""  # its place, before what it needs
            layout = rust_layout(self._btf, type_id)
            self._items[name] = "".join(self._body(name, found, layout=layout, depth=depth))
        return name

    def _body(self, name: str, found: Struct, *, layout: RustLayout, depth: int) -> Iterator[str]:
        fields: list[tuple[str, str, int]] = []
        anonymous = 0
        for row in layout.rows:
            if row.member is None:
                prefix = "_bitfield" if row.is_bits else "_pad"
                fields.append((f"{prefix}_{row.start}", f"[u8; {row.size}]", row.start))
                continue
            anonymous += not row.member.name
            field = _plain(identifier(row.member.name)) or f"__bindgen_anon_{anonymous}"
            hint = f"{name}__bindgen_ty_{len(fields) + 1}"
            fields.append((field, self._member(row, hint=hint, depth=depth), row.start))
        packed = ", packed" if layout.packed else ""
        word = "union" if found.is_union else "struct"
        yield f"#[repr(C{packed})]\n#[derive(Copy, Clone)]\npub {word} {name} {{\n"
        yield from (f"    pub {field}: {text},\n" for field, text, _ in fields)
        if not fields and found.is_union:
            yield "    _nothing: [u8; 0],\n"
        yield "}\n"
        yield from _methods(self._btf, name, bits=layout.bits, is_union=found.is_union)
        yield f"const _: () = {{\n    assert!(::core::mem::size_of::<{name}>() == {found.size});\n"
        shown = [] if layout.opaque else fields
        yield from (f"    assert!(::core::mem::offset_of!({name}, {field}) == {at});\n" for field, _, at in shown)
        yield "};\n"

    def _member(self, row: Row, *, hint: str, depth: int) -> str:
        assert row.member is not None
        return self._type(row.member.type, hint=hint, depth=depth + 1)

    def _enum(self, type_id: int, found: Enum, *, hint: str) -> str:
        sign = "i" if found.signed else "u"
        number = f"{sign}{_INTS.get(found.size, '32')}"
        if not found.name and not hint:
            return number
        name = self._names.get(type_id) or self._name(type_id, found.name or hint)
        if name not in self._items:
            values = "".join(f"    pub const {_plain(identifier(one))}: Type = {at};\n" for one, at in found.values)
            self._items[name] = f"pub mod {name} {{\n    pub type Type = {number};\n{values}}}\n"
        return f"{name}::Type"

    def _name(self, type_id: int, wanted: str) -> str:
        name = _plain(identifier(wanted)) or "anonymous"
        self._used[name] += 1
        while self._used[name] > 1:
            other = f"{name}___{self._used[name]}"
            if not self._used[other]:
                name = other
                self._used[other] += 1
                break
            self._used[name] += 1
        self._names[type_id] = name
        return name


def _number(found: Int | Float) -> str:
    if isinstance(found, Float):
        return f"f{8 * found.size}" if found.size in (4, 8) else f"[u8; {found.size}]"
    if found.is_bool and found.size == 1:
        return "bool"
    if found.size not in _INTS:
        return f"[u8; {found.size}]"
    return f"{'i' if found.signed else 'u'}{_INTS[found.size]}"


def _methods(btf: Btf, name: str, *, bits: tuple[Bits, ...], is_union: bool) -> Iterator[str]:
    """A getter and a setter for each bitfield, in bindgen's names."""
    if not bits:
        return
    yield f"impl {name} {{\n"
    for one in bits:
        found = btf.type(btf.resolve(one.member.type))
        size = getattr(found, "size", 8)
        unsigned = f"u{_INTS.get(size, '64')}"
        signed = isinstance(found, Int | Enum) and found.signed
        kind = f"i{unsigned[1:]}" if signed else unsigned
        field, start = _plain(identifier(one.member.name)), one.start - 8 * one.unit
        bytes_ = f"self._bitfield_{one.unit}"
        read = f"_get_bits(&{bytes_}, {start}, {one.width})"
        if is_union:
            read = f"unsafe {{ {read} }}"
        shift = int(unsigned[1:]) - one.width
        value = f"(({read} as {unsigned}) << {shift}) as {kind} >> {shift}" if signed else f"{read} as {unsigned}"
        write = f"_set_bits(&mut {bytes_}, {start}, {one.width}, value as u64)"
        if is_union:
            write = f"unsafe {{ {write} }}"
        yield f"    #[inline(always)]\n    pub fn {field}(&self) -> {kind} {{\n        {value}\n    }}\n"
        yield f"    #[inline(always)]\n    pub fn set_{field}(&mut self, value: {kind}) {{\n        {write}\n    }}\n"
    yield "}\n"


def _plain(name: str) -> str:
    return f"{name}_" if name in _KEYWORDS or name == "_" else name
