"""Literal text with ``{{regex}}`` holes as a regular expression: what the kernel's selftests call a message pattern.

Grammar: compile_regex() in tools/testing/selftests/bpf/test_loader.c (Linux 6.12). Holes there are POSIX extended
expressions compiled with REG_NEWLINE: no ``.`` and no ``[^x]`` runs over the end of a line, ``^`` and ``$`` are those
of a line. The same holds here, on top of Python's notation.
"""

from __future__ import annotations

import re

from pytest_ebpf.errors import UsageError

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
    """A pattern as a regular expression. Raises UsageError for a hole that is not one, or is left open."""
    parts: list[str] = []
    loose: list[str] = []  # the kernel does not group holes, so one may open what another closes
    end = 0
    for hole in HOLE.finditer(pattern):
        before, regex = re.escape(pattern[end : hole.start()]), _lines(hole[1])
        parts += [before, f"(?:{regex})"]
        loose += [before, regex]
        end = hole.end()
    rest = pattern[end:]
    if "{{" in rest:
        raise UsageError(f"pattern {pattern!r}: '{{{{' is never closed", hint="write a hole as {{regex}}")
    try:
        return re.compile("".join([*parts, re.escape(rest)]), re.MULTILINE)
    except re.error:
        return _loose("".join([*loose, re.escape(rest)]), pattern=pattern)


def literal_of(pattern: str) -> str:
    """The pattern without its holes: for comparing it with lines."""
    return HOLE.sub("", pattern)


def _loose(regex: str, *, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(regex, re.MULTILINE)
    except re.error as error:
        for hole in HOLE.finditer(pattern):
            try:
                re.compile(_lines(hole[1]))
            except re.error as own:
                raise UsageError(f"pattern {pattern!r}: {hole[0]} is not a regular expression: {own}") from None
        raise UsageError(f"pattern {pattern!r}: its holes make no regular expression: {error}") from None


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
        return regex[start:], len(regex)  # never closed: re says so
    return f"[{'^' if negated else ''}{''.join(inside)}{chr(92) + 'n' if negated else ''}]", at + 1
