"""docs/walk.md: its files and commands, run in the order of the page, say what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.paths import ROOT

pytestmark = pytest.mark.slow
PAGE = ROOT / "docs" / "walk.md"
BLOCK = re.compile(r"(?:^`(?P<file>[\w.]+)`:\n\n)?^```(?P<lang>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (?P<line>.*)\n(?P<said>(?:(?!\$ ).*\n)*)", re.MULTILINE)
ANYTHING = "…"


@dataclass(frozen=True, slots=True)
class Step:
    """A file to write, or a command with what it prints; ``…`` stands for any text, in a line or over lines."""

    name: str
    text: str
    is_file: bool


def steps(page: str) -> list[Step]:
    found: list[Step] = []
    for block in BLOCK.finditer(page):
        if block["file"]:
            found.append(Step(block["file"], block["text"], True))
        elif block["lang"] == "console":
            found += [Step(each["line"], each["said"], False) for each in COMMAND.finditer(block["text"])]
    return found


def expected(said: str) -> re.Pattern[str]:
    """The output as the page has it: blank lines and blanks at ends of lines do not count."""
    return re.compile(".*".join(map(re.escape, plain(said).split(ANYTHING))), re.DOTALL)


def plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def environment() -> dict[str, str]:
    """This tree's package and its commands, and no settings of the run around."""
    tools = Path(sys.executable).parent
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return kept | {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "120"}


def test_the_page_from_its_first_block_to_its_last(tmp_path: Path) -> None:
    taken = steps(PAGE.read_text())
    assert [step.name for step in taken if step.is_file] == ["exec_by.bpf.c", "test_exec_by.py"]
    assert [step.name.split()[0] for step in taken if not step.is_file].count("pytest-ebpf") >= 4
    for step in taken:
        if step.is_file:
            (tmp_path / step.name).write_text(step.text)
            continue
        command = ["bash", "-c", f"set -o pipefail; {step.name}"]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"$ {step.name}\n{done.stdout}{done.stderr}"
        assert expected(step.text).fullmatch(plain(done.stdout)), f"$ {step.name}\n{done.stdout}"
