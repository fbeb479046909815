"""Rates of properties, and packets beside scapy, in one run.

    python benchmarks/properties.py [KERNEL]

With a kernel (6.1) also a property in its guest. Needs root and scapy; for a machine that does nothing else. Figures of
the host are by processor time, the best of several rounds; those of a guest are in time as it passes. The exit code
says whether every target is met.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from scapy.all import IP as ScapyIP, TCP as ScapyTCP, Ether as ScapyEther

from pytest_ebpf import IP, TCP, Eth, Packet, RunResult, bpf_property, parse_packet, strategies as st
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.live.loader import Bpf

_OBJECT = Path(__file__).parent.parent / "sample_programs" / "built" / "xdp_firewall.bpf.o"
_BATCHED, _PLAIN, _PACKETS, _ROUNDS = 20_000, 1_000, 2_000, 5
_MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
_ADDRESSES, _FIELDS = {"src": "10.0.0.1", "dst": "10.0.0.2"}, {"sport": 1, "dport": 2, "flags": "S"}


def _best(work: Callable[[], object], *, clock: Callable[[], float] = time.process_time) -> float:
    """The fastest round, in seconds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = clock()
        work()
        best = min(best, clock() - began)
    return best


@bpf_property(max_examples=_BATCHED, seed=1)
def _batched(packet: Packet, result: RunResult, prog: Any) -> None:
    assert result.retval in (1, 2)


def _plain(prog: Any) -> Callable[[], None]:
    @settings(max_examples=_PLAIN, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(packet=st.packets())
    def test(packet: Packet) -> None:
        assert prog.run(packet).retval in (1, 2)

    return test


def _ours() -> bytes:
    return bytes(Eth(**_MACS) / IP(**_ADDRESSES) / TCP(**_FIELDS) / b"hello")


def _theirs() -> bytes:
    return bytes(ScapyEther(**_MACS) / ScapyIP(**_ADDRESSES) / ScapyTCP(**_FIELDS) / b"hello")


def _times(work: Callable[[], object]) -> float:
    return _best(lambda: [work() for _ in range(_PACKETS)]) / _PACKETS


def _beside_scapy() -> list[tuple[str, float, float]]:
    data = _ours()
    building = _times(_theirs) / _times(_ours)
    parsing = _times(lambda: ScapyEther(data)) / _times(lambda: parse_packet(data))
    return [("times as fast as scapy at building", building, 10), ("times as fast at parsing", parsing, 10)]


def main() -> int:
    """Measure and print. The exit code: 1 when a rate is below its target."""
    pool = KernelPool(PoolConfig())
    found: list[tuple[str, float, float]] = []
    try:
        prog = Bpf(pool.get("host"), name="properties").load(_OBJECT)["firewall"]
        found.append(("packets/s batched, host", _BATCHED / _best(lambda: _batched(prog=prog)), 20_000))
        found.append(("packets/s with plain @given, host", _PLAIN / _best(_plain(prog)), 1_000))
        for spec in sys.argv[1:]:
            guest = Bpf(pool.get(spec), name="properties").load(_OBJECT)["firewall"]
            taken = _best(lambda guest=guest: _batched(prog=guest), clock=time.perf_counter)  # type: ignore[misc]  # a lambda with a default has no type to infer
            found.append((f"packets/s batched, {spec}", _BATCHED / taken, 15_000))
        found += _beside_scapy()
    finally:
        pool.close()
    for what, figure, target in found:
        print(f"{'ok  ' if figure >= target else 'SLOW'} {figure:10,.1f} {what} (at least {target:,})")
    return 0 if all(figure >= target for _, figure, target in found) else 1


if __name__ == "__main__":
    sys.exit(main())
