"""The part of a source line that is underlined."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.verifier.explain.caret import Span, span_of
from pytest_ebpf.verifier.explain.explain import explain
from pytest_ebpf.verifier.explain.text import render_explanation
from pytest_ebpf.verifier.log.values import SourceLine
from pytest_ebpf.verifier.verifier_log import parse_log
from support.paths import ROOT


class Row(NamedTuple):
    insn: int
    file: str
    line: int
    col: int
    text: str


TEXT = "\t\treturn eth->h_proto == bpf_htons(ports[i].first) ? 1 : 0;"


def part(column: int, text: str = TEXT, *, shown: str = TEXT) -> str:
    source = SourceLine(shown.strip(), "x.c", 3)
    start, end = span_of(source, insn=5, line_info=[Row(0, "x.c", 2, 1, "int i;"), Row(4, "x.c", 3, column, text)])
    return source.text[start:end]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("return", "return"),
        ("eth", "eth->h_proto"),
        ("h_proto", "eth->h_proto"),
        ("bpf_htons", "bpf_htons"),
        ("first", "ports[i].first"),
        ("==", "=="),
        ("1 :", "1"),
    ],
)
def test_a_name_with_its_members(word: str, found: str) -> None:
    assert part(TEXT.index(word) + 1) == found


def test_the_whole_line_where_the_column_is_not_known() -> None:
    assert part(0) == TEXT.strip()
    assert part(900) == TEXT.strip()
    assert part(3, shown="another line;") == "another line;"
    assert span_of(SourceLine("a b"), insn=0, line_info=[]) == Span(0, 3)


def test_carets_below_the_line_with_the_register() -> None:
    obj = parse_object((ROOT / "sample_programs/built/reject_packet_bounds.bpf.o").read_bytes(), name="x.bpf.o")
    text = """0: R1=ctx() R10=fp0
; struct ethhdr *eth = (void *)(long)ctx->data; @ reject_packet_bounds.bpf.c:9
0: (61) r1 = *(u32 *)(r1 +0)          ; R1_w=pkt(r=0)
; return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP; @ reject_packet_bounds.bpf.c:10
1: (71) r2 = *(u8 *)(r1 +12)
invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0)
R1 offset is outside of the packet
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
    explanation = explain(parse_log(text), line_info=obj.programs[0].line_info)
    assert explanation is not None
    shown = render_explanation(explanation)
    assert "    10 | return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;\n" in shown
    assert "       |        ^^^^^^^^^^^^ R1: packet data (0 bytes proven)\n" in shown
    narrow = render_explanation(explanation, width=40)
    assert "       |        ^^^^^^^^^^^^\n" in narrow, "the label is left out where it does not fit"
    assert max(map(len, shown.splitlines())) <= 80
