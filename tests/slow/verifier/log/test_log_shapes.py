"""Logs that are cut anywhere."""

from __future__ import annotations

import pytest

from pytest_ebpf.verifier.verifier_log import parse_log
from support.paths import TESTS

LOGS = TESTS / "data" / "logs"


def log_of(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(errors="replace")


@pytest.mark.parametrize("name", ["asm-5.10/pkt_short_check.l6", "c-7.2/stack_too_big.l6", "c-6.12/iter_ok.l6"])
def test_any_cut_of_a_log_parses(name: str) -> None:
    text = log_of(name)
    for cut in range(0, len(text), 7):
        parse_log(text[cut:])
        parse_log(text[:cut])
        parse_log(text[:cut] + "\r\n\udc80" + text[cut:])
