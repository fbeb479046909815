"""Test runs, maps and ring buffers beside the same work in C over libbpf, in one run.

    python benchmarks/speed.py [KERNEL]

With a kernel (6.1) also ``run_many`` in a guest, in time as it passes: for a machine that does nothing else. Needs
root, gcc, clang and libbpf's headers. Times are processor time, the best of several rounds. The exit code says whether
every ratio is within its target.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import Target, render_targets

from pytest_ebpf.agent.ops import MapUpdate, RingDrain
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.live.bpf_object import BpfObject
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.session import Session

_HERE = Path(__file__).parent
_ROUNDS = 7
_RUNS, _ENTRIES, _RECORDS, _PER_RUN = 20_000, 100_000, 1_000_000, 1000
_PACKET = bytes(64)
_PIECE = 256 << 10  # bytes of a ring buffer read at once: they stay in the CPU cache


def _best(work: Callable[[], object]) -> float:
    """The fastest round, in nanoseconds of processor time."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time_ns()
        work()
        best = min(best, time.process_time_ns() - began)
    return best


def _runs(loaded: BpfObject, peer: float) -> list[Target]:
    program = loaded["pass"]
    packets = [_PACKET] * _RUNS
    one = _best(lambda: [program.run(_PACKET) for _ in range(_RUNS)]) / _RUNS
    many = _best(lambda: program.run_many(packets)) / _RUNS
    return [
        Target("prog.run of 64 bytes", one, peer / 0.15, unit="ns", peer=peer),
        Target("run_many of 64 bytes, each", many, peer / 0.35, unit="ns", peer=peer),
    ]


def _guest(pool: KernelPool, spec: str, *, objects: Path) -> Target:
    """Packets through a guest: 25,000 in a second where it is emulated."""
    program = Bpf(pool.get(spec), name="speed").load(objects / "speed.o", only="pass")["pass"]
    packets = [_PACKET] * _RUNS
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter_ns()
        program.run_many(packets)
        best = min(best, time.perf_counter_ns() - began)
    return Target(f"run_many of 64 bytes in {spec}, each", best / _RUNS, 1e9 / 25_000, unit="ns")


def _maps(loaded: BpfObject, peer: float, *, session: Session) -> list[Target]:
    found = []
    keys, values = struct.pack(f"={_ENTRIES}I", *range(_ENTRIES)), bytes(8 * _ENTRIES)
    for name in ("numbers", "structs"):
        table = loaded.maps[name]
        session.run([MapUpdate(table.handle, keys, values, _ENTRIES)])
        assert len(table.items()) == _ENTRIES
        raw, typed = _best(table.dump) / 1e6, _best(table.items) / 1e6
        found += [
            Target(f"{name}: {_ENTRIES:,} entries as bytes", raw, 2 * peer, peer=peer),
            Target(f"{name}: {_ENTRIES:,} entries by type", typed, 8 * peer, peer=peer),
        ]
    return found


def _ring(loaded: BpfObject, peer: dict[str, float], *, session: Session) -> list[Target]:
    emit, events = loaded["emit"], loaded.maps["events"]
    packets = [_PACKET] * (_RECORDS // _PER_RUN)
    reads, both = [], []
    for _ in range(_ROUNDS):
        began = time.process_time_ns()
        emit.run_many(packets)
        middle = time.process_time_ns()
        count = lost = 0
        while region := session.run([RingDrain(events.handle, limit=_PIECE)])[0]:
            count, lost = count + region.count, lost + region.lost
        end = time.process_time_ns()
        assert count + lost == _RECORDS, f"{count} of {_RECORDS} records came, {lost} were lost"
        reads.append((end - middle) / 1e6)
        both.append((end - began) / 1e6)
    what = f"{_RECORDS:,} records of 64 bytes"
    return [
        Target(f"{what} read in batches, beside a copying consumer", min(reads), 2 * peer["copy"], peer=peer["copy"]),
        Target(f"{what} produced and read", min(both), 2 * peer["both"], peer=peer["both"]),
    ]


def _compiled(where: Path) -> Path:
    """The peer's program and our object, compiled."""
    arch = f"-I/usr/include/{_output('gcc', '-print-multiarch')}"
    _output("clang", "-O2", "-g", "-target", "bpf", arch, "-c", str(_HERE / "speed.bpf.c"), "-o", f"{where}/speed.o")
    _output("gcc", "-O2", "-o", f"{where}/speed", str(_HERE / "speed.c"), "-lbpf", "-lelf", "-lz")
    return where / "speed"


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> int:
    """Compile, measure, print. The exit code: 1 when something is slower than it may be."""
    pool = KernelPool(PoolConfig())
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        peer = _compiled(Path(name))
        times = {}
        for kind, count in (("runs", _RUNS), ("hash", _ENTRIES), ("ring", _RECORDS)):
            times |= json.loads(_output(str(peer), kind, str(count)))
        try:
            bpf = Bpf(pool.get("host"), name="speed")
            loaded = bpf.load(Path(name, "speed.o"))
            targets = _runs(loaded, times["run"] / _RUNS)
            targets += _maps(loaded, times["batch"] / 1e6, session=bpf.session)
            targets += _ring(loaded, {key: value / 1e6 for key, value in times.items()}, session=bpf.session)
            targets += [_guest(pool, spec, objects=Path(name)) for spec in sys.argv[1:]]
        finally:
            pool.close()
    print(render_targets(targets))
    print(f"a C callback that copies nothing looks at the records in {times['look'] / 1e6:.2f} ms")
    return 0 if all(target.met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
