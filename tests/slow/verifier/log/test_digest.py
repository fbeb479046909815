"""Logs that are too big to hold."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator

from hypothesis import given, settings, strategies as st

from pytest_ebpf.verifier.digest import digest_log, read_blocks
from pytest_ebpf.verifier.log.lines import Kind
from pytest_ebpf.verifier.log.trace import parse_trace
from support.verifier_logs import all_logs

LOG = all_logs()["c-6.18/iter_ok.l2"]
REJECTED = all_logs()["c-6.12/null_deref.l1"]
REPORT = all_logs()["c-7.3/kfunc_leak.l1"]


def pieces(data: bytes, *, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def test_blocks_are_the_log() -> None:
    data = (LOG * 400).encode() + b"\xff\xfe broken \xe2\x82 bytes\n" + REJECTED.encode()
    blocks = list(read_blocks(pieces(data, size=70_001)))
    assert len(blocks) > 1
    assert "".join(block.render() for block in blocks).encode(errors="surrogateescape") == data


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 7))
def test_any_bytes(data: bytes, size: int) -> None:
    blocks = read_blocks(pieces(data, size=size))
    assert "".join(block.render() for block in blocks).encode(errors="surrogateescape") == data


def test_a_digest_counts_what_a_parse_counts() -> None:
    text = LOG * 300 + REPORT
    digest = digest_log(pieces(text.encode(), size=65536))
    whole = Counter(parse_trace(text).kinds)
    whole[Kind.BLANK] -= 1
    assert digest.counts == {kind: number for kind, number in whole.items() if number}
    assert digest.lines == text.count("\n")
    assert (digest.size, digest.cut, digest.unknown_lines) == (len(text), False, 0)


def test_a_report_is_never_cut() -> None:
    """However the blocks fall, its lines are the report's."""
    for shift in range(300, 1000, 230):
        text = "; x\n" * ((1 << 18) - 700 + shift) + REPORT
        digest = digest_log([text[: 1 << 20], text[1 << 20 :]])
        assert digest.counts[Kind.REPORT] == parse_trace(REPORT).count(Kind.REPORT)


def test_the_end_of_a_big_log_is_explained_in_bounded_memory() -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield LOG.encode() * 90  # about half a megabyte
        yield REJECTED.encode()

    tracemalloc.start()
    digest = digest_log(chunks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert digest.size > 9 << 20
    assert digest.cut
    assert peak < 60 << 20
    assert digest.log.error == "R0 invalid mem access 'map_value_or_null'"
    assert digest.log.explanation is not None


def test_a_line_without_end() -> None:
    digest = digest_log(["x" * (1 << 20)] * 9)
    assert digest.size == 9 << 20
    assert digest.unknown_lines >= 1
