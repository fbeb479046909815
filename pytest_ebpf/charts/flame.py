"""Stacks with counts: folded, one line each, and as a flame graph (SVG), in the formats of Gregg's FlameGraph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple, Protocol

__all__ = ["flame_graph", "fold_stacks"]

_WIDTH, _ROW, _MARGIN = 1200, 17, 10
_NARROWEST = 0.2  # pixels; frames below are left out
_CHARACTER = 7  # pixels of a character
_COLOURS = ("#e8743b", "#ed8a3f", "#f2a047", "#e6603a", "#f0b35a", "#df5b39")


class _Frames(Protocol):
    """A stack trace: the names of its functions, innermost first (``live.maps.stacks.StackTrace``)."""

    @property
    def functions(self) -> list[str]: ...


class _Box(NamedTuple):
    name: str
    depth: int
    start: int
    size: int


def fold_stacks(stacks: Iterable[tuple[_Frames | Sequence[str], int]], *, root: str = "") -> str:
    """``main;read;vfs_read 3`` for each stack with its count, the outermost function first; equal ones are added up.

    ``stacks``: pairs of a trace (``m.stack(id)``, or names of functions, innermost first) and a count. ``root``: a name
    to put before each, such as that of the process.
    """
    found: dict[str, int] = {}
    for trace, count in stacks:
        names = list(trace) if isinstance(trace, Sequence) else trace.functions
        line = ";".join([*([root] if root else []), *(name.replace(";", ":") for name in reversed(names))])
        found[line] = found.get(line, 0) + count
    return "".join(f"{line} {count}\n" for line, count in sorted(found.items()))


def flame_graph(folded: str, *, title: str = "Flame graph") -> str:
    """An SVG of folded stacks that needs nothing else: a box per function, as wide as its share. A browser shows its
    full name and count when the mouse is on it. ``ValueError`` for a line without a count."""
    stacks = _parsed(folded)
    total = sum(stacks.values())
    boxes = list(_boxes(stacks))
    height = _ROW * (max((box.depth for box in boxes), default=0) + 3) + 2 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'font-family="monospace" font-size="12"><title>{escape(title)}</title>',
        f'<text x="{_WIDTH / 2:g}" y="{_MARGIN + 12}" text-anchor="middle" font-size="15">{escape(title)}</text>',
        *(_drawn(box, total=total, height=height) for box in boxes),
        "</svg>\n",
    ]
    return "\n".join(part for part in parts if part)


def _parsed(folded: str) -> dict[tuple[str, ...], int]:
    stacks: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(folded.splitlines(), 1):
        names, _, count = line.rpartition(" ")
        if not names or not count.isdigit():
            raise ValueError(f"line {number} of the folded stacks has no count at its end: {line!r}")
        key = tuple(names.split(";"))
        stacks[key] = stacks.get(key, 0) + int(count)
    return stacks


def _boxes(stacks: Mapping[tuple[str, ...], int]) -> Iterator[_Box]:
    """The functions that stacks have in common are one box; stacks in alphabetical order."""
    open_: list[_Box] = []
    at = 0
    for names in sorted(stacks):
        shared = 0
        while shared < min(len(open_), len(names)) and open_[shared].name == names[shared]:
            shared += 1
        yield from (box._replace(size=at - box.start) for box in open_[shared:])
        open_ = [*open_[:shared], *(_Box(name, shared + more, at, 0) for more, name in enumerate(names[shared:]))]
        at += stacks[names]
    yield from (box._replace(size=at - box.start) for box in open_)


def _drawn(box: _Box, *, total: int, height: int) -> str:
    scale = (_WIDTH - 2 * _MARGIN) / total
    width = box.size * scale
    if width < _NARROWEST:
        return ""
    x, y = _MARGIN + box.start * scale, height - _MARGIN - _ROW * (box.depth + 1)
    colour = _COLOURS[sum(box.name.encode()) % len(_COLOURS)]
    room = int((width - 4) / _CHARACTER)
    shown = box.name if len(box.name) <= room else f"{box.name[: room - 2]}.." if room > 3 else ""
    what = escape(f"{box.name} ({box.size} of {total}, {box.size / total:.1%})")
    text = f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(shown)}</text>' if shown else ""
    rect = f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 1}" rx="2" fill="{colour}"/>'
    return f"<g><title>{what}</title>{rect}{text}</g>"
