"""A header is read through the compiler again when what it includes has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.load_cache import LoadCache


def test_a_header_that_includes_a_changed_one_misses_the_cache(tmp_path: Path) -> None:
    cache = LoadCache()
    outer, inner = tmp_path / "outer.h", tmp_path / "inner one.h"
    outer.write_text('#include "inner one.h"\nstruct outer { struct inner one; };\n')
    inner.write_text("struct inner { int a; };\n")
    before = cache.types(outer)
    assert cache.types(outer) is before is not None
    inner.write_text("struct inner { int a, b; };\n")
    after = cache.types(outer)
    assert after is not None
    sizes = [types.size(types.find("outer")[0]) for types in (before, after)]
    assert sizes == [4, 8]
    inner.unlink()
    with pytest.raises(BpfUsageError, match="inner one"):
        cache.types(outer)
