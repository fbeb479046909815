"""Every loss of tests/support/losses.py on some kernels, one line for each. Exit status 1 if one is not told right."""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from support.losses import MOMENTS, WAYS, Loss, run, wrong


def main(arguments: list[str]) -> int:
    """Run the cases; words choose among them."""
    kernels = arguments[0].split(",") if arguments else ["5.10", "6.1", "newest"]
    bad = 0
    for kernel, how, at in product(kernels, WAYS, MOMENTS):
        if any(word not in f"{how} {at}" for word in arguments[1:]):
            continue
        loss = Loss(kernel, how, at)
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            done = run(loss, Path(folder))
        problem = wrong(loss, done)
        bad += bool(problem)
        print(
            f"{'✗' if problem else '✓'} {kernel:7} {how:7} {at:21} {time.monotonic() - began:5.1f} s  {problem}",
            flush=True,
        )
        if problem:
            print(done.stdout, done.stderr, sep="\n")
    print(f"{bad} of the cases are wrong" if bad else "all as they should be")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
