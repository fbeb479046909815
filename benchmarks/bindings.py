"""Bindings of many kernel types in Rust, C and Python, checked by their compilers, beside aya-tool's.

    python benchmarks/bindings.py KERNEL… [--types N] [--bpftool PROGRAM --bindgen PROGRAM]

For each KERNEL ("host", "5.10", a BTF file) N structs and unions are chosen by a hash of their names, and sk_buff and
task_struct with them. Their text is compiled with rustc (no_std) and clang, and imported by Python; sizes and offsets
are asserted there, as BTF has them. With bpftool and bindgen, the two programs that aya-tool runs, its output for the
same types is made with its flags, and compiled with the same numbers asserted: types that differ, and types whose text
rustc does not take, are named. Exit code 1 when a text of ours is refused, or a number differs.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path

from pytest_ebpf.btf.c_header import CHeaderStyle, render_c
from pytest_ebpf.btf.layout import bit_range
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.py_source import render_python
from pytest_ebpf.btf.rust_source import render_rust
from pytest_ebpf.btf.types import Struct
from pytest_ebpf.cli.btf import open_btf

__all__ = ["Chosen", "main"]

_ALWAYS = ("sk_buff", "task_struct")
# aya-tool/src/bindgen.rs: what bpf_builder() asks of bindgen; "macro fallback" is for macros, of which there are none
_BINDGEN = "--use-core --no-layout-tests --no-doc-comments --no-prepend-enum-name --ctypes-prefix ::core::ffi"
_BINDGEN += " --default-enum-style moduleconsts"
# Words of Rust that are names of fields in the kernel; both append "_".
_WORDS = (
    "abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen if "
    "impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true try "
    "type typeof unsafe unsized use virtual where while yield"
)
_RUST_WORDS = frozenset(_WORDS.split())
_DIFFERS = re.compile(r"assertion failed: core::mem::(?:size_of::<|offset_of!\()(\w+)")
_ERROR = re.compile(
    r"^error(?:\[E0080\])?: (?!aborting due)(?!evaluation panicked: assertion failed)|^error\[(?!E0080)", re.M
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A struct or union; ``fields``: name -> byte, of those with a name that are no bitfields."""

    type_id: int
    name: str
    size: int
    is_union: bool
    fields: dict[str, int]


def main() -> int:
    """Print a line per kernel and language. Exit code 1 when a compiler refuses one."""
    arguments = _arguments()
    good = True
    for kernel in arguments.kernels:
        btf, _ = open_btf(kernel, base=None)
        chosen = _choose(btf, count=arguments.types)
        fields = sum(len(one.fields) for one in chosen)
        print(f"{kernel}: {len(chosen)} types, {fields} fields with a byte of their own")
        with tempfile.TemporaryDirectory() as folder:
            for language, errors in _checked(btf, chosen, arguments=arguments, place=Path(folder)):
                good &= not errors
                print(f"  {language:<10}{'every size and offset agrees' if not errors else errors[:2000]}")
    return 0 if good else 1


def _choose(btf: Btf, *, count: int) -> list[Chosen]:
    """By a hash of the name, so that no subsystem is preferred. Names that two types have are left out."""
    structs = [(type_id, found) for type_id, found in btf if isinstance(found, Struct) and found.name and found.size]
    names = Counter(found.name for _, found in btf if found.name)
    alone = [(type_id, found) for type_id, found in structs if names[found.name] == 1]
    alone.sort(key=lambda pair: (pair[1].name not in _ALWAYS, hashlib.sha256(pair[1].name.encode()).digest()))
    return [
        Chosen(type_id, found.name, found.size, found.is_union, dict(_fields(btf, found)))
        for type_id, found in alone[:count]
    ]


def _fields(btf: Btf, struct: Struct) -> Iterator[tuple[str, int]]:
    for member in struct.members:
        start, width = bit_range(btf, member)
        if member.name and not width:
            yield member.name, start // 8


