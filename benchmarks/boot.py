"""Starts of guests: stock virtme-run to a script, ours from nothing, ours from a saved state, to the first answer.

Medians of alternating rounds in one run, as ratios to stock; then a whole pytest run with one small guest test. Needs
the kernels in the cache. Usage: python benchmarks/boot.py [--rounds 5] [KERNEL…]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pytest_ebpf.agent.ops import Describe
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.vm.guest.config import BootConfig, BootMode
from pytest_ebpf.vm.guest.machine import boot
from pytest_ebpf.vm.guest.tools import find_tools
from pytest_ebpf.vm.images.image import KernelImage
from pytest_ebpf.vm.images.resolve import resolve

# Kernel -> the largest share of stock that a start from nothing, and from a saved state, may take.
TARGETS = {"5.10": (0.30, 0.06), "6.1": (0.30, 0.06), "6.12": (0.50, 0.10), "newest": (0.30, 0.10)}
TEST = """
def test_small(bpf_vm, bpf_kernel):
    assert bpf_vm.read_file("/proc/sys/kernel/osrelease").decode().strip() == bpf_kernel.release
"""


def stock(image: KernelImage) -> float:
    """Seconds until a script says something."""
    tools = find_tools()
    argv = [tools.virtme_run, "--disable-kvm", "--force-9p", "--show-boot-console", "--mods", "auto"]
    argv += ["--kimg", str(image.bzimage), "--memory", "1G", "--cpus", "1", "--script-sh", "echo it-runs"]
    began = time.monotonic()
    environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b"it-runs" in line and b"virtme" not in line:
                seconds = time.monotonic() - began
                process.kill()
                return seconds
    raise SystemExit(f"virtme-run did not run the script on {image.spec}")


def ours(image: KernelImage, mode: BootMode) -> float:
    """Seconds until the agent has answered."""
    began = time.monotonic()
    machine = boot(image, config=BootConfig(boot=mode, accel="tcg"))
    kernel = RemoteKernel(machine.stream, name=image.spec, scale=machine.accel.factor)
    kernel.run([Describe()])
    seconds = time.monotonic() - began
    kernel.close()
    machine.close()
    if machine.way.name != mode:
        raise SystemExit(f"{image.spec}: {machine.way}")
    return seconds


def whole_run(image: KernelImage, folder: Path, mode: str) -> float:
    """Seconds of a pytest process with one test."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--bpf-accel=tcg", f"--bpf-boot={mode}"]
    began = time.monotonic()
    subprocess.run([*argv, f"--bpf-kernels={image.spec}", str(folder)], check=True, capture_output=True)
    return time.monotonic() - began


def medians(ways: dict[str, Callable[[], float]], *, rounds: int) -> dict[str, float]:
    """Each way once per round, so that all see the same machine."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            took[name].append(way())
    return {name: statistics.median(values) for name, values in took.items()}


def main() -> None:
    """Print a line per kernel."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kernels", nargs="*", default=["5.10", "6.1", "6.12", "newest"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    missed: list[str] = []
    print("kernel   stock    cold  ÷stock    warm  ÷stock    pytest cold, warm")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_small.py").write_text(TEST)
        for spec in options.kernels:
            image = resolve(spec)
            ours(image, "warm")  # makes the state if there is none
            found = medians(
                {
                    "stock": lambda image=image: stock(image),  # type: ignore[misc]  # a lambda with a default has no type to infer
                    "cold": lambda image=image: ours(image, "cold"),  # type: ignore[misc]  # a lambda with a default has no type to infer
                    "warm": lambda image=image: ours(image, "warm"),  # type: ignore[misc]  # a lambda with a default has no type to infer
                    "run cold": lambda image=image: whole_run(image, folder, "cold"),  # type: ignore[misc]  # a lambda with a default has no type to infer
                    "run warm": lambda image=image: whole_run(image, folder, "warm"),  # type: ignore[misc]  # a lambda with a default has no type to infer
                },
                rounds=options.rounds,
            )
            cold, warm = found["cold"], found["warm"]
            most = TARGETS.get(spec, (1.0, 1.0))
            missed += [spec] if cold > most[0] * found["stock"] or warm > most[1] * found["stock"] else []
            print(
                f"{spec:<7} {found['stock']:5.2f} s {cold:5.2f} s {cold / found['stock']:6.3f} {warm:6.2f} s "
                f"{warm / found['stock']:6.3f}    {found['run cold']:.2f} s, {found['run warm']:.2f} s",
                flush=True,
            )
    if missed:
        raise SystemExit(f"missed on {', '.join(missed)}: the shares may be {TARGETS}")


if __name__ == "__main__":
    main()
