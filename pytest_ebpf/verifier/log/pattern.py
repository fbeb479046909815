"""Literal text with ``{{regex}}`` holes as a regular expression: what the kernel's selftests call a message pattern.

Grammar: compile_regex() in tools/testing/selftests/bpf/test_loader.c (Linux 6.12). Holes there are POSIX extended
expressions compiled with REG_NEWLINE: no ``.`` and no ``[^x]`` runs over the end of a line, ``^`` and ``$`` are those
of a line. The same holds here, on top of Python's notation.
"""

from __future__ import annotations

import re

from pytest_ebpf.errors import BpfUsageError

__all__ = ["HOLE", "compile_pattern", "literal_of"]

HOLE = re.compile(r"\{\{(.*?)\}\}(?!\})", re.DOTALL)  # "}}}": a hole may end in a quantifier, {{[0-9]{2}}}

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "digit": "0-9",
    "lower": "a-z",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_CLASS = re.compile(r"\[:(\w+):\]")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression. Raises BpfUsageError for a hole that is not one, or is left open."""
    holes = list(HOLE.finditer(pattern))
    rest = pattern[holes[-1].end() :] if holes else pattern
    if "{{" in rest:
        raise BpfUsageError(f"pattern {pattern!r}: '{{{{' is never closed", hint="write a hole as {{regex}}")
    errors = [error for hole in holes if (error := _error(_lines(hole[1])))]
    parts: list[str] = []
    end = 0
    for hole in holes:
        regex = _lines(hole[1])
        # The kernel's parser does not group holes, so one may open what another closes.
        parts += [re.escape(pattern[end : hole.start()]), regex if errors else f"(?:{regex})"]
        end = hole.end()
    joined = "".join([*parts, re.escape(rest)])
    if errors and _error(joined):
        wrong = next(hole[0] for hole in holes if _error(_lines(hole[1])))
        raise BpfUsageError(f"pattern {pattern!r}: {wrong} is not a regular expression: {errors[0]}")
    return re.compile(joined, re.MULTILINE)


def literal_of(pattern: str) -> str:
    """The pattern without its holes: for comparing it with lines."""
    return HOLE.sub("", pattern)


def _error(regex: str) -> re.error | None:
    try:
        re.compile(regex)
    except re.error as error:
        return error
    return None


def _lines(regex: str) -> str:
    """A hole with its bracket expressions in Python's notation, none of which crosses lines."""
    out: list[str] = []
    at = 0
    while at < len(regex):
        if regex[at] == "\\":
            out.append(regex[at : at + 2])
            at += 2
        elif regex[at] == "[":
            text, at = _bracket(regex, at)
            out.append(text)
        else:
            out.append(regex[at])
            at += 1
    return "".join(out)


def _bracket(regex: str, start: int) -> tuple[str, int]:
    """The bracket expression that opens at ``start``, and where the text behind it begins."""
    at = start + 1
    negated = regex.startswith("^", at)
    at += negated
    inside: list[str] = []
    if regex.startswith("]", at):  # the first character may be the bracket itself
        inside.append(r"\]")
        at += 1
    while at < len(regex) and regex[at] != "]":
        named = _CLASS.match(regex, at)
        if named and named[1] in _CLASSES:
            inside.append(_CLASSES[named[1]])
            at = named.end()
            continue
        step = 2 if regex[at] == "\\" else 1
        inside.append(r"\[" if regex[at] == "[" else regex[at : at + step])
        at += step
    if at >= len(regex):
        return regex[start:], len(regex)  # never closed: re reports it
    return f"[{'^' if negated else ''}{''.join(inside)}{chr(92) + 'n' if negated else ''}]", at + 1
