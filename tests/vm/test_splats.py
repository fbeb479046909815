"""Real warnings of a kernel: soft lockups, made by a program that lingers. ci/splats does it on three kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.splats import run, wrong

pytestmark = pytest.mark.slow


def test_a3_a_real_warning_fails_its_test_and_no_other(tmp_path: Path) -> None:
    done = run("6.1", tmp_path)
    assert wrong(done) == "", done.stdout + done.stderr
