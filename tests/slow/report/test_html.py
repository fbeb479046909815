"""The HTML page as text; tests/browser looks at it."""

from __future__ import annotations

from pytest_ebpf.report.html import render_html
from support.report_runs import large_run


def test_a_large_run_is_below_two_megabytes() -> None:
    page = render_html(large_run())
    assert len(page.encode()) < 2_000_000
    assert page.count('class="cell ') == 1200
    assert "--bpf-json=FILE has all texts" not in page
