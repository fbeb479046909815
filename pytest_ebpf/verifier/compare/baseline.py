"""Baselines: the verifier's result for a program as text for review, and how two of them differ.

A file is about one program of one test. It has one block per group of kernels with the same result, so a kernel that
differs stands out, and one that agrees adds one name. Line numbers are not stored, so a new comment changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass, field, replace
from pytest_ebpf.verifier.compare.normalise import NormalLine

__all__ = ["LEVELS", "Baseline", "Block", "Snapshot", "differences", "parse_baseline", "render_baseline"]

LEVELS = ("verdict", "figures", "lines", "log")  # each compares more than the one before
_HEAD = re.compile(r"# (.*): what the verifier says about (.*)")
_RULER = "-" * 78
_NOTE = "# Written by pytest --bpf-update; a change is to be reviewed like one of the code."
_SOURCE = re.compile(r"@ (\d+) insns? (?:in (.*?)(?:: (.*))?|of no known line)$")
_MOST = 25  # lines of a difference that are shown
_VERDICT = ("verdict", "errno", "class", "kind", "at")
_FIGURES = ("insns", "states", "stack")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is kept of a load. ``facts``: names and texts in order (verdict, errno, class, kind, message, at, insns,
    states, stack). ``lines``: the trace by source line, empty where there was none. ``where``: the fact "at" with its
    line number, which is not compared."""

    facts: tuple[tuple[str, str], ...]
    lines: tuple[NormalLine, ...] = field(default=(), repr=False)
    where: str = field(default="", compare=False)

    def fact(self, name: str) -> str:
        """A fact, "" when it is not there."""
        return dict(self.facts).get(name, "")

    def figure(self, name: str) -> int | None:
        """A fact that is a number; a list of numbers (``16+8``) counts as their sum."""
        text = self.fact(name)
        return sum(map(int, text.split("+"))) if text else None


@dataclass(frozen=True, slots=True)
class Block:
    """``kernels`` (families: "6.1", oldest first) with the same result."""

    kernels: tuple[str, ...]
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Baseline:
    """A file: ``test`` is the node id it belongs to (without the kernel), ``program`` what it is about."""

    test: str
    program: str
    blocks: tuple[Block, ...] = ()

    def of(self, kernel: str) -> Snapshot | None:
        """What is stored for a family of kernels."""
        return next((block.snapshot for block in self.blocks if kernel in block.kernels), None)

    def like(self, snapshot: Snapshot) -> tuple[str, ...]:
        """The kernels with exactly this result."""
        return next((block.kernels for block in self.blocks if block.snapshot == snapshot), ())

    def nearest(self, kernel: str) -> Block | None:
        """The block of the newest kernel that is not newer, else of the oldest."""
        ordered = sorted((_version(name), name) for block in self.blocks for name in block.kernels)
        older = [name for version, name in ordered if version <= _version(kernel)]
        name = older[-1] if older else ordered[0][1] if ordered else ""
        return next((block for block in self.blocks if name in block.kernels), None)

    def with_(self, kernel: str, *, snapshot: Snapshot) -> Baseline:
        """The baseline with this stored for ``kernel``; what is stored for others stays."""
        blocks = [replace(b, kernels=tuple(name for name in b.kernels if name != kernel)) for b in self.blocks]
        same = [block for block in blocks if block.snapshot == snapshot]
        if same:
            kernels = tuple(sorted((*same[0].kernels, kernel), key=_version))
            blocks = [replace(block, kernels=kernels) if block is same[0] else block for block in blocks]
        else:
            blocks.append(Block((kernel,), snapshot))
        blocks = sorted((block for block in blocks if block.kernels), key=lambda block: _version(block.kernels[0]))
        return replace(self, blocks=tuple(blocks))


def _version(name: str) -> tuple[tuple[int, ...], str]:
    return tuple(int(part) for part in re.findall(r"\d+", name)), name


def render_baseline(baseline: Baseline) -> str:
    """The text of the file."""
    parts = [f"# {baseline.test}: what the verifier says about {baseline.program}\n{_NOTE}\n"]
    for block in baseline.blocks:
        parts.append("\n".join([_RULER, f"kernels: {', '.join(block.kernels)}", *_body(block.snapshot), ""]))
    return "".join(parts)


def _body(snapshot: Snapshot) -> Iterator[str]:
    for name, value in snapshot.facts:
        yield f"{name}: {value}".rstrip()
    for line in snapshot.lines:
        place = f"in {line.file}: {line.text}" if line.text else "of no known line"
        yield f"@ {line.walked} {'insn' if line.walked == 1 else 'insns'} {place}"
        yield from (f"    {insn}" for insn in line.insns)


