"""How long it takes to open an object and to plan its load, without a kernel; libbpf's opening in the same run.

    python benchmarks/plan.py SMALL.o LARGE.o [--libbpf PREFIX] [--rounds N]

SMALL: an XDP program; LARGE: one with at least 300 CO-RE relocations. libbpf relocates when it loads, so its opening
does less than ours and our planning together. Figures are processor time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measure import Target, best_ms, render_targets
from ours import completed
from peer import Peer, peer

from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.load_plan import LoadOptions, plan_load

__all__ = ["main"]

_SMALL, _LARGE = 3, 40  # milliseconds
_MANY = 300  # relocations


def main() -> int:
    """Print a line per object. Exit code 1 when one is above its target."""
    arguments = _arguments()
    pool = KernelPool(PoolConfig())
    try:
        facts = pool.get("host").facts()
        with peer(arguments.libbpf) as libbpf:
            theirs = {path: _opening(path, libbpf, rounds=arguments.rounds) for path in arguments.objects}
        targets = [_measure(path, facts, rounds=arguments.rounds, theirs=theirs[path]) for path in arguments.objects]
    finally:
        pool.close()
    print(render_targets(targets))
    return 0 if all(target.met for target in targets) else 1


def _opening(path: Path, libbpf: Peer, *, rounds: int) -> float:
    with libbpf.timing() as load:
        return min(load(path, ())["processor"] for _ in range(rounds)) / 1e6


def _measure(path: Path, facts: Facts, *, rounds: int, theirs: float) -> Target:
    data = path.read_bytes()
    obj = parse_object(data, name=path.name)
    relocs = sum(len(function.core) for function in (*obj.programs, *obj.text))
    took = best_ms(lambda: _plan(parse_object(data, name=path.name), facts), rounds=rounds)
    limit = _LARGE if relocs >= _MANY else _SMALL
    return Target(f"open and plan {path.name} ({relocs} CO-RE relocations)", took, limit, peer=theirs)


def _plan(obj: ObjectFile, facts: Facts) -> None:
    plan_load(obj, facts, options=LoadOptions(maps=completed(obj)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objects", type=Path, nargs="+")
    parser.add_argument("--libbpf", type=Path, help="where a libbpf is installed (include/, lib/libbpf.a)")
    parser.add_argument("--rounds", type=int, default=20)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
