"""What ``cargo test`` binaries print: libtest's text, and its JSON (``-Z unstable-options --format json``).

Source: library/test/src/formatters/pretty.rs and json.rs of Rust 1.95.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pytest_ebpf.suites.case import FAILED, PASSED, SKIPPED, Case

__all__ = ["parse_libtest", "parse_libtest_json", "parse_libtest_list"]

# "test a::b ... ok", "... FAILED", "... ignored, why", "... ok <0.004s>"; with "- should panic" after the name.
_LINE = re.compile(r"test (?P<name>\S.*?)(?: - should panic)? \.\.\. ?(?P<rest>.*)$")
_END = re.compile(r"(?P<word>ok|FAILED|ignored|bench:)(?:, (?P<why>.*?))?(?: <(?P<seconds>[\d.]+)s>)?$")
_OUTPUT = re.compile(r"---- (?P<name>.+?) (?:stdout|stderr) ----$")
_OUTCOMES = {"ok": PASSED, "FAILED": FAILED, "ignored": SKIPPED, "bench:": PASSED}
_EVENTS = {"ok": PASSED, "failed": FAILED, "timeout": FAILED, "ignored": SKIPPED}


def parse_libtest(text: str) -> list[Case]:
    """The tests in libtest's text. One that began and never ended is failed, with what it printed."""
    lines = text.splitlines()
    messages = _messages(lines)
    found: dict[str, Case] = {}
    waiting = ""
    said: list[str] = []
    for line in lines:
        begun = _LINE.match(line)
        rest = begun["rest"] if begun else line
        if begun:
            if waiting:
                found[waiting] = Case(waiting, FAILED, _unfinished(said))
            waiting, said = begun["name"], []
        if not waiting:
            continue
        end = _END.search(rest)
        if end is None or (not begun and end.start() != 0 and not rest.endswith(end["word"])):
            said.append(rest)
            continue
        outcome = _OUTCOMES[end["word"]]
        message = messages.get(waiting, "") if outcome == FAILED else end["why"] or ""
        found[waiting] = Case(waiting, outcome, message, float(end["seconds"] or 0))
        waiting = ""
    if waiting:
        found[waiting] = Case(waiting, FAILED, _unfinished(said))
    return list(found.values())


def _unfinished(said: list[str]) -> str:
    printed = "\n".join(line for line in said if line.strip())
    return f"it did not end{f'; it printed:{chr(10)}{printed}' if printed else ''}"


def _messages(lines: list[str]) -> dict[str, str]:
    """Name -> the output that libtest repeats for a failed test."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        begun = _OUTPUT.match(line)
        if begun:
            name = begun["name"]
            found.setdefault(name, [])
        elif line in ("failures:", "successes:") or line.startswith("test result:"):
            name = ""
        elif name:
            found[name].append(line)
    return {name: "\n".join(said).strip() for name, said in found.items()}


def parse_libtest_list(text: str) -> list[str]:
    """The names in the output of ``--list``; ``--ignored`` with it lists those that are not run."""
    return [line.removesuffix(": test") for line in text.splitlines() if line.endswith(": test")]


def parse_libtest_json(text: str) -> list[Case]:
    """The tests in libtest's JSON, a value per line; other lines are passed over."""
    found: dict[str, Case] = {}
    open_: dict[str, None] = {}
    for event in _values(text):
        name, what = str(event.get("name", "")), str(event.get("event", ""))
        if event.get("type") != "test" or not name:
            continue
        if what == "started":
            open_[name] = None
        elif what in _EVENTS:
            open_.pop(name, None)
            message = str(event.get("stdout") or event.get("message") or event.get("reason") or "")
            found[name] = Case(name, _EVENTS[what], message.strip(), float(event.get("exec_time") or 0))
    return [*found.values(), *(Case(name, FAILED, "it did not end") for name in open_)]


def _values(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value
