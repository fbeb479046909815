"""Whole loads of real objects on this machine, ours beside libbpf's in the same run, and what memory they leave taken.

    python benchmarks/load.py FOLDER [--libbpf PREFIX] [--objects N] [--rounds N]

From each project in turn one more object is taken, until there are N of which libbpf loads something; both then load
what libbpf loads of it. Figures are the fastest round: opening, relocating, maps, BTF and programs, without closing.
The first load of a round parses and plans anew, the kernel's types stay, as they do in a session; the second one finds
all that in the cache. Python's collector runs as it does in a test, once for each object and then when it wants to: to
call it in each round would only empty the processor's caches, and the fastest round is one without it.
"""

from __future__ import annotations

import argparse
import functools
import gc
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest
from pathlib import Path

from compare import find_objects
from measure import Target, render_targets
from ours import completed
from peer import Peer, PeerError, peer

from pytest_ebpf.errors import EbpfError
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.session import Target as Kernel
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.map_definitions import MapOverride

__all__ = ["Loads", "main"]

_SMALL, _SLOWER, _SLOWER_AGAIN = 1.0, 1.2, 0.3  # milliseconds
_LONG, _RATIO, _RATIO_AGAIN, _WORST = 10, 1.02, 0.98, 1.5  # milliseconds, factors
_MEMORY = 150  # megabytes


@dataclass(frozen=True, slots=True)
class Loads:
    """The loads of one object, in milliseconds; ``again``: our second one. ``programs``: names; ``indexes``: theirs in
    libbpf's order."""

    path: Path
    programs: tuple[str, ...]
    indexes: tuple[int, ...]
    libbpf: float = 0.0
    ours: float = 0.0
    again: float = 0.0


def main() -> int:
    """Print a line per object and the targets. Exit code 1 when one is missed."""
    arguments = _arguments()
    pool = KernelPool(PoolConfig())
    try:
        host = pool.get("host")
        host.facts()
        with peer(arguments.libbpf) as libbpf:
            measured = list(_measure(arguments, libbpf, host))
            version = libbpf.version
    finally:
        pool.close()
    for one in sorted(measured, key=lambda one: one.libbpf):
        print(
            f"{one.libbpf:9.2f} {one.ours:9.2f} {one.again:9.2f} {len(one.programs):4}  {'/'.join(one.path.parts[-2:])}"
        )
    print(f"libbpf {version}, our first load, our second, programs of {len(measured)} objects")
    targets = _targets(measured)
    print(render_targets(targets))
    return 0 if all(target.met for target in targets) else 1


def _targets(measured: Sequence[Loads]) -> list[Target]:
    found = []
    small = [one for one in measured if one.libbpf < _SMALL]
    if small:
        what = f"more than libbpf where it needs less than {_SMALL:g} ms, median of {len(small)}"
        first = statistics.median(one.ours - one.libbpf for one in small)
        second = statistics.median(one.again - one.libbpf for one in small)
        found += [Target(f"first load, {what}", first, _SLOWER)]
        found += [Target(f"second load, {what}", second, _SLOWER_AGAIN)]
    long = [one for one in measured if one.libbpf >= _LONG]
    if long:
        what = f"where libbpf needs {_LONG} ms, median of {len(long)}"
        first = statistics.median(one.ours / one.libbpf for one in long)
        second = statistics.median(one.again / one.libbpf for one in long)
        found += [Target(f"first load, {what}", first, _RATIO, unit="times")]
        found += [Target(f"second load, {what}", second, _RATIO_AGAIN, unit="times")]
        worst = max(long, key=lambda one: one.ours / one.libbpf)
        found += [Target(f"the worst of them ({worst.path.name})", worst.ours / worst.libbpf, _WORST, unit="times")]
    found.append(Target(f"memory after {len(measured)} objects", _resident(), _MEMORY, unit="MB"))
    return found


def _measure(arguments: argparse.Namespace, libbpf: Peer, host: Kernel) -> Iterator[Loads]:
    """The memory of a session is wanted as well: what was parsed in the first round is kept to the end."""
    kept = LoadCache()
    chosen = _choose(arguments.folder, libbpf, count=arguments.objects)
    for one in chosen:
        print(f"\r\x1b[K{one.path.name:.60}", end="", file=sys.stderr, flush=True)
        try:
            _load(one, host, cache=kept)
            yield _alternating(one, libbpf, host, kept=kept, rounds=arguments.rounds)
        except EbpfError as error:
            print(f"\r\x1b[K{one.path}: {error}", file=sys.stderr)
    print("\r\x1b[K", end="", file=sys.stderr)


def _alternating(one: Loads, libbpf: Peer, host: Kernel, *, kept: LoadCache, rounds: int) -> Loads:
    """Turn and turn about, so that what else the machine does meets both."""
    theirs, ours, again = [], [], []
    with libbpf.timing() as load:
        gc.collect()
        for _ in range(rounds):
            took = load(one.path, one.indexes)
            theirs.append((took["open"] + took["load"]) / 1e6)
            ours.append(_load(one, host, cache=LoadCache()))
            again.append(_load(one, host, cache=kept))
    return replace(one, libbpf=min(theirs), ours=min(ours), again=min(again))


def _load(one: Loads, host: Kernel, *, cache: LoadCache) -> float:
    bpf = Bpf(host, cache=cache)
    try:
        maps = _sized(one.path)
        began = time.perf_counter()
        bpf.load(one.path, only=one.programs, maps=maps)
        return (time.perf_counter() - began) * 1000
    finally:
        bpf.close()


@functools.cache
def _sized(path: Path) -> Mapping[str, MapOverride]:
    """Sizes for the maps of an object that leave theirs to the loader."""
    return completed(parse_object(path.read_bytes(), name=str(path)))


def _choose(folder: Path, libbpf: Peer, *, count: int) -> Iterator[Loads]:
    """One object of each project after the other, as many as are wanted."""
    projects = [list(paths) for _, paths in groupby(find_objects(folder), key=lambda path: path.parts[:-1])]
    found = 0
    for paths in zip_longest(*projects):
        for path in paths:
            one = _loadable(path, libbpf) if path is not None and found < count else None
            if one is not None:
                found += 1
                yield one


def _loadable(path: Path, libbpf: Peer) -> Loads | None:
    try:
        theirs = libbpf.verdicts(path)
    except PeerError:
        return None
    names = [program["name"] for program in theirs["programs"]]
    loaded = [at for at, program in enumerate(theirs["programs"]) if program["loaded"] and names.count(names[at]) == 1]
    return Loads(path, tuple(names[at] for at in loaded), tuple(loaded)) if loaded else None


def _resident() -> float:
    """Megabytes that this process has in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="objects, in one folder per project")
    parser.add_argument("--libbpf", type=Path, help="where a libbpf is installed (include/, lib/libbpf.a)")
    parser.add_argument("--objects", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
