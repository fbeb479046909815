"""Rust made from random BTF: laid out by the rules of ``repr(C)``, and compiled where a compiler is."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_ebpf.btf.c_layout import c_size
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.rust_layout import rust_layout
from pytest_ebpf.btf.rust_source import render_rust
from pytest_ebpf.btf.types import Array, Struct
from support.btf_writer import BtfWriter
from support.every_kind import every_kind
from support.random_structs import random_structs

each_order = pytest.mark.parametrize("byteorder", ["little", "big"])


def structs(btf: Btf) -> list[int]:
    return [type_id for type_id, found in btf if isinstance(found, Struct) and found.name]


def text_of(w: BtfWriter, *names: str) -> str:
    btf = parse_btf(w.build())
    return render_rust(btf, [type_id for name in names for type_id in btf.find(name)])


def alignment(btf: Btf, type_id: int) -> int:
    found = btf.type(type_id := btf.resolve(type_id))
    if isinstance(found, Array):
        return alignment(btf, found.type)
    if isinstance(found, Struct):
        return rust_layout(btf, type_id).align
    return c_size(btf, type_id) if c_size(btf, type_id) in (1, 2, 4, 8) else 1


@each_order
@pytest.mark.parametrize("seed", range(4))
def test_repr_c_puts_every_field_where_btf_says(byteorder: str, seed: int) -> None:
    """The rules of the Rust reference for ``repr(C)`` structs, applied to the fields in the order they are written."""
    btf = parse_btf(random_structs(random.Random(seed), byteorder=byteorder).build())
    seen = 0
    for type_id in structs(btf):
        struct, layout = btf.type(type_id), rust_layout(btf, type_id)
        assert isinstance(struct, Struct)
        at = end = 0
        for row in layout.rows:
            unit = 1 if layout.packed or row.member is None else alignment(btf, row.member.type)
            at = 0 if struct.is_union else -(-at // unit) * unit
            assert at == row.start, (struct.name, row)
            at += row.size
            end = max(end, at)
            seen += 1
        assert -(-end // layout.align) * layout.align == struct.size, struct.name
    assert seen > 300


@pytest.mark.skipif(shutil.which("rustc") is None, reason="rustc is not installed")
@each_order
def test_a_compiler_agrees(byteorder: str, tmp_path: Path) -> None:
    random_ones = parse_btf(random_structs(random.Random(9), byteorder=byteorder).build())
    kinds = parse_btf(every_kind(byteorder)[0].build())
    for number, btf in enumerate((random_ones, kinds)):
        source = tmp_path / f"types_{number}.rs"
        source.write_text(f"#![no_std]\n{render_rust(btf, structs(btf))}")
        argv = ["rustc", "--edition=2021", "--crate-type=lib", "--emit=metadata", f"--out-dir={tmp_path}", str(source)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:3000]
        assert "warning" not in done.stderr


@pytest.mark.skipif(shutil.which("rustc") is None, reason="rustc is not installed")
def test_bitfields_are_read_and_set_where_they_are(tmp_path: Path) -> None:
    w = BtfWriter()
    s32, u32 = w.int("int", 4, signed=True), w.int("unsigned int", 4)
    w.bitfields("flags", 8, [("low", s32, 0, 3), ("high", u32, 3, 11), ("plain", u32, 32, 0)])
    main = """
        fn main() {
            let mut flags: flags = unsafe { ::core::mem::transmute([0xfdu8, 0xff, 0, 0, 7, 0, 0, 0]) };
            print!("{} {} {} ", flags.low(), flags.high(), flags.plain);
            flags.set_high(5);
            flags.set_low(-4);
            print!("{} {} {}", flags.low(), flags.high(), flags.plain);
        }
    """
    source, program = tmp_path / "main.rs", tmp_path / "main"
    source.write_text(text_of(w, "flags") + main)
    subprocess.run(["rustc", "--edition=2021", "-o", str(program), str(source)], check=True, capture_output=True)
    assert subprocess.check_output([program]).decode() == "-3 2047 7 -4 5 7"
