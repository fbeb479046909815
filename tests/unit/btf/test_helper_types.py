"""C headers for use beside <bpf/bpf_helpers.h>."""

from __future__ import annotations

from pytest_ebpf.btf.c_header import CHeaderStyle, render_c
from pytest_ebpf.btf.parse import parse_btf
from support.btf_writer import BtfWriter


def test_numbers_of_the_helpers_are_declared_once() -> None:
    """<bpf/bpf_helpers.h> uses them and declares none: a header of all types has them, one of a few may not."""
    w = BtfWriter()
    u16 = w.int("unsigned short", 2)
    w.struct("s", 2, [("a", w.typedef("__u16", u16), 0)])
    text = render_c(parse_btf(w.build()), style=CHeaderStyle(helper_types=True))
    before, inside = text.split("#ifdef __bpf__")
    assert "typedef" not in before
    helpers = inside.partition("#endif")[0]
    assert "typedef unsigned short __be16;" in helpers
    assert "typedef unsigned int __wsum;" in helpers
    assert "__u16" not in helpers
    assert text.count(" __u16;") == 1
    assert "__wsum" not in render_c(parse_btf(w.build()))
