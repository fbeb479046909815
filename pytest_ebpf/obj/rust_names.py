"""What the names of Rust types say: aya-ebpf's ``#[map]`` gives a definition of numbers alone, in a static of type
``HashMap<u32, u64>``.

bpf-linker (0.13) writes what C has no letter for as ``_3C_`` (its code in hexadecimal), so that kernels take the name.
Types that only a name speaks of (a struct that nothing but the map uses) are not in the BTF: then the sizes are all
there is. ``#[btf_map]`` has no such gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Enum, Float, Int, Kind, Struct, Var

__all__ = ["plain_name", "rust_map_types"]

_LONGEST = 512  # letters of a name that is taken apart; also how deep its brackets can be
_ESCAPE = re.compile(r"_(20|26|28|29|2A|2C|3A|3B|3C|3E|5B|5D)_")
_GENERIC = re.compile(r"(?P<name>\w+)<(?P<arguments>.*)>")
_FIXED = re.compile(r"\[(?P<element>.+); (?P<count>[0-9]{1,9})\]")
# Map of aya-ebpf -> (what its key is, its value): a number is that argument of the type, a name a type.
_MAPS: Mapping[str, tuple[int | str, int | str]] = MappingProxyType(
    {
        "HashMap": (0, 1),
        "LruHashMap": (0, 1),
        "PerCpuHashMap": (0, 1),
        "LruPerCpuHashMap": (0, 1),
        "Array": ("u32", 0),
        "PerCpuArray": ("u32", 0),
    }
)
_NAMED = (Int, Struct, Enum, Float)


def plain_name(name: str) -> str:
    """A name in BTF as Rust writes it: ``HashMap_3C_u32_2C__20_u64_3E_`` is ``HashMap<u32, u64>``."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)


def rust_map_types(btf: Btf, name: str, *, sizes: tuple[int, int]) -> tuple[int, int]:
    """BTF ids of the key and the value of static ``name``, whose ``sizes`` they must have. (0, 0) unless both are
    found."""
    for variable in btf.find(name, Kind.VAR):
        found = btf.type(variable)
        struct = btf.type(found.type) if isinstance(found, Var) else None
        short = isinstance(struct, Struct) and len(struct.name) <= _LONGEST
        match = _GENERIC.fullmatch(plain_name(struct.name)) if short and isinstance(struct, Struct) else None
        if match and match["name"] in _MAPS:
            arguments = list(_split(match["arguments"]))
            words = [arguments[of] if isinstance(of, int) else of for of in _MAPS[match["name"]] if _has(arguments, of)]
            ids = [_find(btf, word, size=size) for word, size in zip(words, sizes, strict=False)]
            if len(ids) == len(sizes) and all(ids):
                return ids[0], ids[1]
    return 0, 0


def _has(arguments: list[str], of: int | str) -> bool:
    return isinstance(of, str) or of < len(arguments)


def _split(arguments: str) -> Iterator[str]:
    """At the commas that no bracket is around."""
    depth = start = 0
    for at, letter in enumerate(arguments):
        depth += (letter in "<([") - (letter in ">)]")
        if letter == "," and not depth:
            yield arguments[start:at].strip()
            start = at + 1
    yield arguments[start:].strip()


def _find(btf: Btf, word: str, *, size: int) -> int:
    """The type of that name and size, 0 when there is none or more than one."""
    fixed = _FIXED.fullmatch(word)
    if fixed:
        count = int(fixed["count"])
        element = _find(btf, fixed["element"], size=size // count) if count and not size % count else 0
        return _arrays(btf).get((element, count), 0) if element else 0
    last = word.rpartition("::")[2] if "<" not in word else ""
    found = [at for at in btf.find(last) if last and isinstance(btf.type(at), _NAMED) and btf.size(at) == size]
    return found[0] if len(found) == 1 else 0


def _arrays(btf: Btf) -> dict[tuple[int, int], int]:
    """(type of its elements, how many) -> id, of all arrays."""
    if "arrays" not in btf.memo:
        arrays = [(at, one) for at, one in btf if isinstance(one, Array)]
        btf.memo["arrays"] = {(one.type, one.nelems): at for at, one in reversed(arrays)}
    found: dict[tuple[int, int], int] = btf.memo["arrays"]
    return found
