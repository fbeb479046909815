"""docs/contexts.md lists every field of every context as ``live/run/contexts.py`` has it (C8: byte order per field)."""

from __future__ import annotations

import pytest

from pytest_ebpf.live.run.contexts import CONTEXTS, Field
from support.paths import ROOT

PAGE = ROOT / "docs" / "contexts.md"


def row(field: Field) -> str:
    size = f"{8 * field.size} bits" + (f" × {field.count}" if field.count > 1 else "")
    order = "network" if field.big_endian else "host"
    value = "number"
    if field.is_address:
        value = 'number or "192.0.2.1"' if field.count == 1 else '"2001:db8::1" or 4 numbers'
    if field.is_interface:
        value = "number or interface"
    allowed = f"since {field.since}" if field.since else "yes" if field.settable else "no"
    return f"| `{field.name}` | {size} | {order} | {value} | {allowed} |"


@pytest.mark.parametrize("name", CONTEXTS)
def test_every_field_has_its_row(name: str) -> None:
    lines = PAGE.read_text(encoding="utf-8").partition(f"## {name}\n")[2].partition("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert rows == [row(field) for field in CONTEXTS[name].fields]
