"""The offsets of info structs are held against the C header of this machine, by gcc."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from pytest_ebpf.live.inspect import info as kernel_info

HEADER = Path("/usr/include/linux/bpf.h")
# our names -> the kernel's, where they differ
RENAMED = {
    "type_number": "type", "jited_len": "jited_prog_len", "xlated_len": "xlated_prog_len", "func_infos": "nr_func_info",
    "line_infos": "nr_line_info", "run_count": "run_cnt", "flags": "map_flags", "size": "btf_size",
    "is_kernel": "kernel_btf",
}  # fmt: skip
LATE = {"map_extra", "btf_vmlinux_id", "verified_insns", "attach_btf_obj_id", "attach_btf_id", "recursion_misses"}


@pytest.mark.skipif(not (HEADER.exists() and shutil.which("gcc")), reason="needs the kernel's headers and a C compiler")
@pytest.mark.parametrize(
    ("struct_name", "table"), [("bpf_prog_info", "_PROG"), ("bpf_map_info", "_MAP"), ("bpf_btf_info", "_BTF")]
)
def test_offsets_are_those_of_the_header(struct_name: str, table: str) -> None:
    known = HEADER.read_text()
    lines = ["#include <stddef.h>", "#include <linux/bpf.h>"]
    for name, (offset, code) in getattr(kernel_info, table).items():
        field = RENAMED.get(name, name) if not (name == "flags" and table != "_MAP") else name
        if name == "gpl_compatible" or (name in LATE and f" {field};" not in known):
            continue  # a bit has no offset
        lines.append(f'_Static_assert(offsetof(struct {struct_name}, {field}) == {offset}, "{name}");')
        size = struct.calcsize("=" + code)
        lines.append(f'_Static_assert(sizeof(((struct {struct_name} *)0)->{field}) == {size}, "{name}");')
    assert len(lines) > 6
    done = subprocess.run(
        ["gcc", "-xc", "-fsyntax-only", "-"], input="\n".join(lines) + "\n", text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
