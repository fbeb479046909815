"""The figures of ci/doubles: verdicts, packets and maps of instrumented copies, the share of programs that load with
counters, the cost of counters. Exits with 1 when one is not what the documentation says."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pytest_ebpf import Bpf, BpfObject, Program, open_kernel
from pytest_ebpf.errors import EbpfError
from support.instrumented import (
    CORPUS,
    PROGRAMS,
    SAMPLES,
    corpus_share,
    double_everything,
    instrumentations,
    outcome,
    packets,
    prepare,
)

PACKETS = 10_000
LEAST_SHARE, MOST_COST = 0.95, 1.5


def main() -> int:
    kernels = (sys.argv[1:] or ["host"])[0].split(",")
    more = tuple(Path(part) for part in os.environ.get("CORPUS", "").split(":") if part)
    failed = False
    for kernel in kernels:
        with open_kernel(kernel) as bpf:
            different = compare(bpf, PACKETS)
            share = corpus_share(bpf, (*CORPUS, *more))
            cost = statistics.median(costs(bpf)) if kernel == "host" else 0.0  # emulated processors tell nothing
            print(f"{kernel}: {PACKETS:,} packets, {len(PROGRAMS)} objects: {different or 'no difference'}")
            print(f"{kernel}: {share.instrumented} of {share.plain} programs load with counters")
            print(*(f"  {refused}\n" for refused in share.refused), end="")
            if cost:
                print(f"{kernel}: counters cost {cost:.2f} times the ns per run (median)")
            failed |= bool(different) or share.instrumented < LEAST_SHARE * share.plain or cost > MOST_COST
    return int(failed)


def compare(bpf: Bpf, count: int) -> list[str]:
    """Object and instrumentation, where anything differs. Three times before it counts: what an LRU map forgets depends
    on the processors that the runs happen to be on."""
    made = packets(count)
    names = ((name, what, instrument) for name in PROGRAMS for what, instrument in instrumentations())
    return [
        f"{name} {what}"
        for name, what, instrument in names
        if not any(same(bpf, name, instrument=instrument, made=made) for _ in range(3))
    ] + [f"{name} after doubles" for name in PROGRAMS if not any(undoubled(bpf, name, made=made) for _ in range(3))]


def same(bpf: Bpf, name: str, *, instrument: Callable[[BpfObject], None], made: list[bytes]) -> bool:
    """Whether the object does the same without and with its programs instrumented."""
    path = SAMPLES / f"{name}.bpf.o"
    with prepare(bpf.load(path)) as plain, prepare(bpf.load(path)) as other:
        instrument(other)
        return outcome(plain, made) == outcome(other, made) and not other.instruments.notes


def undoubled(bpf: Bpf, name: str, *, made: list[bytes]) -> bool:
    """Whether the object does the same before and after each of its calls was doubled in turn."""
    path = SAMPLES / f"{name}.bpf.o"
    with prepare(bpf.load(path)) as before:
        expected = outcome(before, made)
    double_everything(bpf, path)
    with prepare(bpf.load(path)) as after:
        return outcome(after, made) == expected


def costs(bpf: Bpf) -> list[float]:
    """Of each program that runs on packets: how much longer it takes."""
    found = []
    packet = packets(1)[0].ljust(100, b"\0")
    for name in PROGRAMS:
        for program in bpf.load(SAMPLES / f"{name}.bpf.o").programs.values():
            other = bpf.load(SAMPLES / f"{name}.bpf.o")
            other.instruments.count()
            try:
                pair = [statistics.median(_times(one, packet)) for one in (program, other[program.name])]
            except EbpfError:
                continue
            found.append(pair[1] / max(1, pair[0]))
    return found


def _times(program: Program, packet: bytes) -> list[int]:
    return [program.run(packet, repeat=20_000).duration for _ in range(5)]


if __name__ == "__main__":
    sys.exit(main())