def _checked(
    btf: Btf, chosen: list[Chosen], *, arguments: argparse.Namespace, place: Path
) -> Iterator[tuple[str, str]]:
    ids = [one.type_id for one in chosen]
    ours = place / "ours.rs"
    ours.write_text(f"#![no_std]\n{render_rust(btf, ids)}\n{_rust_assertions(chosen)}")
    yield "Rust", _rustc(ours)
    header = place / "ours.c"
    header.write_text(f"{render_c(btf, ids, style=CHeaderStyle('OURS', True))}\n{_c_assertions(chosen)}")
    yield "C", _run("clang", "-fsyntax-only", "-w", "-target", "bpf", header)
    module = place / "ours.py"
    module.write_text(f"{render_python(btf, ids)}\n{_python_assertions(chosen)}")
    yield "Python", _run(sys.executable, module)
    if arguments.bpftool and arguments.bindgen:
        yield from _aya_tool(btf, chosen, arguments=arguments, place=place)


def _aya_tool(
    btf: Btf, chosen: list[Chosen], *, arguments: argparse.Namespace, place: Path
) -> Iterator[tuple[str, str]]:
    raw, header = place / "btf", place / "kernel_types.h"
    raw.write_bytes(btf.data)
    with header.open("w") as file:
        dump = [arguments.bpftool, "btf", "dump", "file", raw, "format", "c"]
        subprocess.run(dump, stdout=file, check=True)
    differ, broken = _compared(chosen, header=header, bindgen=arguments.bindgen)
    same = len(chosen) - len(differ) - len(broken)
    print(f"  aya-tool: {same} types have the same size and offsets, {len(broken)} do not compile: {', '.join(broken)}")
    yield "aya-tool", f"other numbers: {', '.join(differ)}" if differ else ""


def _compared(chosen: list[Chosen], *, header: Path, bindgen: Path) -> tuple[list[str], list[str]]:
    """The types that differ, and those whose text does not compile; they are found by halving."""
    theirs = header.with_name("theirs.rs")
    wanted = [word for one in chosen for word in ("--allowlist-type", one.name)]
    command = [bindgen, header, *_BINDGEN.split(), *wanted, "--", "-Wno-unknown-attributes"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs.write_text(
        "#![no_std]\n#![allow(warnings)]\nmod theirs {\n"
        f"{text}\n}}\nuse theirs::*;\n{_rust_assertions(chosen, lacking=text)}"
    )
    errors = _rustc(theirs)
    if not _ERROR.search(errors):
        return sorted(set(_DIFFERS.findall(errors))), []
    if len(chosen) == 1:
        return [], [chosen[0].name]
    half = len(chosen) // 2
    parts = [_compared(part, header=header, bindgen=bindgen) for part in (chosen[:half], chosen[half:])]
    return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]


def _rust_assertions(chosen: list[Chosen], *, lacking: str | None = None) -> str:
    """``lacking``: another tool's text. A field that is nowhere in it is not asserted (bindgen names none of a type of
    which it knows the size alone)."""
    lines = []
    for one in chosen:
        lines.append(f"const _: () = assert!(core::mem::size_of::<{one.name}>() == {one.size});")
        for field, at in one.fields.items():
            name = f"{field}_" if field in _RUST_WORDS else field
            if lacking is None or f"pub {name}:" in lacking:
                lines.append(f"const _: () = assert!(core::mem::offset_of!({one.name}, {name}) == {at});")
    return "\n".join(lines)


def _c_assertions(chosen: list[Chosen]) -> str:
    lines = []
    for one in chosen:
        name = f"{'union' if one.is_union else 'struct'} {one.name}"
        lines.append(f'_Static_assert(sizeof({name}) == {one.size}, "{name}");')
        for field, at in one.fields.items():
            lines.append(f'_Static_assert(__builtin_offsetof({name}, {field}) == {at}, "{name}.{field}");')
    return "\n".join(lines)


def _python_assertions(chosen: list[Chosen]) -> str:
    lines = []
    for one in chosen:
        lines.append(f"assert ctypes.sizeof({one.name}) == {one.size}, {one.name!r}")
        for field, at in one.fields.items():
            name = f"{field}_" if iskeyword(field) else field
            lines.append(f"assert getattr({one.name}, {name!r}).offset == {at}, '{one.name}.{field}'")
    return "\n".join(lines)


def _rustc(source: Path) -> str:
    return _run("rustc", "--edition=2021", "--crate-type=lib", "--emit=metadata", f"--out-dir={source.parent}", source)


def _run(*command: str | Path) -> str:
    """What it printed when it failed, "" when it did not."""
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stderr or f"exit code {done.returncode}") if done.returncode else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="+", metavar="KERNEL")
    parser.add_argument("--types", type=int, default=200)
    parser.add_argument("--bpftool", type=Path)
    parser.add_argument("--bindgen", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
