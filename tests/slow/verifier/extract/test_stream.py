"""Item 5: texts of any size, in which every rejection is reported."""

from __future__ import annotations

import pytest

from pytest_ebpf.verifier.extract.extract import Found, extract_logs
from pytest_ebpf.verifier.extract.stream import read_logs
from pytest_ebpf.verifier.extract.verdict import judge
from support.large_paste import WRAPS, Wrap, large_text, libbpf, plain
from support.verifier_logs import all_logs

LOGS = all_logs()


def pieces(text: str, *, size: int) -> list[bytes]:
    data = text.encode(errors="surrogateescape")
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_05_every_rejection_of_a_large_text(wrap: Wrap) -> None:
    text, names = large_text(wrap, programs=1300, rejected=12)
    assert len(text) > 4 << 20
    verdicts = [judge(found) for found in read_logs(pieces(text, size=1 << 20))]
    rejected = [verdict for verdict in verdicts if verdict.verdict == "rejected"]
    assert len(verdicts) == 1300
    assert len(rejected) == 12
    if wrap is not plain:
        assert [verdict.program for verdict in rejected] == names
    assert all(verdict.log.stats.insns is not None for verdict in verdicts)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_large_text_is_read_like_a_small_one(wrap: Wrap) -> None:
    text, _ = large_text(wrap, programs=110, rejected=9)
    at_once = [judge(found) for found in extract_logs(text)]
    assert len(text) > 1 << 18  # so that the other way is taken
    streamed = [judge(found) for found in read_logs([text])]

    def shown(verdicts: list[object]) -> list[object]:
        return [(one.verdict, one.program, one.log.error, one.log.stats) for one in verdicts]  # type: ignore[attr-defined]

    assert shown(list(streamed)) == shown(list(at_once))


def test_every_rejection_of_a_text_without_figures() -> None:
    """Linux before 5.2 prints none."""
    log = "0: (b7) r0 = 0\n1: (79) r1 = *(u64 *)(r7 +0)\nR7 !read_ok\n"
    text = "".join(libbpf(f"bad_{number}", "0: (b7) r0 = 0\n" * 9000 + log, refused=True) for number in range(33))
    verdicts = [judge(found) for found in read_logs(pieces(text, size=1 << 20))]
    assert [(one.program, one.log.error) for one in verdicts] == [(f"bad_{n}", "R7 !read_ok") for n in range(33)]


def test_a_large_text_without_any_log() -> None:
    assert [judge(found).verdict for found in read_logs(["nothing of interest here\n" * 100_000])] == ["unknown"]
    assert list(read_logs([])) == [Found("")]


def test_the_end_of_one_long_log() -> None:
    log = "0: (b7) r1 = 0                        ; R1=0\n" * 220_000 + LOGS["c-6.12/null_deref.l1"]
    (found,) = read_logs(pieces(libbpf("late", log, refused=True), size=1 << 20))
    verdict = judge(found)
    assert (verdict.program, verdict.log.error) == ("late", "R0 invalid mem access 'map_value_or_null'")