def parse_baseline(text: str, *, name: str) -> Baseline:
    """``BpfUsageError`` (file, line) for what ``render_baseline`` does not write: a merge conflict, say."""
    lines = text.splitlines()
    head = _HEAD.fullmatch(lines[0]) if lines else None
    if head is None:
        raise BpfUsageError(f"{name}:1: no baseline", hint="Restore it from version control, or remove it.")
    blocks: list[Block] = []
    start = 0
    for number, line in enumerate([*lines, _RULER]):
        if line == _RULER:
            if start:
                blocks.append(_block(lines[start:number], where=(name, start + 1)))
            start = number + 1
    return Baseline(head[1], head[2], tuple(blocks))


def _block(lines: Sequence[str], *, where: tuple[str, int]) -> Block:
    kernels: tuple[str, ...] = ()
    facts: list[tuple[str, str]] = []
    found: list[NormalLine] = []
    for number, line in enumerate(lines, where[1]):
        source = _SOURCE.fullmatch(line)
        key, colon, value = line.partition(":")
        if source:
            found.append(NormalLine(source[2] or "", source[3] or "", int(source[1])))
        elif line.startswith("    ") and found:
            found[-1] = replace(found[-1], insns=(*found[-1].insns, line[4:]))
        elif key == "kernels":
            kernels = tuple(part.strip() for part in value.split(","))
        elif colon and key.isidentifier() and not found:
            facts.append((key, value.strip()))
        elif line.strip():
            raise BpfUsageError(f"{where[0]}:{number}: not a line of a baseline: {line!r}")
    if not kernels or not facts:
        raise BpfUsageError(f"{where[0]}:{where[1]}: a block without kernels or verdict")
    return Block(kernels, Snapshot(tuple(facts), tuple(found)))


def differences(old: Snapshot, new: Snapshot, *, level: str = "log") -> list[str]:
    """How ``new`` differs from what is stored, most telling first; empty when it does not. ``level``: of LEVELS."""
    depth = LEVELS.index(level)
    found = [*_facts(old, new, names=_VERDICT)]
    if new.fact("verdict") == "rejected" and (found or depth > 0):
        found += _facts(old, new, names=("message",))
    if depth >= LEVELS.index("figures"):
        found += _facts(old, new, names=_FIGURES)
    if depth >= LEVELS.index("lines") and old.lines:
        lines = list(_line_differences(old.lines, new.lines, states=level == "log"))
        if len(lines) > _MOST:
            lines[_MOST:] = [f"  ... and {len(lines) - _MOST} more lines"]
        found += lines
    return found


def _facts(old: Snapshot, new: Snapshot, *, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        before, after = old.fact(name), new.fact(name)
        if before != after:
            shown = new.where if name == "at" and new.where else after
            yield f"  {name}: {before or '-'} -> {shown or '-'}"


def _line_differences(old: Sequence[NormalLine], new: Sequence[NormalLine], *, states: bool) -> Iterator[str]:
    """Lines that came, went, or are walked more or less often; with ``states`` what is known differently in them."""
    matcher = SequenceMatcher(None, [_name(line) for line in old], [_name(line) for line in new], autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            for before, after in zip(old[i1:i2], new[j1:j2], strict=True):
                yield from _one_line(before, after, states=states)
            continue
        for line in old[i1:i2]:
            yield f"  - {line.place}"
            yield f"        removed; {_insns(line.walked)} walked in the baseline"
        for line in new[j1:j2]:
            yield f"  + {line.place}"
            yield f"        new; {_insns(line.walked)} walked"


def _insns(count: int) -> str:
    return "1 instruction" if count == 1 else f"{count} instructions"


def _name(line: NormalLine) -> tuple[str, str]:
    return line.file, line.text


def _one_line(before: NormalLine, after: NormalLine, *, states: bool) -> Iterator[str]:
    found: list[str] = []
    if before.walked != after.walked:
        found.append(f"        {_insns(after.walked)} walked, {before.walked} in the baseline")
    if states and before.insns != after.insns:
        matcher = SequenceMatcher(None, before.insns, after.insns, autojunk=False)
        for kind, i1, i2, j1, j2 in matcher.get_opcodes():
            if kind != "equal":
                found += [f"        - {insn}" for insn in before.insns[i1:i2]]
                found += [f"        + {insn}" for insn in after.insns[j1:j2]]
    if found:
        yield f"  ~ {after.place}"
        yield from found
