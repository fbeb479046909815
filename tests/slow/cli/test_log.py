"""``pytest-ebpf log explain`` of every log of the test data, and of megabytes."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from pytest_ebpf.cli.log import log
from pytest_ebpf.verifier.explain.text import render_explanation
from pytest_ebpf.verifier.verifier_log import parse_log
from support.verifier_logs import all_logs

LOGS = all_logs()
REJECTED = LOGS["c-6.12/null_deref.l1"]


def test_every_explanation_fits_eighty_columns() -> None:
    for name, text in LOGS.items():
        explanation = parse_log(text).explanation
        lines = render_explanation(explanation).splitlines() if explanation is not None else []
        assert max(map(len, lines), default=0) <= 80, name


def test_the_end_of_a_huge_file(tmp_path: Path) -> None:
    path = tmp_path / "huge.log"
    path.write_text("0: (b7) r1 = 0                        ; R1=0\n" * 220_000 + REJECTED)
    assert path.stat().st_size > 9 << 20
    result = CliRunner().invoke(log, ["explain", str(path), "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)[-1]["class"] == "null-deref"
