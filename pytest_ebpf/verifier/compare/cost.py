"""Where verification spends its time: instructions walked per source line, counted in a trace (log level 2)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.verifier.log.lines import source_of, without_listings
from pytest_ebpf.verifier.log.values import LineInfoLike, SourceLine

__all__ = ["LineCost", "line_costs", "render_costs", "walked_insns"]

# At the margin, and behind the listings that 7.1 and later print before the walk. An instruction where the verifier
# recognises a state it knows ("from 13 to 20: safe") counts as walked, in the kernel's own figure too.
_WALKED = re.compile(
    r"^(?:(\d+): \([0-9a-f]{2}\) |(?:from \d+ to )?(\d+)(?: \(speculative execution\))?: safe$)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class LineCost:
    """A source line: how many instructions the verifier walked in it, and which those are (``insns``, indices in
    order). ``source`` is None for instructions that no line is known of."""

    source: SourceLine | None
    walked: int
    insns: tuple[int, ...]

    @property
    def size(self) -> int:
        """Of how many instructions it consists."""
        return len(self.insns)

    @property
    def rounds(self) -> int:
        """How often its instructions were walked, on average, rounded up."""
        return -(-self.walked // self.size)


def walked_insns(trace: str) -> Counter[int]:
    """Instruction index -> how often the verifier walked it. Empty for a log without a trace."""
    return Counter(int(plain or pruned) for plain, pruned in _WALKED.findall(without_listings(trace)))


def line_costs(trace: str, line_info: Sequence[LineInfoLike]) -> tuple[LineCost, ...]:
    """The source lines that were walked, in the order of their first instructions.

    ``line_info`` (sorted by instruction) gives the line of an instruction; without it, the quotes of the trace do.
    Inlined code counts where it was written.
    """
    walked = walked_insns(trace)
    sources = _sources_of_info(walked, line_info) if line_info else _sources_of_trace(trace)
    found: dict[SourceLine | None, list[int]] = {}
    for insn in sorted(walked):
        found.setdefault(sources.get(insn), []).append(insn)
    return tuple(LineCost(source, sum(walked[insn] for insn in insns), tuple(insns)) for source, insns in found.items())


def _sources_of_info(insns: Iterable[int], line_info: Sequence[LineInfoLike]) -> dict[int, SourceLine | None]:
    sources: dict[int, SourceLine | None] = {}
    for insn in insns:
        index = bisect_right(line_info, insn, key=lambda row: row.insn)
        if index:
            row = line_info[index - 1]
            file = row.file.rpartition("/")[2]
            sources[insn] = SourceLine(row.text.strip(), file or None, row.line or None) if row.line else None
    return sources


def _sources_of_trace(trace: str) -> dict[int, SourceLine | None]:
    """The quote before an instruction is of it and of those after it, until the next."""
    sources: dict[int, SourceLine | None] = {}
    current: SourceLine | None = None
    for line in without_listings(trace).splitlines():
        if line.startswith(";"):
            quoted = source_of(line)
            current = SourceLine(*quoted) if quoted else None
        elif (found := _WALKED.match(line)) and found[1]:
            sources.setdefault(int(found[1]), current)
    return sources


def render_costs(costs: Iterable[LineCost], *, most: int, width: int = 100) -> list[str]:
    """The ``most`` expensive lines, dearest first: instructions walked, share, how often, place and text."""
    ranked = sorted(costs, key=lambda cost: (-cost.walked, cost.insns))
    total = sum(cost.walked for cost in ranked)
    shown = ranked[:most]
    digits = max((len(str(cost.walked)) for cost in shown), default=1)
    rounds = max((len(str(cost.rounds)) for cost in shown), default=1)
    lines = []
    for cost in shown:
        share = f"{cost.walked * 100 / total:3.0f} %"
        text = f"{cost.walked:>{digits}} insns {share}  {cost.rounds:>{rounds}}×  {cost.source or 'no source line'}"
        lines.append(text if len(text) <= width else text[: width - 1] + "…")
    rest = sum(cost.walked for cost in ranked[most:])
    if rest:
        lines.append(f"{rest:>{digits}} insns {rest * 100 / total:3.0f} %  in {len(ranked) - most} other lines")
    return lines
