"""The names a C header gives to types: C identifiers, each used once per name space.

BTF may hold several types of one name (two files of the kernel each had their own); C may not. As bpftool does, the
second of them in a header gets ``___2``, which CO-RE reads as a flavour of the same name.
"""

from __future__ import annotations

import re
from collections import Counter

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Float, Fwd, Int, Kind

__all__ = ["C23_WORDS", "CNames", "float_spelling", "identifier", "int_spelling"]

# Keywords of C11 and GNU C, and names that clang predeclares.
_WORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while _Alignas "
    "_Alignof _Atomic _Bool _Complex _Generic _Imaginary _Noreturn _Static_assert _Thread_local asm typeof "
    "__builtin_va_list __int128 __float128 __fp16 _Float16 __bf16"
)
_RESERVED = frozenset(_WORDS.split())
# Names that became keywords in C23: before it, vmlinux may define them.
C23_WORDS = frozenset(("bool", "false", "true", "nullptr", "constexpr", "static_assert", "alignas", "alignof"))

_NOT_IN_IDENTIFIERS = re.compile(r"[^A-Za-z0-9_]")
_BASE_WORDS = frozenset(("char", "short", "int", "long", "signed", "unsigned", "__int128"))
# By size in bytes, on the BPF machine (LP64): used when the name does not give the size.
_INTS = {1: "char", 2: "short", 4: "int", 8: "long long", 16: "__int128"}
_FLOATS = {4: "float", 8: "double"}


def identifier(name: str) -> str:
    """``name`` as a C identifier. Names of other languages (``Option<u8>``) lose their punctuation."""
    name = _NOT_IN_IDENTIFIERS.sub("_", name)
    return f"_{name}" if name[:1].isdigit() else name


def int_spelling(found: Int) -> str:
    """The C type of an integer: its own name if that means the same on a BPF machine, else a type of its size."""
    words = found.name.split()
    if found.is_bool and found.size == 1:
        return "_Bool"
    if words and _BASE_WORDS.issuperset(words) and _base_size(words) == found.size:
        return found.name
    base = _INTS.get(found.size)
    if base is None:
        return ""
    return ("signed " if base == "char" else "") + base if found.signed else f"unsigned {base}"


def _base_size(words: list[str]) -> int:
    sizes = (("__int128", 16), ("char", 1), ("short", 2), ("long", 8))
    return next((size for word, size in sizes if word in words), 4)


def float_spelling(found: Float) -> str:
    """The C type of a float of that size on a BPF machine, "" without one (``long double`` of x86)."""
    return _FLOATS.get(found.size, "")


class CNames:
    """Gives each type a name on first use, and the same name afterwards."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._given: dict[int, str] = {}
        self._tags: Counter[str] = Counter()
        self._idents: Counter[str] = Counter()

    def tag(self, type_id: int) -> str:
        """The name of a struct, union or enum. A forward declaration has the name of the first type that fits it."""
        if isinstance(self._btf.type(type_id), Fwd):
            type_id = self.target(type_id)
        return self._name(type_id, self._tags)

    def ident(self, type_id: int) -> str:
        """The name of a typedef or function, or of an integer without a C type."""
        return self._name(type_id, self._idents)

    def enumerator(self, name: str) -> str:
        """The name of one value of an enum."""
        return self._unused(name, self._idents)

    def target(self, fwd_id: int) -> int:
        """The struct or union that a forward declaration stands for; its own id when there is none."""
        key = ("fwd", fwd_id)
        found: int | None = self._btf.memo.get(key)
        if found is None:
            fwd = self._btf.type(fwd_id)
            kind = Kind.UNION if isinstance(fwd, Fwd) and fwd.is_union else Kind.STRUCT
            others = self._btf.find(fwd.name, kind) or (
                fwd_id2 for fwd_id2 in self._btf.find(fwd.name, Kind.FWD) if self._same(fwd_id2, fwd)
            )
            found = self._btf.memo[key] = next(iter(others), fwd_id)
        return found

    def _same(self, type_id: int, fwd: object) -> bool:
        return self._btf.type(type_id) == fwd

    def _name(self, type_id: int, used: Counter[str]) -> str:
        name = self._given.get(type_id)
        if name is None:
            name = self._given[type_id] = self._unused(self._btf.name(type_id), used)
        return name

    @staticmethod
    def _unused(name: str, used: Counter[str]) -> str:
        name = identifier(name)
        used[name] += 1
        if used[name] == 1 and name in _RESERVED:
            used[name] += 1
        while used[name] > 1:
            other = f"{name}___{used[name]}"
            if not used[other]:
                used[other] += 1
                return other
            used[name] += 1
        return name
