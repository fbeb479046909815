"""Some of the losses of ci/losses, with a kernel (issue 14, A1 and A4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.losses import Loss, run, wrong

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("how", "at"), [("panic", "behind the last call"), ("killed", "in a batch"), ("closed", "session end")]
)
def test_a1_a_lost_guest_is_told_by_the_right_test(tmp_path: Path, how: str, at: str) -> None:
    loss = Loss("6.1", how, at)
    done = run(loss, tmp_path)
    assert wrong(loss, done) == "", done.stdout + done.stderr
