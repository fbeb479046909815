"""Documented examples run: what a reader copies works."""

from __future__ import annotations

import ast
import re

import pytest

from support.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "sample_programs/README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks() -> list[object]:
    return [
        pytest.param(code, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, code in enumerate(BLOCK.findall(page.read_text()), 1)
    ]


def is_test(code: str) -> bool:
    return "def test_" in code


@pytest.mark.parametrize("code", blocks())
def test_examples_are_python(code: str) -> None:
    ast.parse(code)


@pytest.mark.parametrize("code", [block for block in blocks() if is_test(block.values[0])])
def test_examples_that_are_tests_pass(code: str, pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\nbpf_object_dirs = {ROOT / 'sample_programs/built'}")
    pytester.makepyfile(code if "import pytest\n" in code else f"import pytest\n{code}")
    outcomes = pytester.runpytest("--bpf-kernels=host", "--bpf-update=new").parseoutcomes()
    expected = code.count("def test_") + len(re.findall(r"def test_.*\bbpf_path\b", code))  # which runs a test twice
    assert outcomes.get("passed", 0) + outcomes.get("skipped", 0) == expected, outcomes
    assert outcomes.get("passed", 0) > 0, "an example that is skipped shows nothing"
