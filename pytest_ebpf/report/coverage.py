"""Coverage of programs as values: added up over tests, kernels and processes, and as the text of lcov and Cobertura."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from xml.sax.saxutils import quoteattr

from pytest_ebpf.frozen import dataclass, field

__all__ = [
    "FileCoverage",
    "ProgramCoverage",
    "add_up",
    "by_file",
    "from_json",
    "render_cobertura",
    "render_lcov",
    "share",
    "to_json",
]

Hits = int | None  # None: the verifier proved that it cannot run, on every kernel so far
Ways = tuple[Hits, Hits]


@dataclass(frozen=True, slots=True)
class ProgramCoverage:
    """One program of one object. ``lines``: (file, line) -> hits. ``branches``: (file, line, number) -> hits of each
    way. ``blocks``: first slot -> (instructions, hits)."""

    object: str
    program: str
    lines: Mapping[tuple[str, int], Hits] = field(default_factory=dict)
    branches: Mapping[tuple[str, int, int], Ways] = field(default_factory=dict)
    blocks: Mapping[int, tuple[int, Hits]] = field(default_factory=dict)

    @property
    def instructions(self) -> tuple[int, int]:
        """How many ran, of those that can."""
        able = [(size, hits) for size, hits in self.blocks.values() if hits is not None]
        return sum(size for size, hits in able if hits), sum(size for size, _ in able)


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """One source file: line -> hits, line -> hits of the ways of each of its branches."""

    lines: Mapping[int, Hits]
    branches: Mapping[int, tuple[Ways, ...]]


def _sum(one: Hits, other: Hits) -> Hits:
    return other if one is None else one if other is None else one + other


def add_up(programs: Iterable[ProgramCoverage]) -> list[ProgramCoverage]:
    """One value per object and program."""
    sums: dict[tuple[str, str], ProgramCoverage] = {}
    for new in programs:
        key = new.object, new.program
        old = sums.get(key)
        sums[key] = new if old is None else _added(old, new)
    return [sums[key] for key in sorted(sums)]


def _added(old: ProgramCoverage, new: ProgramCoverage) -> ProgramCoverage:
    lines = dict(old.lines)
    for at, hits in new.lines.items():
        lines[at] = _sum(lines.get(at), hits)
    branches = dict(old.branches)
    for way, (one, other) in new.branches.items():
        had = branches.get(way, (None, None))
        branches[way] = _sum(had[0], one), _sum(had[1], other)
    blocks = dict(old.blocks)
    for start, (size, hits) in new.blocks.items():
        blocks[start] = size, _sum(blocks.get(start, (size, None))[1], hits)
    return ProgramCoverage(old.object, old.program, lines, branches, blocks)


def by_file(programs: Sequence[ProgramCoverage]) -> dict[str, FileCoverage]:
    """The same by source file, over all programs."""
    lines: dict[str, dict[int, Hits]] = {}
    branches: dict[str, dict[tuple[int, int], Ways]] = {}
    for program in programs:
        for (file, line), hits in program.lines.items():
            of_file = lines.setdefault(file, {})
            of_file[line] = _sum(of_file.get(line), hits)
        for (file, line, number), (one, other) in program.branches.items():
            ways = branches.setdefault(file, {})
            had = ways.get((line, number), (None, None))
            ways[line, number] = _sum(had[0], one), _sum(had[1], other)
    return {
        file: FileCoverage(dict(sorted(lines[file].items())), _by_line(branches.get(file, {})))
        for file in sorted(lines)
    }


def _by_line(ways: Mapping[tuple[int, int], Ways]) -> dict[int, tuple[Ways, ...]]:
    found: dict[int, tuple[Ways, ...]] = {}
    for (line, _), pair in sorted(ways.items()):
        found[line] = (*found.get(line, ()), pair)
    return found


def share(hits: Iterable[Hits]) -> tuple[int, int]:
    """How many ran, of those that can."""
    able = [count for count in hits if count is not None]
    return sum(1 for count in able if count), len(able)


def to_json(programs: Sequence[ProgramCoverage]) -> str:
    """For another process: ``from_json`` reads it."""
    rows = [
        [
            p.object,
            p.program,
            [[*key, hits] for key, hits in p.lines.items()],
            [[*key, ways] for key, ways in p.branches.items()],
            [[start, *block] for start, block in p.blocks.items()],
        ]
        for p in programs
    ]
    return json.dumps(rows)


def from_json(text: str) -> list[ProgramCoverage]:
    """What ``to_json`` wrote."""
    return [
        ProgramCoverage(
            name,
            program,
            {(file, line): hits for file, line, hits in lines},
            {(file, line, number): (ways[0], ways[1]) for file, line, number, ways in branches},
            {start: (size, hits) for start, size, hits in blocks},
        )
        for name, program, lines, branches, blocks in json.loads(text)
    ]


def render_lcov(files: Mapping[str, FileCoverage]) -> str:
    """A tracefile of lcov (man geninfo). What cannot run is not in it."""
    return "".join(f"{row}\n" for file, found in files.items() for row in _lcov(file, found))


def _lcov(file: str, found: FileCoverage) -> Iterator[str]:
    yield from ("TN:", f"SF:{file}")
    ways = [
        (line, 2 * number + side, hits)
        for line, pairs in found.branches.items()
        for number, pair in enumerate(pairs)
        for side, hits in enumerate(pair)
        if hits is not None
    ]
    for line, branch, hits in ways:
        reached = found.lines.get(line)
        yield f"BRDA:{line},0,{branch},{hits if reached else '-'}"
    run, able = share(hits for _, _, hits in ways)
    yield from (f"BRF:{able}", f"BRH:{run}")
    yield from (f"DA:{line},{count}" for line, count in found.lines.items() if count is not None)
    run, able = share(found.lines.values())
    yield from (f"LF:{able}", f"LH:{run}", "end_of_record")


def render_cobertura(files: Mapping[str, FileCoverage], *, timestamp: int) -> str:
    """The XML of Cobertura (coverage-04.dtd), with a class per file."""
    ran, able = share(hits for found in files.values() for hits in found.lines.values())
    taken, ways = share(_ways(files.values()))
    head = (
        f'<coverage line-rate="{_rate(ran, able)}" branch-rate="{_rate(taken, ways)}" lines-covered="{ran}" '
        f'lines-valid="{able}" branches-covered="{taken}" branches-valid="{ways}" complexity="0" version="1" '
        f'timestamp="{timestamp}">'
    )
    rows = [
        '<?xml version="1.0" ?>',
        '<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">',
    ]
    rows += [head, "<sources><source>.</source></sources>", "<packages>"]
    rows.append(
        f'<package name="bpf" line-rate="{_rate(ran, able)}" branch-rate="{_rate(taken, ways)}" complexity="0">'
    )
    rows += ["<classes>", *(row for file, found in files.items() for row in _class(file, found)), "</classes>"]
    return "\n".join([*rows, "</package>", "</packages>", "</coverage>", ""])


def _class(file: str, found: FileCoverage) -> Iterator[str]:
    ran, able = share(found.lines.values())
    taken, ways = share(_ways([found]))
    name = quoteattr(file.rpartition("/")[2])
    rates = f'line-rate="{_rate(ran, able)}" branch-rate="{_rate(taken, ways)}" complexity="0"'
    yield f"<class name={name} filename={quoteattr(file)} {rates}>"
    yield "<methods/><lines>"
    for line, hits in found.lines.items():
        if hits is None:
            continue
        run, able = share(count for pair in found.branches.get(line, ()) for count in pair)
        branch = (
            f' branch="true" condition-coverage="{100 * run // able}% ({run}/{able})"' if able else ' branch="false"'
        )
        yield f'<line number="{line}" hits="{hits}"{branch}/>'
    yield "</lines></class>"


def _ways(files: Iterable[FileCoverage]) -> Iterator[Hits]:
    return (hits for found in files for pairs in found.branches.values() for pair in pairs for hits in pair)


def _rate(run: int, able: int) -> str:
    return f"{run / able if able else 1:.4g}"
