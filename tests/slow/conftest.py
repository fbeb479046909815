"""What needs no kernel and is no unit test: it starts processes, tries thousands of inputs, or reads megabytes."""

from __future__ import annotations

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("slow")
