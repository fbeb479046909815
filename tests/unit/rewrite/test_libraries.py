"""Lines of libraries in the line records of a Rust program, and the line of the project before them."""

from __future__ import annotations

import pytest

from pytest_ebpf.obj.object import LineInfo
from pytest_ebpf.rewrite.libraries import library_of, own_line


@pytest.mark.parametrize(
    ("file", "library"),
    [
        ("/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/ptr/mod.rs", "core"),
        ("/home/me/.rustup/toolchains/nightly/lib/rustlib/src/rust/library/alloc/src/vec/mod.rs", "alloc"),
        ("library/core/src/option.rs", "core"),
        (
            "/home/me/.cargo/registry/src/index.example-1949cf8c6b5b557f/aya-ebpf-0.2.1/src/maps/array.rs",
            "aya-ebpf-0.2.1",
        ),
        ("/opt/cargo/registry/src/index/network-types-0.0.8/src/eth.rs", "network-types-0.0.8"),
        ("/home/me/.cargo/git/checkouts/aya-8ba1b5a0b1a8a3d5/d6a34e3/ebpf/aya-ebpf/src/lib.rs", "aya-8ba1b5a0b1a8a3d5"),
        ("aya-ebpf-bindings-0.2.0/src/x86_64/helpers.rs", "aya-ebpf-bindings-0.2.0"),
        ("/usr/include/bpf/bpf_endian.h", "/usr/include"),
        ("src/main.rs", ""),
        ("programs/src/bin/port_filter.rs", ""),
        ("./xdp_lb.bpf.c", ""),
        ("/home/me/library/src/core.c", ""),
        ("../include/bpf/helpers.h", ""),
    ],
)
def test_where_libraries_are(file: str, library: str) -> None:
    assert library_of(file) == library


def rows(*places: tuple[int, str, int]) -> list[LineInfo]:
    return [LineInfo(slot, file, line, 1, "", 0, 0, 0) for slot, file, line in places]


def test_the_line_of_the_project_before() -> None:
    """Not beyond the begin of the function; a library's own line where the function has no other."""
    core = "library/core/src/ptr/mod.rs"
    lines = rows((0, "a.rs", 3), (4, core, 70), (6, core, 71), (10, core, 9), (12, "a.rs", 8))
    found = {slot: own_line(lines, slot, start=10 if slot >= 10 else 0) for slot in (0, 5, 7, 11, 13)}
    assert {slot: row.line for slot, row in found.items() if row is not None} == {0: 3, 5: 3, 7: 3, 11: 9, 13: 8}
    assert own_line([], 3, start=0) is None


def test_line_0_is_the_line_before() -> None:
    lines = rows((0, "a.c", 3), (4, "a.c", 0))
    found = own_line(lines, 5, start=0)
    assert found is not None
    assert found.line == 3
