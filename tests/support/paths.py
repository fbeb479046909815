"""Where things are in a checkout, whatever the folder of the test that asks."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ROOT", "TESTS"]

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
