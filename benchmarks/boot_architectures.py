"""How long a guest of another architecture takes to its first answer: cold, and from its saved state.

    python benchmarks/boot_architectures.py 6.12:arm64 6.12:s390x

Medians of three, alternating. Exit status 1 where a warm start takes more than a quarter of a cold one; a machine that
cannot be saved says why and passes.
"""

from __future__ import annotations

import statistics
import sys
from typing import Literal

from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.guest.machine import boot
from pytest_ebpf.vm.images.fetch import ensure

ROUNDS = 3
SHARE = 0.25


def measure(spec: str) -> bool:
    """Print the figures of one kernel; whether they are good."""
    (image,) = ensure([spec])
    seconds: dict[str, list[float]] = {"warm": [], "cold": []}
    with_state = boot(image, config=BootConfig(boot="warm"))  # makes the state
    with_state.close()
    if with_state.way.name != "warm":
        print(f"{spec:16} cold: {with_state.way.reason}")
        return bool(with_state.way.reason)
    for _ in range(ROUNDS):
        modes: tuple[Literal["cold", "warm"], ...] = ("cold", "warm")
        for mode in modes:
            machine = boot(image, config=BootConfig(boot=mode))
            seconds[mode].append(machine.boot_seconds)
            machine.close()
    cold, warm = (statistics.median(seconds[mode]) for mode in ("cold", "warm"))
    print(f"{spec:16} cold {cold:6.2f} s   warm {warm:6.2f} s   {warm / cold:.3f} of cold")
    return warm <= SHARE * cold


if __name__ == "__main__":
    sys.exit(0 if all(list(map(measure, sys.argv[1:]))) else 1)
