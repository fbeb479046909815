"""Frozen dataclasses of our own, as another process sees them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.paths import ROOT


def test_pytest_shows_the_field_that_differs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from pytest_ebpf.frozen import dataclass

        @dataclass(frozen=True, slots=True)
        class Place:
            name: str
            at: int

        def test_places():
            assert Place("a", 1) == Place("a", 2)
        """
    )
    pytester.runpytest("-vv", "-p", "no:asyncio").stdout.fnmatch_lines(
        ["*Differing attributes:*", "*'at'*", "*at: 1 != 2*"]
    )


def test_defining_and_making_values_does_not_import_the_standard_module() -> None:
    """It imports inspect, ast, dis and more: a fifth of the time that a short command has."""
    program = """
import sys
from pytest_ebpf.frozen import dataclass, replace
@dataclass(frozen=True, slots=True)
class Place:
    name: str
assert replace(Place("a"), name="b") == Place("b") and repr(Place("a")) and hash(Place("a"))
sys.exit("dataclasses" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-S", "-c", program], cwd=ROOT).returncode == 0
