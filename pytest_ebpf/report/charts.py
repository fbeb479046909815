"""The programs of a run with their figures: instructions walked on each kernel and over earlier runs, and the source
lines with their cost. Coordinates are computed here; the page draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.report.document import Document
from pytest_ebpf.report.history import History, insns_of

__all__ = ["Bar", "Chart", "SourceRow", "Trend", "program_charts"]

_WIDTH, _HEIGHT = 240, 60  # of a trend, in SVG units
_STEPS = 9  # of heat


@dataclass(frozen=True, slots=True)
class Bar:
    """Instructions on one kernel; ``share`` of the largest, in percent."""

    kernel: str
    insns: int
    share: float


@dataclass(frozen=True, slots=True)
class Trend:
    """One kernel over the runs, oldest first: ``points`` as SVG wants them."""

    kernel: str
    points: str
    first: int
    last: int
    runs: int


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source line. ``heat`` from 0 to 9, by its share of the instructions walked; ``hits`` None: not measured."""

    file: str
    line: int
    text: str
    walked: int
    insns: int
    heat: int
    hits: int | None
    gap: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """A program. ``source`` is as the kernel ``source_kernel`` walked it; empty where costs were not recorded."""

    name: str
    file: str
    anchor: str
    bars: tuple[Bar, ...]
    trends: tuple[Trend, ...]
    source_kernel: str
    source: tuple[SourceRow, ...]


class _Found:
    """What a run says of a program, by kernel."""

    def __init__(self) -> None:
        self.insns: dict[str, int] = {}
        self.lines: dict[str, list[Any]] = {}


def program_charts(document: Document, history: Sequence[History]) -> list[Chart]:
    """By object file and name. Programs that no kernel accepted have no figures and are left out."""
    found: dict[tuple[str, str], _Found] = {}
    for result in document["results"]:
        for program in result["programs"]:
            _add(found, program, kernel=result["kernel"])
    now = insns_of(document)
    return [
        _chart(key, one, history=history, now=now, number=number)
        for number, (key, one) in enumerate(sorted(found.items()))
    ]


def _add(found: dict[tuple[str, str], _Found], program: Any, *, kernel: str) -> None:
    if program["insns"] < 0 and not program.get("lines"):
        return
    one = found.setdefault((str(program.get("row", {}).get("file_name", "")), program["name"]), _Found())
    if program["insns"] >= 0:
        one.insns[kernel] = max(one.insns.get(kernel, 0), program["insns"])
    if program.get("lines"):
        one.lines.setdefault(kernel, program["lines"])


def _chart(
    key: tuple[str, str], found: _Found, *, history: Sequence[History], now: Mapping[str, int], number: int
) -> Chart:
    file, name = key
    most = max(found.insns.values(), default=0) or 1
    bars = tuple(Bar(kernel, insns, 100 * insns / most) for kernel, insns in found.insns.items())
    trends = [_trend(f"{file}/{name}@{kernel}".lstrip("/"), kernel, history=history, now=now) for kernel in found.insns]
    source_kernel = max(found.lines, key=lambda kernel: found.insns.get(kernel, 0), default="")
    source = tuple(_source(found.lines[source_kernel])) if source_kernel else ()
    return Chart(name, file, f"program-{number}", bars, tuple(filter(None, trends)), source_kernel, source)


def _trend(name: str, kernel: str, *, history: Sequence[History], now: Mapping[str, int]) -> Trend | None:
    values = [run["insns"][name] for run in history if name in run["insns"]] + [now[name]]
    if len(values) < 2:
        return None
    most = max(values) or 1
    step = _WIDTH / (len(values) - 1)
    points = " ".join(
        f"{step * at:.1f},{_HEIGHT - 4 - (_HEIGHT - 8) * value / most:.1f}" for at, value in enumerate(values)
    )
    return Trend(kernel, points, values[0], values[-1], len(values))


def _source(lines: Sequence[Any]) -> list[SourceRow]:
    """By file and line; ``gap`` where lines without code are left out."""
    ordered = sorted(lines, key=lambda line: (line["file"], line["line"]))
    most = max((line["walked"] for line in ordered), default=1) or 1
    rows: list[SourceRow] = []
    for line in ordered:
        before = rows[-1] if rows else None
        gap = before is not None and (before.file != line["file"] or line["line"] > before.line + 1)
        heat = round(_STEPS * line["walked"] / most)
        rows.append(
            SourceRow(
                line["file"], line["line"], line["text"], line["walked"], line["insns"], heat, line.get("hits"), gap
            )
        )
    return rows
