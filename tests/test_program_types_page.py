"""docs/program-types.md: what a cell says of the tests that made it."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest

from support.paths import ROOT


@pytest.fixture(scope="module")
def page() -> Any:
    spec = importlib.util.spec_from_file_location("program_types", ROOT / "ci/program_types.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["program_types"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(text: str, kind: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{kind}`")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_outcome_has_its_words(page: Any) -> None:
    def line(kind: str, kernel: str, outcome: str = "passed", reason: str = "", **more: Any) -> Any:
        given = {"option": "", "test": f"tests/vm/test_a.py::test_{kind}", "release": f"{kernel}.0", "needs": ()}
        return page.Line(kind=kind, kernel=kernel, outcome=outcome, reason=reason, **{**given, **more})

    text = page.render(
        [
            line("kprobe", "5.10"),
            line("kprobe", "6.1"),
            line("iter", "6.1", needs=(">=5.8",), test="t.py::test_a"),
            line("iter", "5.10", "skipped", "kernel 5.10 is not >=5.15", needs=(">=5.15",), test="t.py::test_b"),
            line("iter", "6.1", needs=(">=5.15",), test="t.py::test_b"),
            line("lsm", "5.10", "skipped", "CONFIG_BPF_LSM is not set"),
            line("lsm", "6.1", "failed", "assert 1 == 2"),
            line("tcx", "6.1", needs=(">=6.1",)),
            line("xdp", "5.10", needs=("<6.1",)),
            line("usdt", "5.10"),
            line("usdt", "5.10", "skipped", "no | <x>", test="tests/vm/test_a.py::test_more"),
        ]
    )
    assert "5.10 (5.10.0)" in text
    assert "6.1 (6.1.0)" in text
    assert row(text, "kprobe")[1:] == ["works", "works", "[a](../tests/vm/test_a.py)"]
    assert row(text, "iter")[1:3] == ["needs Linux 5.15", "works"]
    assert row(text, "lsm")[1:3] == ["not here <sup>2</sup>", "**fails** <sup>3</sup>"]
    assert row(text, "tcx")[1:3] == ["needs Linux 6.1", "works"]
    assert row(text, "xdp")[1:3] == ["works", "not needed"]
    assert row(text, "usdt")[1:] == ["works, in part <sup>1</sup>", "not run", "[a](../tests/vm/test_a.py) (2)"]
    notes = [line for line in text.splitlines() if line[:2] in ("1.", "2.", "3.")]
    assert len(notes) == 3
    assert "2. CONFIG_BPF_LSM is not set" in notes
    assert any("assert 1 == 2" in note and "test_lsm" in note for note in notes)
    assert any("no \\| &lt;x>" in note for note in notes)


def test_the_order_is_that_of_the_sections(page: Any) -> None:
    lines = [
        page.Line(kind=kind, option="", test="t.py::t", kernel="6.1", release="", outcome="passed", reason="", needs=())
        for kind in ("struct_ops", "xdp", "kprobe", "something")
    ]
    text = page.render(lines)
    kinds = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert kinds == ["kprobe", "xdp", "something", "struct_ops"] or kinds == [
        "kprobe",
        "xdp",
        "struct_ops",
        "something",
    ]
