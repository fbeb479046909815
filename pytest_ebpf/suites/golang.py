"""What ``go test`` prints: its JSON (``-json``, ``go tool test2json``), and the text of a test binary with ``-test.v``.

Source: cmd/internal/test2json of Go 1.26.
"""

from __future__ import annotations

import json
import re

from pytest_ebpf.suites.case import FAILED, PASSED, SKIPPED, Case

__all__ = ["parse_go", "parse_go_json"]

_RUN = re.compile(r"\x16?=== (?P<word>RUN|CONT|PAUSE|NAME) +(?P<name>\S+)$")
_END = re.compile(r"\x16?\s*--- (?P<word>PASS|FAIL|SKIP): (?P<name>\S+) \((?P<seconds>[\d.]+)s\)$")
_VERDICTS = ("PASS", "FAIL")  # of the whole binary, behind what its last test said
_WORDS = {"PASS": PASSED, "FAIL": FAILED, "SKIP": SKIPPED}
_ACTIONS = {"pass": PASSED, "fail": FAILED, "skip": SKIPPED}


class _Running:
    """A test that has begun: what it printed, and its result once it has one."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.case: Case | None = None


def parse_go(text: str) -> list[Case]:
    """The tests and subtests in the text of ``-test.v``. One that began and never ended is failed."""
    running: dict[str, _Running] = {}
    current = ""
    for line in text.splitlines():
        begun, ended = _RUN.match(line), _END.match(line)
        if begun:
            current = begun["name"]
            running.setdefault(current, _Running())
        elif ended:
            current = ended["name"]
            one = running.setdefault(current, _Running())
            one.case = Case(current, _WORDS[ended["word"]], "", float(ended["seconds"]))
        elif current:
            running[current].said.append(line)
    return [_finished(name, one) for name, one in running.items()]


def _finished(name: str, one: _Running) -> Case:
    lines = [line for line in one.said if not _RUN.match(line) and not _END.match(line)]
    while lines and lines[-1].strip() in ("", *_VERDICTS):
        lines.pop()
    said = "\n".join(lines).strip()
    if one.case is None:
        return Case(name, FAILED, f"it did not end{f'; it printed:{chr(10)}{said}' if said else ''}")
    return Case(name, one.case.outcome, said if one.case.outcome != PASSED else "", one.case.seconds)


def parse_go_json(text: str) -> list[Case]:
    """The tests in the events of ``go test -json``, those of several packages with the package before the name."""
    running: dict[tuple[str, str], _Running] = {}
    for line in text.splitlines():
        try:
            event = json.loads(line) if line.startswith("{") else None
        except ValueError:
            continue
        if not isinstance(event, dict) or not event.get("Test"):
            continue
        key = str(event.get("Package", "")), str(event["Test"])
        one, action = running.setdefault(key, _Running()), str(event.get("Action", ""))
        if action == "output":
            one.said.append(str(event.get("Output", "")).rstrip("\n"))
        elif action in _ACTIONS:
            one.case = Case(key[1], _ACTIONS[action], "", float(event.get("Elapsed") or 0))
    several = len({package for package, _ in running}) > 1
    return [_finished(f"{package}.{name}" if several else name, one) for (package, name), one in running.items()]
