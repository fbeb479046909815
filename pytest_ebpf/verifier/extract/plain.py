"""Text as it was pasted -> the lines that the verifier and the loader printed.

Each step undoes one kind of wrapping: colours, line ends, HTML entities and tags, JSON, logfmt, escaped newlines, and
what stands before or behind every line (timestamps, container names, indents, quotes, table borders, comment marks).
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator

from pytest_ebpf.verifier.extract.framing import Role, frame_of
from pytest_ebpf.verifier.log.lines import Kind, kind_of

__all__ = ["plain_lines"]

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\n]*\x07|(?:\^\[|\\x1b|\\033|\\e)\[[0-9;]*m")
_ENTITY = re.compile(r"&(?:#x?[0-9a-fA-F]+|amp|lt|gt|quot|apos|nbsp);")
_STRAIGHT = {0x201C: '"', 0x201D: '"', 0x2018: "'", 0x2019: "'"}  # what editors make of quotes
_TAG = re.compile(
    r"</?(?:pre|code|p|span|div|li|ul|td|tr|table|blockquote|details|summary|b|i|strong|em)(?: [^<>\n]*)?/?>"
)
_BOLD = re.compile(r"^((?:[>\s*-]*\s)?)(\*\*|__)(?=\S)(.+?\S)\2\s*$", re.MULTILINE)
# A bold part of a line that may be a message: it has a line of its own.
_BOLD_PART = re.compile(r"^([^\n*]*)\*\*((?:R\d|invalid |[a-z]+ )[^\n*]{8,})\*\*([^\n*]*)$", re.MULTILINE)
_BREAK = re.compile(r"<br ?/?>\n?")
# A newline that is escaped, before something that the verifier prints at the start of a line.
_LOG_NEXT = (
    r"(?=(?:\\+[trn]|[ \t])*(?:\d+: |;|R\d+ |R\d+=|processed \d|from \d|func#\d|libbpf: |invalid |-- (?:BEGIN|END)))"
)
_ESCAPED = re.compile(r"\\+(?:r\\+)?n" + _LOG_NEXT)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LOGFMT = re.compile(r'\b(?:msg|message|error|err|log)="((?:[^"\\]|\\.)*)"')
_LOGFMT_LINE = re.compile(r"\b(?:level|lvl|severity|time|ts|subsys)=\S")
_TEXT_KEYS = ("log", "msg", "message", "MESSAGE", "error", "err", "stderr", "output", "text", "body", "verifier_log")
# Lines whose beginning is known even if something stands before them.
_ANCHOR = re.compile(r"(?:\d+: (?:\([0-9a-f]{2}\) |R\d+(?:_[a-z]+)?=)|processed \d+ insns\b)")
_STRONG = re.compile(r"\d+: R\d|processed ")
_INSIDE = re.compile(r"(?:before|regs=\S*|from|at|insn) $|\d+: \([0-9a-f]{2}\) |[;@] |mark_precise|directly$|call$")
_FIGURES = re.compile(
    r"processed \d+ insns(?: \(limit \d+\))?(?: (?:max_states_per_insn|total_states|peak_states|mark_read) \d+)*"
)
_MOST_SHAPES = 12
# What a prefix that is there once ends in: a bracket, a bar, a colon, a mark.
_SEPARATOR = re.compile(r"[\]|>:*#/!$)=-]\s*$|Z\s+$")


def plain_lines(text: str) -> list[str]:
    """The lines of a text, without what stands around them. Never raises."""
    for step in _STEPS:
        text = step(text)
    lines = text.split("\n")
    for shape in _shapes(lines):
        lines = _without(lines, re.compile(shape))
    return lines


def _without_colours(text: str) -> str:
    return _ANSI.sub("", text) if "\x1b" in text or "[" in text else text


def _with_newlines(text: str) -> str:
    """One kind of line end. The kernel's text ends at the first NUL."""
    text = text.split("\0", 1)[0]
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _without_html(text: str) -> str:
    if "\u201c" in text or "\u201d" in text or "\u2018" in text or "\u2019" in text:
        text = text.translate(_STRAIGHT)
    if "&" in text:
        text = _ENTITY.sub(lambda found: html.unescape(found[0]).replace("\xa0", " "), text)
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", text))
    if "**" in text or "__" in text:
        text = _BOLD.sub(r"\1\3", text)  # Markdown: a whole line that is bold
        text = _BOLD_PART.sub(r"\1\n\2\n\3", text)
    return text.replace("\xa0", " ")


