"""BTF -> C header -> clang -> BTF: does every size and offset survive?

    python benchmarks/c_header.py [FILE…] [--peer]

FILE: raw BTF (default: the running kernel's). A difference is printed and makes the exit status 1. ``--peer`` puts the
header of ``bpftool btf dump … format c`` through the same comparison. Needs clang with the bpf target.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_ebpf.btf.c_header import c_blocks, c_roots, render_c
from pytest_ebpf.btf.c_names import identifier
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.types import Array, Enum, Float, Fwd, Int, Kind, Member, Struct, Typedef, essential_name
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.elf import read_elf

__all__ = ["compile_header", "differences", "layouts", "main", "round_trip"]

_SHOWN = 10
_NUMBERED = re.compile(r"___\d+$")
_DEFINED = re.compile(
    r"^(?:(struct|union|enum) (\w+) \{(?:\};)?|typedef .*?(\w+)(?:\[\d+\]|\)\(.*\))*;|\} (\w+);)$", re.M
)


def main() -> None:
    """Compare, print a line per file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, default=[Path("/sys/kernel/btf/vmlinux")])
    parser.add_argument("--peer", action="store_true", help="bpftool's header instead of ours")
    arguments = parser.parse_args()
    found = [_report(path, peer=arguments.peer) for path in arguments.files]
    sys.exit(any(found))


def _report(path: Path, *, peer: bool) -> int:
    btf = parse_btf(path.read_bytes())
    started = time.perf_counter()
    if peer:
        header = _bpftool(path)
        compiled = compile_header(header, spellings=_spellings(header))
    else:
        header = render_c(btf)
        compiled = compile_header(header, spellings=_blocks(btf))
    seconds = time.perf_counter() - started
    found = differences(btf, compiled)
    count = sum(layouts(btf).values())
    print(f"{path}: {count} types, {header.count(chr(10))} lines, {len(found)} differences, {seconds:.1f} s with clang")
    for line in found[:_SHOWN]:
        print(f"    {line}")
    return len(found)


def round_trip(btf: Btf, types: Iterable[int] | None = None) -> Btf:
    """What clang makes of our header."""
    roots = list(c_roots(btf) if types is None else types)
    target = "bpf" if btf.byteorder == "little" else "bpfeb"
    return compile_header(render_c(btf, roots), spellings=_blocks(btf, roots), target=target)


def _blocks(btf: Btf, roots: Iterable[int] | None = None) -> Iterator[str]:
    for block in c_blocks(btf, c_roots(btf) if roots is None else roots):
        if block.complete and block.spelling and btf.kind(block.id) != Kind.FUNC:
            yield block.spelling


def compile_header(header: str, *, spellings: Iterable[str], target: str = "bpf") -> Btf:
    """The BTF of a file with a variable of each of the types. RuntimeError with what clang said.

    Of a struct that was seen behind a pointer clang writes no more than a declaration, hence no pointers here, but to
    typedefs, which may be of void and of functions.
    """
    with tempfile.TemporaryDirectory(prefix="c-header-") as place:
        source = Path(place, "all.c")
        Path(place, "header.h").write_text(header)
        lines = [
            f"{spelling} {'' if ' ' in spelling else '*'}variable_{number};"
            for number, spelling in enumerate(spellings)
        ]
        source.write_text("\n".join(['#include "header.h"', "int variable;", *lines, ""]))
        command = ["clang", "-g", "-O2", "-target", target, "-Wall", "-Werror", "-c", "all.c", "-o", "all.o"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"clang: {done.stderr[:2000]}")
        elf = read_elf(Path(place, "all.o").read_bytes(), name="all.o")
    return parse_btf(next(section.data for section in elf.sections if section.name == ".BTF"))


def differences(btf: Btf, compiled: Btf) -> list[str]:
    """Every layout that only one of the two has, in words."""
    # numbers that C has no words for become typedefs
    numbers = frozenset(identifier(one.name) for _, one in btf if isinstance(one, Int | Float))
    wanted, got = layouts(btf), layouts(compiled, numbers=numbers)
    lost = [f"lost: {count} x {layout}"[:400] for layout, count in (wanted - got).items()]
    return lost + [f"new: {count} x {layout}"[:400] for layout, count in (got - wanted).items()]


def layouts(btf: Btf, *, numbers: Container[str] = ()) -> Counter[tuple[Any, ...]]:
    """(kind, essential name, size, fields) of each named type, and how many there are of the very same.
    ``numbers``: names of typedefs that do not count."""
    found: Counter[tuple[Any, ...]] = Counter()
    for type_id, one in btf:
        if isinstance(one, Struct) and one.name:
            found["union" if one.is_union else "struct", _essential(one.name), *_shape(btf, one)] += 1
        elif isinstance(one, Enum) and one.name and one.values:
            # clang before 15 knows no BTF_KIND_ENUM64: of each value it writes the lower half
            values = tuple((_essential(name), number & 0xFFFFFFFF) for name, number in one.values)
            found["enum", _essential(one.name), one.size, values] += 1
        elif isinstance(one, Typedef) and one.name not in numbers:
            found["typedef", _essential(one.name), _size(btf, type_id)] += 1
    return found


def _essential(name: str) -> str:
    return _NUMBERED.sub("", essential_name(name))


def _size(btf: Btf, type_id: int) -> int | None:
    try:
        return btf.size(type_id)
    except ObjectError:  # void, a function, or what is only declared
        found = btf.type(btf.resolve(type_id))
        defined = btf.find(found.name, Kind.STRUCT) if isinstance(found, Fwd) else ()
        return btf.size(defined[0]) if defined else None


def _shape(btf: Btf, struct: Struct) -> tuple[Any, ...]:
    """Size and members: (name, bit offset, bits); those without a tag of their own with the shape of their own.
    A struct that is only there for its members gives them to the one around it."""
    rows = sorted(_rows(btf, struct, base=0), key=repr)
    return struct.size, tuple(rows)


def _rows(btf: Btf, struct: Struct, *, base: int) -> Iterator[tuple[Any, ...]]:
    for member in struct.members:
        inner = btf.type(btf.resolve(member.type))
        if member.name:
            yield member.name, base + member.bit_offset, _bits(btf, member), _inner(btf, member.type)
        elif isinstance(inner, Struct):
            yield from _rows(btf, inner, base=base + member.bit_offset)


def _bits(btf: Btf, member: Member) -> int:
    return member.bit_size or 8 * btf.size(member.type)


def _inner(btf: Btf, type_id: int) -> Any:
    found = btf.type(btf.resolve(type_id))
    if isinstance(found, Array):
        return found.nelems, _inner(btf, found.type)
    return _shape(btf, found) if isinstance(found, Struct) and not found.name else found.kind == Kind.PTR


def _bpftool(path: Path) -> str:
    command = ["bpftool", "btf", "dump", "file", str(path), "format", "c"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _spellings(header: str) -> Iterator[str]:
    for keyword, tag, name, closing in _DEFINED.findall(header):
        yield f"{keyword} {tag}" if tag else name or closing


if __name__ == "__main__":
    main()
