"""Times, and what the targets say about them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Target", "best_ms", "render_targets"]


@dataclass(frozen=True, slots=True)
class Target:
    """One line of a bench: what was measured, what it may be at most, and the peer's figure where there is one."""

    what: str
    value: float
    limit: float
    unit: str = "ms"
    peer: float | None = None

    @property
    def met(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.limit


def best_ms(work: Callable[[], object], *, rounds: int) -> float:
    """The fastest of ``rounds`` calls, in milliseconds of processor time, which other jobs do not lengthen."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best * 1000


def render_targets(targets: Sequence[Target]) -> str:
    """A line per target."""
    lines = []
    for target in targets:
        verdict = "ok  " if target.met else "SLOW"
        line = f"{verdict} {target.what}: {target.value:.2f} {target.unit} (at most {target.limit:g})"
        if target.peer is not None:
            line += f"; libbpf {target.peer:.2f} {target.unit}, ratio {target.value / target.peer:.2f}"
        lines.append(line)
    return "\n".join(lines)
