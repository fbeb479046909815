"""The Test Anything Protocol, versions 13 and 14, as programs and the kernel's kselftest runner print it.

kselftest puts the lines of a nested program behind ``# ``, and ends a program that skips with status 4
(tools/testing/selftests/kselftest.h of Linux 7.3).
"""

from __future__ import annotations

import re

from pytest_ebpf.suites.case import FAILED, PASSED, SKIPPED, Case

__all__ = ["parse_tap"]

_POINT = re.compile(
    r"(?P<indent>(?: {4}|# )*)(?P<not>not )?ok\b ?(?P<number>\d+)?(?: -)? ?(?P<name>[^#]*?)"
    r"(?: ?# ?(?P<word>SKIP|TODO|skip|todo|Skip|Todo)\S*:? ?(?P<why>.*)| ?#.*)?$"
)
_PLAN = re.compile(r"1\.\.(?P<count>\d+)(?: ?# ?(?P<word>SKIP)\S* ?(?P<why>.*))?$", re.IGNORECASE)
_SUBTEST = re.compile(r"\s*# Subtest: (?P<name>.*)$")
_BAIL = re.compile(r"Bail out!\s*(?P<why>.*)$")


def parse_tap(text: str) -> list[Case]:
    """The test points. Those of subtests have the name of their parent before theirs; a point that the plan promises
    and that never came is failed, and so is what a bail-out leaves."""
    cases: list[Case] = []
    nested: list[Case] = []
    said: list[str] = []
    planned, bailed, seen = 0, "", 0
    for line in text.splitlines():
        point, plan, bail = _POINT.match(line), _PLAN.match(line), _BAIL.match(line)
        if bail:
            bailed = bail["why"] or "no reason given"
        elif plan:
            planned = int(plan["count"])
            if plan["word"] and not planned:
                return [Case("all", SKIPPED, plan["why"] or "")]
        elif point and point["indent"]:
            nested.append(_case(point, said=said))
            said = []
        elif point:
            seen += 1
            parent = _case(point, said=said, number=seen)
            cases += [Case(f"{parent.name}/{one.name}", one.outcome, one.message) for one in nested] or []
            cases.append(parent)
            nested, said = [], []
        elif not _SUBTEST.match(line) and not line.startswith("TAP version"):
            said.append(line)
    cases += nested
    cases += [Case(f"test {number}", FAILED, _missing(bailed)) for number in range(seen + 1, planned + 1)]
    if bailed and seen >= planned:
        cases.append(Case("all", FAILED, _missing(bailed)))
    return cases


def _missing(bailed: str) -> str:
    return f"Bail out! {bailed}" if bailed else "the plan has it, and it never came"


def _case(point: re.Match[str], *, said: list[str], number: int = 0) -> Case:
    name = point["name"].strip() or f"test {point['number'] or number}"
    word = (point["word"] or "").upper()
    if word == "SKIP" or (word == "TODO" and point["not"]):
        return Case(name, SKIPPED, (point["why"] or "").strip() or ("to do" if word == "TODO" else ""))
    if point["not"]:
        return Case(name, FAILED, "\n".join(line for line in said if line.strip()))
    return Case(name, PASSED)
