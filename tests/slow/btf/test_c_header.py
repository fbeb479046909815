"""The text of C headers, of types that are damaged or made to hurt."""

from __future__ import annotations

import pytest

from pytest_ebpf.btf.c_header import CHeaderStyle, render_c
from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.btf.py_source import render_python
from pytest_ebpf.errors import ObjectError
from support.btf_writer import BtfWriter
from support.every_kind import every_kind
from support.fuzz_cases import time_limit
from support.mutate import mutate

BARE = CHeaderStyle(guard="", preserve_access_index=False)


def header(w: BtfWriter, *types: int) -> str:
    return render_c(parse_btf(w.build()), types or None, style=BARE)


def test_a_long_chain_of_names_is_no_problem() -> None:
    w = BtfWriter()
    link = w.struct("s0", 8, [])
    for number in range(1, 3000):
        link = w.typedef(f"t{number}", w.ptr(link))
    assert header(w, link).count("typedef") == 2999


@pytest.mark.parametrize("kind", ["struct", "function"])
def test_types_without_names_that_double_at_each_level(kind: str) -> None:
    """Written out they would be millions of lines."""
    w = BtfWriter()
    inner = w.int("int", 4, signed=True)
    size = 4
    for _ in range(24 if kind == "struct" else 14):
        if kind == "struct":
            inner, size = w.struct("", 2 * size, [("a", inner, 0), ("b", inner, 8 * size)]), 2 * size
        else:
            inner = w.ptr(w.func_proto(0, [("", inner)] * 3))
    w.typedef("explosion", inner)
    with pytest.raises(ObjectError, match="repeat over and over"):
        header(w)


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_damaged_btf(byteorder: str) -> None:
    """A header and a module, or an ObjectError."""
    data = every_kind(byteorder)[0].build()
    verdicts = set()
    for seed in range(150):
        with time_limit():
            try:
                btf = parse_btf(mutate(data, seed=seed))
                assert render_c(btf).endswith("#endif /* __VMLINUX_H__ */\n")
                assert render_python(btf)
                verdicts.add("written")
            except ObjectError:
                verdicts.add("refused")
    assert verdicts == {"written", "refused"}
