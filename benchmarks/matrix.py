"""A suite of small tests on many kernels: this tree beside an older one, one process beside two workers; and guests
that share a saved state: their memory, and whether they leave it as it was.

Needs the kernels in the cache, and git for the older tree. Usage: python benchmarks/matrix.py [--tests 100]
[--peer 410798e] [--rounds 3] [KERNEL…]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_ebpf.agent.ops import Describe
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.guest.machine import Machine, boot
from pytest_ebpf.vm.images.resolve import resolve

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ("5.10", "6.1", "6.12", "6.18", "7.2", "newest")
MOST_OF_PEER = 0.55  # of the older tree's time, one process
LEAST_BY_TWO = 1.5  # times faster with two workers than with one process
MOST_OF_FIRST = 0.40  # memory of a second guest
TEST = """
import pytest

@pytest.mark.parametrize("n", range({tests}))
def test_small(bpf, n):
    assert bpf.load("xdp_decap.bpf.o")["decap"].run(bytes(64)).retval == 2
"""


def suite(tree: Path, folder: Path, kernels: Sequence[str], *options: str) -> float:
    """Seconds of a run with the package of ``tree``."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--bpf-accel=tcg", *options]
    began = time.monotonic()
    done = subprocess.run(
        [*argv, f"--bpf-kernels={','.join(kernels)}", str(folder)],
        env=os.environ | {"PYTHONPATH": str(tree)},
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{tree}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - began


def times(peer: Path | None, kernels: Sequence[str], *, tests: int, rounds: int) -> list[str]:
    """Print medians of alternating runs; what missed its target."""
    took: dict[str, list[float]] = {"one process": [], "-n 2": [], "peer": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_small.py").write_text(TEST.format(tests=tests))
        (folder / "xdp_decap.bpf.o").write_bytes((ROOT / "sample_programs/built/xdp_decap.bpf.o").read_bytes())
        for _ in range(rounds):
            took["one process"].append(suite(ROOT, folder, kernels))
            took["-n 2"].append(suite(ROOT, folder, kernels, "-n", "2"))
            if peer is not None:
                took["peer"].append(suite(peer, folder, kernels))
    found = {what: statistics.median(seconds) for what, seconds in took.items() if seconds}
    for what, seconds in found.items():
        print(f"{len(kernels)} kernels × {tests} tests, {what}: {seconds:.1f} s", flush=True)
    one, two = found["one process"], found["-n 2"]
    print(f"two workers: {one / two:.2f} times faster")
    missed = ["-n 2"] if one < LEAST_BY_TWO * two else []
    if "peer" in found:
        print(f"one process ÷ peer: {one / found['peer']:.2f}")
        missed += ["peer"] if one > MOST_OF_PEER * found["peer"] else []
    return missed


def share_of_memory(machines: Sequence[Machine]) -> int:
    """Kilobytes: what the pages of these guests take, shared ones once (Pss)."""
    total = 0
    for machine in machines:
        found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{machine.pid}/smaps_rollup").read_text(), re.MULTILINE)
        assert found is not None
        total += int(found[1])
    return total


def guests(spec: str) -> list[str]:
    """Four guests from one saved state, three of them at once; what missed its target."""
    image = resolve(spec)

    def start() -> Machine:
        machine = boot(image, config=BootConfig(accel="tcg"))
        if machine.way.name != "warm":
            raise SystemExit(f"{spec}: {machine.way}")
        RemoteKernel(machine.stream, name=spec, scale=machine.accel.factor).run([Describe()])
        return machine

    first = start()
    home = re.search(rb"mem-path=([^,\0]+)", Path(f"/proc/{first.pid}/cmdline").read_bytes())
    assert home is not None
    memory = Path(os.fsdecode(home[1]))
    before = hashlib.sha256(memory.read_bytes()).hexdigest()
    alone = share_of_memory([first])
    running = [first, start()]
    second = share_of_memory(running) - alone
    with ThreadPoolExecutor() as threads:
        running += threads.map(lambda _: start(), range(2))
    print(f"{spec}: memory of the first guest {alone >> 10} MB, of a second {second / alone:.0%} of that")
    for machine in running:
        machine.close()
    same = hashlib.sha256(memory.read_bytes()).hexdigest() == before
    print(f"{spec}: four guests from one file, which {'is as it was' if same else 'CHANGED'}")
    return [*(["memory"] if second > MOST_OF_FIRST * alone else []), *([] if same else ["the file"])]


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kernels", nargs="*", default=KERNELS)
    parser.add_argument("--tests", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", default="", help="a commit of this repository to compare with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        peer = Path(name) if options.peer else None
        if peer is not None:
            archive = subprocess.run(
                ["git", "-C", ROOT, "archive", options.peer], check=True, capture_output=True
            ).stdout
            subprocess.run(["tar", "-x", "-C", name], input=archive, check=True)
        missed = times(peer, options.kernels, tests=options.tests, rounds=options.rounds)
    missed += guests(options.kernels[0])
    if missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
