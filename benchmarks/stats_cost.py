"""What statistics cost: loading 1,000 accepted programs with them, beside loading the same without any log.

    python benchmarks/stats_cost.py [OBJECT.o ...] [--count 1000] [--rounds 5] [--limit 1.1]

Without objects, those of sample_programs/built. Each load is a call of ``bpf.load`` and, with statistics, a look at
``prog.stats`` of each program; both kinds of load take turns, and processor time of the fastest round counts. A full
trace (level 2) is measured for comparison. Exit code 1 when the ratio is beyond the limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from measure import Target, render_targets

from pytest_ebpf.errors import EbpfError
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.loader import Bpf

__all__ = ["main"]

SAMPLES = Path(__file__).parents[1] / "sample_programs" / "built"
NOTHING, TRACE, STATISTICS = 0, 2, 4


def main() -> int:
    """Print the times and the ratio."""
    arguments = _arguments()
    pool = KernelPool(PoolConfig())
    try:
        bpf = Bpf(pool.get("host"), cache=LoadCache())
        objects, programs = _loadable(bpf, arguments.objects or sorted(SAMPLES.glob("*.bpf.o")))
        repeats = -(-arguments.count // programs)
        times = _measure(bpf, objects, repeats=repeats, rounds=arguments.rounds)
        bpf.close()
    finally:
        pool.close()
    ratio = times[STATISTICS] / times[NOTHING]
    loads = programs * repeats
    print(f"{loads} loads of {programs} programs in {len(objects)} objects, milliseconds of processor time:")
    print(f"  no log {times[NOTHING]:.0f}, statistics {times[STATISTICS]:.0f}, trace {times[TRACE]:.0f}")
    target = Target("statistics beside no log", ratio, arguments.limit, unit="times")
    print(render_targets([target]))
    return 0 if target.met else 1


def _loadable(bpf: Bpf, paths: Sequence[Path]) -> tuple[list[Path], int]:
    """The objects that this kernel accepts, and how many programs they have. Parsed and planned once, as in a run."""
    objects: list[Path] = []
    programs = 0
    for path in paths:
        try:
            for level in (NOTHING, TRACE, STATISTICS):
                with bpf.load(path, log_level=level) as loaded:
                    count = len(loaded.programs)
        except EbpfError:
            continue
        objects.append(path)
        programs += count
    return objects, programs


def _measure(bpf: Bpf, objects: Sequence[Path], *, repeats: int, rounds: int) -> dict[int, float]:
    best = dict.fromkeys((NOTHING, STATISTICS, TRACE), float("inf"))
    for number in range(rounds):
        levels = (NOTHING, STATISTICS) if number else (NOTHING, STATISTICS, TRACE)
        for level in levels:
            best[level] = min(best[level], _timed(lambda level=level: _load_all(bpf, objects, repeats, level)))  # type: ignore[misc]
    return best


def _timed(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def _load_all(bpf: Bpf, objects: Sequence[Path], repeats: int, level: int) -> None:
    for _ in range(repeats):
        for path in objects:
            with bpf.load(path, log_level=level) as loaded:
                if level:
                    for program in loaded.programs.values():
                        assert program.stats.insns


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objects", type=Path, nargs="*", help="object files; those that do not load are left out")
    parser.add_argument("--count", type=int, default=1000, help="programs to load, at least")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--limit", type=float, default=1.1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