def _without_json(text: str) -> str:
    """Objects, one per line or one in all, are replaced by the texts in them."""
    if "{" not in text and "[" not in text:
        return text
    if text.lstrip()[:1] in ("{", "[") and (whole := _json_texts(text)) is not None:
        return whole
    return "\n".join(_line_of_json(line) for line in text.split("\n"))


def _line_of_json(line: str) -> str:
    start = line.find("{")
    if start < 0 or not line.rstrip().endswith("}") or '"' not in line:
        return line
    found = _json_texts(line[start:])
    return line if found is None else line[:start] + found if line[:start].strip() else found


def _json_texts(text: str) -> str | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict | list):
        return None
    return "\n".join(part.rstrip("\n") for part in _texts_of(value))


def _texts_of(value: object, *, depth: int = 0) -> Iterator[str]:
    """The texts that may hold a log: of an object its message fields, or all if it has none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < 8:
        if value and all(isinstance(byte, int) and 0 <= byte < 256 for byte in value):  # journald's bytes
            yield bytes(value).decode(errors="replace")
            return
        for part in value:
            yield from _texts_of(part, depth=depth + 1)
    elif isinstance(value, dict) and depth < 8:
        known = [value[key] for key in value if key in _TEXT_KEYS]
        nested = [part for part in value.values() if isinstance(part, dict | list)]
        for part in [*known, *(one for one in nested if one not in known)] if known else value.values():
            yield from _texts_of(part, depth=depth + 1)


def _without_logfmt(text: str) -> str:
    if "=" not in text or not _LOGFMT_LINE.search(text):
        return text
    return "\n".join(_line_of_logfmt(line) for line in text.split("\n"))


def _line_of_logfmt(line: str) -> str:
    if not _LOGFMT_LINE.search(line) or _ANCHOR.match(line):
        return line
    values: list[str] = _LOGFMT.findall(line)
    if values:
        return "\n".join(_unescaped(value) for value in values)
    return "" if re.fullmatch(r"(?:\s*\w+=\S+)+\s*", line) else line


def _without_escapes(text: str) -> str:
    """A log on one line, its newlines written as ``\\n``, perhaps escaped several times over."""
    for _ in range(3):
        if "\\n" not in text or not any(map(_is_escaped, text.split("\n"))):
            break
        text = "\n".join(_line_of_escapes(line) for line in text.split("\n"))
    return text


def _is_escaped(line: str) -> bool:
    """Whether a line holds a log whose newlines are escaped. A quoted source line may have such newlines too, but no
    instruction behind them."""
    if "\\n" not in line:
        return False
    return _ESCAPED.search(line) is not None or (
        line.count("\\n") > 2 and _ANCHOR.search(line, line.find("\\n")) is not None
    )


def _line_of_escapes(line: str) -> str:
    if not _is_escaped(line):
        return line
    parts: list[str] = []
    end = 0
    for quoted in _QUOTED.finditer(line):
        if _is_escaped(quoted[1]):
            parts += [line[end : quoted.start()].rstrip(), _unescaped(quoted[1]).rstrip("\n")]
            end = quoted.end()
    if not parts:
        return _unescaped(line)
    return "\n".join(part for part in (*parts, line[end:]) if part.strip())


_SIMPLE = {"n": "\n", "t": "\t", "r": "", '"': '"', "'": "'", "/": "/", "\\": "\\"}


def _unescaped(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        return _SIMPLE.get(found[2], found[0])

    return re.sub(r"\\(?:u00([0-9a-fA-F]{2})|(.))", one, text)


_STEPS: tuple[Callable[[str], str], ...] = (
    _without_colours,
    _with_newlines,
    _without_html,
    _without_json,
    _without_logfmt,
    _without_escapes,
)


def _shapes(lines: list[str]) -> list[str]:
    """What stands before the verifier's lines, as regular expressions; the most frequent first."""
    found: Counter[str] = Counter()
    strong: set[str] = set()
    separated: set[str] = set()
    bare = 0
    for line in lines:
        place = _ANCHOR.search(line)
        if place is None or place.start() == 0:
            bare += place is not None
            continue
        before = line[: place.start()]
        if (
            _INSIDE.search(before)
            or _begins_a_log(before)
            or kind_of(line)
            not in (
                Kind.MESSAGE,
                Kind.ANALYSIS,
                Kind.QUOTE,
                Kind.SOURCE,
                Kind.STATE,
            )
        ):
            continue
        shape = _shape(before)
        found[shape] += 1
        if _SEPARATOR.search(before) and len(before) < 120:
            separated.add(shape)
        if _STRONG.match(line, place.start()):
            strong.add(shape)
    blank = [shape for shape in found if not re.sub(r"\\[ t]|\\?\s", "", shape)]
    keep = {shape for shape in blank if shape in strong} or ({min(blank, key=len)} if blank and not bare else set())
    return [
        shape
        for shape, number in found.most_common(_MOST_SHAPES)
        if (shape in keep if shape in blank else number > 1 or shape in separated or _is_usual(shape, lines))
    ]


