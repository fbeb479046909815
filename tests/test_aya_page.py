"""docs/aya.md: every row says what it is here, every test it names exists, and its counts are those of its checker."""

from __future__ import annotations

import re
import sys
from functools import cache
from typing import Any

import pytest

from support.paths import ROOT

PAGE = (ROOT / "docs/aya.md").read_text()
API = PAGE.partition("\n## Aya's API\n")[2]
ROWS = [line for line in API.splitlines() if line.startswith("| `")]
LINK = re.compile(r"\[(test_\w+)\]\[(\w+)\]")
FILES = dict(re.findall(r"^\[(\w+)\]: \.\./(\S+)$", PAGE, re.MULTILINE))
CRATES = {"aya": 200, "aya-obj": 60, "aya-log": 15, "aya-tool": 4}  # names that each has at least

sys.path.append(str(ROOT / "benchmarks"))
import aya_api  # type: ignore[import-not-found]  # noqa: E402


@cache
def functions(path: str) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", (ROOT / path).read_text(), re.MULTILINE))


@pytest.mark.parametrize(("name", "ref"), sorted(set(LINK.findall(API))))
def test_each_test_that_is_named_exists(name: str, ref: str) -> None:
    assert name in functions(FILES[ref]), f"{FILES[ref]} has no {name}: say in docs/aya.md which test shows it now"


def test_every_row_has_an_answer() -> None:
    assert len(ROWS) > 100
    for row in ROWS:
        item, here, tests = row.strip("| ").split(" | ")
        assert item
        assert here
        assert LINK.search(tests) or (tests == "–" and here.startswith("–")), f"neither a test nor a reason: {row}"


def test_no_file_is_listed_in_vain() -> None:
    assert set(FILES) == {ref for _, ref in LINK.findall(API)}


@pytest.mark.parametrize("crate", CRATES)
def test_every_crate_has_its_table(crate: str) -> None:
    assert len(aya_api.rows_of(PAGE, crate)) >= CRATES[crate]


# -- the checker, on a crate of three items


def item(
    id: int, name: str, kind: str, inner: dict[str, Any], visibility: str = "public"
) -> tuple[str, dict[str, Any]]:
    return str(id), {"id": id, "name": name, "visibility": visibility, "inner": {kind: inner}}


def small_crate() -> dict[str, Any]:
    """Struct Map { insert, hidden }, reached by two paths; a function; a trait; a private module."""
    index = dict(
        [
            item(0, "aya_log", "module", {"items": [1, 2, 3, 4, 9]}),
            item(1, "maps", "module", {"items": [5]}),
            item(2, "Map", "use", {"name": "Map", "id": 5, "is_glob": False}),
            item(3, "loaded", "function", {}),
            item(4, "inside", "module", {"items": [3]}, "default"),
            item(5, "Map", "struct", {"impls": [6, 7]}),
            item(6, "", "impl", {"trait": None, "items": [8, 10]}),
            item(7, "", "impl", {"trait": {"path": "Clone"}, "items": [11]}),
            item(8, "insert", "function", {}),
            item(9, "Pod", "trait", {"items": [12]}),
            item(10, "hidden", "function", {}, "default"),
            item(11, "clone", "function", {}),
            item(12, "size", "function", {}, "default"),
        ]
    )
    return {"index": index, "root": 0, "crate_version": "1.0.0"}


def test_public_items_of_a_crate() -> None:
    assert aya_api.public_items(small_crate()) == {"Map": {"insert"}, "loaded": set(), "Pod": {"size"}}


def test_what_a_page_lacks_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = (
        "| `Map`: `insert` | here | – |",
        "| `loaded()`, `Gone` | here | – |",
        "",
        "### other",
        "| `Pod`: `size` | x | y |",
    )
    page = "\n### aya-log\n\n" + "\n".join(rows) + "\n"
    assert aya_api._check(small_crate(), page) == 3
    printed = capsys.readouterr().out
    assert "not in the table: Pod, Pod::size" in printed
    assert "in the table, not in the crate: Gone" in printed
