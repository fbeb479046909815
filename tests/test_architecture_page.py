"""docs/architecture.md: the files and functions that it names exist."""

from __future__ import annotations

import re

import pytest

from support.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
FILES = sorted(set(re.findall(r"`((?:[\w.]+/)+(?:[\w.]+)?)`", PAGE)))
WALK = re.findall(r"((?:`[\w.]+`, )*`[\w.]+`) \(`([\w/.]+)`\)", PAGE)


@pytest.mark.parametrize("name", FILES)
def test_each_file_exists(name: str) -> None:
    assert (ROOT / name).exists() or (ROOT / "pytest_ebpf" / name).exists()


@pytest.mark.parametrize(("names", "file"), WALK, ids=[file for _, file in WALK])
def test_each_function_of_the_walk_is_in_its_file(names: str, file: str) -> None:
    path = ROOT / "pytest_ebpf" / file
    files = [path] if path.is_file() else path.rglob("*.py")
    text = "\n".join(each.read_text() for each in files)
    for name in re.findall(r"`([\w.]+)`", names):
        for part in name.split("."):
            assert re.search(rf"^\s*(def|class) {part}\b", text, re.MULTILINE), f"{file} has no {part}"


def test_the_walk_is_there() -> None:
    assert len(WALK) > 10
