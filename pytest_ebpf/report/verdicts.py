"""Verdicts of programs on kernels as text: the table, the reasons under it, lists of figures, two runs compared.

The input is rows of ``verifier.veristat_csv``. Rendering is pure: lines of (text, style) pieces, as in ``terminal``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_ebpf.report.terminal import UNICODE, Glyphs, Line
from pytest_ebpf.verifier.compare.veristat_csv import Joined, Row, change_of, find_column, shown

__all__ = ["label_of", "render_comparison", "render_rows", "render_table", "render_why"]

_SIGNS: Mapping[str, tuple[str, str]] = {  # verdict -> name of the glyph, style
    "success": ("passed", "green"),
    "failure": ("failed", "red"),
    "error": ("error", "yellow"),
}
_INDENT = "  "
_GAP = "  "
_LEAST_NAME = 20
_WORDS = {"success": "accepted", "failure": "rejected", "error": "error"}


def label_of(row: Row) -> str:
    """The program, with the values of globals at its load."""
    config = row.get("config")
    return f"{row['prog_name']} [{config}]" if config else str(row["prog_name"])


def render_table(
    rows: Sequence[Row], *, kernels: Sequence[str], width: int = 80, glyphs: Glyphs = UNICODE
) -> list[Line]:
    """A row per program (below its object), a column per kernel: verdict and instructions walked. If the kernels do
    not fit ``width``, there are several tables."""
    cells = {(_key(row), str(row["kernel"])): row for row in rows}
    programs = list(dict.fromkeys(_key(row) for row in rows))
    texts = {at: _cell(row, glyphs=glyphs) for at, row in cells.items()}
    widths = {
        kernel: max([len(kernel), *(len(text) for (_, on), (text, _) in texts.items() if on == kernel)])
        for kernel in kernels
    }
    longest = max((len(_INDENT + label) for _, label in programs), default=0)
    lines: list[Line] = []
    for band in _bands(kernels, widths, room=width - min(longest, max(_LEAST_NAME, width // 3))):
        name_width = max(_LEAST_NAME, min(longest, width - sum(widths[kernel] + len(_GAP) for kernel in band)))
        head = " " * name_width + "".join(f"{_GAP}{kernel:<{widths[kernel]}}" for kernel in band)
        lines.append(((head.rstrip(), "bold"),))
        file = ""
        for key in programs:
            if key[0] != file:
                file = key[0]
                lines.append(((_cut(file, width=width, glyphs=glyphs), "dim"),))
            pieces = [(f"{_cut(_INDENT + key[1], width=name_width, glyphs=glyphs):<{name_width}}", "")]
            for kernel in band:
                text, style = texts.get((key, kernel), (glyphs.absent, "dim"))
                pieces.append((f"{_GAP}{text:<{widths[kernel]}}", style))
            lines.append((*pieces[:-1], (pieces[-1][0].rstrip(), pieces[-1][1])))
        lines.append(())
    return lines


def _key(row: Row) -> tuple[str, str]:
    return str(row["file_name"]), label_of(row)


def _cell(row: Row, *, glyphs: Glyphs) -> tuple[str, str]:
    name, style = _SIGNS[str(row["verdict"])]
    sign: str = getattr(glyphs, name)
    return (f"{sign} {row['total_insns']}" if "total_insns" in row else sign), style


def _bands(kernels: Sequence[str], widths: Mapping[str, int], *, room: int) -> list[list[str]]:
    bands: list[list[str]] = [[]]
    used = 0
    for kernel in kernels:
        size = widths[kernel] + len(_GAP)
        if bands[-1] and used + size > room:
            bands.append([])
            used = 0
        bands[-1].append(kernel)
        used += size
    return bands


def _cut(text: str, *, width: int, glyphs: Glyphs) -> str:
    """``text`` without its middle: names differ at both ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + glyphs.cut + text[len(text) - tail :]


