"""Sources that come with a compiler or from a package registry: a Rust program is largely made of their inlined lines.

A line record names the innermost function alone, so what a line of the project calls inline stands under the name of a
library. Places of sources: Cargo's book, "Cargo Home"; rustc's --remap-path-prefix of the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_ebpf.obj.object import LineInfo
from pytest_ebpf.plan.link import line_at

__all__ = ["library_of", "own_line"]

_PLACES = (
    re.compile(r"(?:^|/)(?:rustc/[0-9a-f]+/|rustlib/src/rust/)library/(\w+)/"),
    re.compile(r"^library/(\w+)/src/"),
    re.compile(r"(?:^|/)registry/src/[^/]+/([^/]+)/"),
    re.compile(r"(?:^|/)\.?cargo/git/checkouts/([^/]+)/"),
    re.compile(r"^([A-Za-z][\w-]*-\d+\.\d+\.\d+[^/]*)/src/.*\.rs$"),  # with the registry's path remapped to nothing
    re.compile(r"^(/usr(?:/local)?/include)/"),
)


def library_of(file: str) -> str:
    """The library that a source belongs to ("core", "aya-ebpf-0.2.1", "/usr/include"), "" for one of the project."""
    found = next((match for place in _PLACES if (match := place.search(file))), None)
    return found[1] if found else ""


def own_line(lines: Sequence[LineInfo], slot: int, *, start: int) -> LineInfo | None:
    """The row of the project that covers ``slot``: where that is a line of a library, or the line 0 of what a compiler
    made of several, the last one before it of the function that begins at ``start``; the row itself where there is
    none. ``lines`` are sorted."""
    row = line_at(lines, slot)
    if row is None or (row.line and not library_of(row.file)):
        return row
    before = (found for found in reversed(lines) if start <= found.insn <= slot)
    return next((found for found in before if found.line and not library_of(found.file)), row)