def _begins_a_log(before: str) -> bool:
    """Whether a loader's words, with which a log begins, stand there: the first line of the log is on theirs."""
    framed = frame_of(before)
    return framed is not None and framed[0].role is Role.BEGIN


def _is_usual(shape: str, lines: list[str]) -> bool:
    """Whether half of the lines begin so."""
    pattern = re.compile(shape)
    counted = [line for line in lines if line.strip()]
    return 2 * sum(pattern.match(line) is not None for line in counted) >= len(counted)


def _shape(before: str) -> str:
    """The prefix with its numbers left open; an indent is what it is."""
    if not before.strip():
        return re.escape(before)
    body = before.rstrip()
    gap = re.escape(before[len(body) :])
    gap = f"(?:{gap}|$)" if gap else ""  # an empty line may have lost the blank
    return re.sub(r"(?:\d|\\\.)+", r"[\\d.]+", re.escape(body)).replace(r"\ ", r"\s+") + gap


def _without(lines: list[str], prefix: re.Pattern[str]) -> list[str]:
    """The lines with the prefix taken off, in every run of lines that have it and are the verifier's in part."""
    found = list(lines)
    at = 0
    while at < len(lines):
        if prefix.match(lines[at]) is None:
            at += 1
            continue
        end = at
        while end < len(lines) and (prefix.match(lines[end]) or not lines[end].strip()):
            end += 1
        run = [prefix.sub("", line, count=1) for line in lines[at:end]]
        if any(_ANCHOR.match(line) for line in run):
            found[at:end] = _without_suffix(run)
        at = end
    return found


def _without_suffix(run: list[str]) -> list[str]:
    """Without what stands behind every line: the closing quote, fields of the log's format, a table's border. It is
    behind the figures too, whose end is known."""
    figures = next((found for line in run if (found := _FIGURES.match(line))), None)
    suffix = figures.string[figures.end() :].strip() if figures is not None else ""
    if not suffix or sum(line.rstrip().endswith(suffix) for line in run) < 0.6 * len(run):
        return run
    return [line.rstrip().removesuffix(suffix).rstrip() for line in run]