def render_why(rows: Sequence[Row], *, kernels: Sequence[str], glyphs: Glyphs = UNICODE, width: int = 0) -> list[Line]:
    """For each program that some kernel rejects: the kernels, and the reason of the first one (and other reasons of
    others). ``kernels``: oldest first. ``width``: characters per line, 0 for no limit."""
    programs: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        programs.setdefault(_key(row), {})[str(row["kernel"])] = row
    lines: list[Line] = []
    for (file, label), found in programs.items():
        refused = [kernel for kernel in kernels if kernel in found and found[kernel]["verdict"] != "success"]
        if refused:
            accepted = [kernel for kernel in kernels if kernel in found and kernel not in refused]
            lines += _reasons(f"{file}: {label}", found, refused=refused, accepted=accepted, glyphs=glyphs)
    return [part for line in lines for part in _wrapped(line, width=width)]


def _wrapped(line: Line, *, width: int) -> list[Line]:
    """A line of one piece, between words, with its indent."""
    import textwrap

    text, style = line[0]
    if not width or len(line) > 1 or len(text) <= width:
        return [line]
    indent = text[: len(text) - len(text.lstrip())] + _INDENT
    return [((part, style),) for part in textwrap.wrap(text, width, subsequent_indent=indent, drop_whitespace=True)]


def _reasons(
    name: str, found: Mapping[str, Row], *, refused: Sequence[str], accepted: Sequence[str], glyphs: Glyphs
) -> list[Line]:
    name += f" (accepted on {', '.join(accepted)})" if accepted else ""
    lines: list[Line] = [((name, "bold"),)]
    groups: dict[tuple[str, str, str], list[str]] = {}
    for kernel in refused:
        row = found[kernel]
        why = shown(row, "class") or shown(row, "message")
        groups.setdefault((str(row["verdict"]), why, shown(row, "source")), []).append(kernel)
    for (verdict, _, source), where in groups.items():
        row = found[where[0]]
        sign, style = _SIGNS[verdict]
        facts = [_WORDS[verdict], *(shown(row, column) for column in ("errno", "class", "kind"))]
        on = f"on {', '.join(where)}" if len(groups) > 1 or accepted else "everywhere" if len(where) > 1 else ""
        text = f" {', '.join(fact for fact in facts if fact)}"
        lines.append(((f"{_INDENT}{getattr(glyphs, sign)}", style), (f"{text} {on}".rstrip(), "")))
        lines += [((f"{_INDENT * 2}{part}", ""),) for part in shown(row, "message").splitlines()]
        if source:
            lines.append(((f"{_INDENT * 2}at {source}", "dim"),))
    return lines


def render_rows(rows: Sequence[Row], *, columns: Sequence[str]) -> list[Line]:
    """A table of figures, a line per row: words to the left, numbers to the right."""
    found = [find_column(name) for name in columns]
    texts = [[label_of(row) if c.id == "prog_name" and "config" not in columns else _text(row, c.id) for c in found]
             for row in rows]  # fmt: skip
    return _aligned([c.header for c in found], texts, left=[c.text for c in found])


def _text(row: Row, column: str) -> str:
    return shown(row, column) if column in row or find_column(column).text else "-"


def _aligned(heads: Sequence[str], texts: Sequence[Sequence[str]], *, left: Sequence[bool]) -> list[Line]:
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]

    def line(fields: Sequence[str]) -> str:
        cells = [f"{field:<{size}}" if words else f"{field:>{size}}"
                 for field, size, words in zip(fields, widths, left, strict=True)]  # fmt: skip
        return _GAP.join(cells).rstrip()

    rule = _GAP.join("-" * size for size in widths)
    return [((line(heads), "bold"),), ((rule, "dim"),), *(((line(fields), ""),) for fields in texts)]


def render_comparison(joined: Sequence[Joined], *, columns: Sequence[str]) -> list[Line]:
    """Two runs, as ``veristat --compare`` shows them: (A), (B) and (DIFF) of each of ``columns``."""
    heads, left = ["File", "Program"], [True, True]
    for name in columns:
        column = find_column(name)
        heads += [f"{column.header} ({part})" for part in ("A", "B", "DIFF")]
        left += [column.text] * 3
    texts = [[one.file, one.program, *_sides(one, columns)] for one in joined]
    return _aligned(heads, texts, left=left)


def _sides(joined: Joined, columns: Sequence[str]) -> list[str]:
    fields: list[str] = []
    for name in columns:
        fields += ["N/A" if row is None else shown(row, name) for row in (joined.base, joined.new)]
        fields.append(change_of(joined, name))
    return fields
