"""The house in figures; run by ci/house. Exit status 1 when a law is broken."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import test_house as house  # noqa: E402  # from the path just added
import test_house_numbers as numbers  # noqa: E402  # from the path just added
from support import sources  # noqa: E402  # from the path just added

FIRST_LOAD = """
import sys, time
began, busy = time.perf_counter(), time.process_time()
import pytest_ebpf
try:
    from pytest_ebpf.kernels.pool import KernelPool, PoolConfig
except ImportError:  # an older checkout
    from pytest_ebpf.pool import KernelPool, PoolConfig
from pytest_ebpf.live.loader import Bpf
pool = KernelPool(PoolConfig())
Bpf(pool.get("host"), directories=[__import__("pathlib").Path(sys.argv[1])]).load("config.bpf.o")
print(time.perf_counter() - began, time.process_time() - busy)
pool.close()
"""
PLUGIN = """
import pytest, time
began, busy = time.perf_counter(), time.process_time()
import pytest_ebpf.plugin
print(time.perf_counter() - began, time.process_time() - busy)
"""


def circles() -> list[list[str]]:
    graph: dict[str, set[str]] = {}
    for edge in house.edges():
        graph.setdefault(edge.module, set()).add(edge.target)
    return [sorted(circle) for circle in house.find_circles(graph)]


def local_imports() -> list[tuple[str, bool]]:
    """Each import of an own module inside a function, outside plugin.py and cli/, and whether it is a listed door."""
    found = []
    for edge in house.edges():
        if edge.local and not house.within(edge.module, {"plugin", "plugin_instruments", "cli", "__init__"}):
            doors = house.DOORS.get(edge.module, {})
            found.append((str(edge), any(house.within(edge.target, {room}) for room in doors)))
    return list(dict.fromkeys(found))


def hand_typed() -> list[str]:
    """Kernel numbers typed by hand where a uapi enum exists."""
    paths = numbers.modules()
    return [found for path in paths for found in numbers.problems(numbers.dotted(path), path.read_text())]


def lines(checkout: Path) -> tuple[int, int]:
    """(lines written by hand, generated lines) of a checkout's package."""
    total = Counter[bool]()
    for path in (checkout / "pytest_ebpf").rglob("*.py"):
        total[sources.is_generated(path)] += path.read_text().count("\n")
    return total[False], total[True]


class Taken(NamedTuple):
    """Seconds: by the clock, and of the processor (steadier on a busy machine)."""

    clock: float
    cpu: float


def take(checkout: Path, script: str, *, bytecode: Path) -> Taken:
    """What a fresh process measures with that checkout's package, with byte code as an installed package has it.

    With PYTHONDONTWRITEBYTECODE set, as in many containers, each process would compile each module, and the figure
    would follow the number of lines.
    """
    command = [sys.executable, "-c", script, str(ROOT / "sample_programs" / "built")]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    return Taken(*map(float, done.stdout.split()))


def timed(checkouts: list[Path], script: str, *, rounds: int) -> list[list[Taken]]:
    """The figures of each checkout; they take turns, after one round that does not count and writes the byte code."""
    taken: list[list[Taken]] = [[] for _ in checkouts]
    with tempfile.TemporaryDirectory() as bytecode:
        for number in range(rounds + 1):
            for times, checkout in zip(taken, checkouts, strict=True):
                measured = take(checkout, script, bytecode=Path(bytecode))
                if number:
                    times.append(measured)
    return taken


def report_imports() -> bool:
    """Whether the laws of imports hold."""
    found, local, typed = circles(), local_imports(), hand_typed()
    print(f"import circles, local and TYPE_CHECKING imports counted: {len(found)}")
    for circle in found:
        print(f"    {' <-> '.join(circle)}")
    unlisted = [edge for edge, listed in local if not listed]
    print(f"function-local imports outside plugin.py and cli/: {len(local)}, not a listed door: {len(unlisted)}")
    for edge, listed in local:
        print(f"    {edge}: {'door' if listed else 'NOT LISTED'}")
    print(f"hand-typed kernel enums: {len(typed)}")
    for one in typed:
        print(f"    {one}")
    return not (found or unlisted or typed) and len(local) <= house.MOST_DOORS


def report_sizes(checkouts: list[Path]) -> None:
    for checkout in checkouts:
        written, generated = lines(checkout)
        print(f"lines of {checkout}: {written} by hand, {generated} generated")
    folders = Counter(path.parent for path in sources.modules())
    folder, most = folders.most_common(1)[0]
    print(f"most files in a folder: {most} ({folder.relative_to(sources.PACKAGE.parent)})")


def report_times(checkouts: list[Path], rounds: int) -> None:
    for name, script in (("import pytest_ebpf to the first loaded object", FIRST_LOAD), ("the plugin, unused", PLUGIN)):
        print(f"{name}, in {rounds} processes each:")
        taken = timed(checkouts, script, rounds=rounds)
        for field in Taken._fields:
            medians = []
            for checkout, times in zip(checkouts, taken, strict=True):
                values = [getattr(one, field) * 1e3 for one in times]
                medians.append(statistics.median(values))
                spread = f"{min(values):.1f} to {max(values):.1f}"
                print(f"    {field:<6}{medians[-1]:9.1f} ms  ({spread})  {checkout}")
            if len(medians) > 1:
                print(f"    {field:<6}ratio {medians[0] / medians[1]:.2f}")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="ci/house", description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=9, help="processes per measurement")
    parser.add_argument("--no-time", action="store_true")
    arguments = parser.parse_args()
    checkouts = [ROOT.resolve(), *([arguments.against.resolve()] if arguments.against else [])]
    good = report_imports()
    report_sizes(checkouts)
    if not arguments.no_time:
        report_times(checkouts, arguments.rounds)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
