"""All rules, and finding the one that a rejection belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_ebpf.verifier.rejection.rule import Rule
from pytest_ebpf.verifier.rejection.rules_calls import CALL_RULES
from pytest_ebpf.verifier.rejection.rules_memory import MEMORY_RULES
from pytest_ebpf.verifier.rejection.rules_program import PROGRAM_RULES
from pytest_ebpf.verifier.rejection.rules_state import STATE_RULES

__all__ = ["RULES", "find_rule", "matches"]

# Characters of a line that are looked at; the kernel formats messages in 1024 (BPF_VERIFIER_TMP_LOG_SIZE).
_LONGEST = 1024

RULES: tuple[Rule, ...] = MEMORY_RULES + CALL_RULES + STATE_RULES + PROGRAM_RULES


def matches(line: str) -> Iterator[tuple[Rule, re.Match[str]]]:
    """Every rule that one message line matches; the tests hold that it is at most one."""
    line = line[:_LONGEST]
    for rule in RULES:
        found = re.match(rule.pattern, line)
        if found is not None:
            yield rule, found


def find_rule(messages: Sequence[str]) -> tuple[Rule, re.Match[str]] | None:
    """The rule of a rejection: that of the first message that is not a second line; else that of a second line."""
    fallback = None
    for line in messages:
        for rule, found in matches(line):
            if not rule.second:
                return rule, found
            fallback = fallback or (rule, found)
    return fallback
