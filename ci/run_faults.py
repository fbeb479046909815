"""The faults of tests/support/fault_cases.py on some kernels, warm and cold: a line for each that is told wrongly, and
a count. Exit status 1 if there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from support.cache_faults import CACHE_FAULTS, prepare_cache, run, wrong_with
from support.faults import FaultRun, left_behind, problems, run_suite


def main(arguments: list[str]) -> int:
    """``[--short] [kernels [ways [words …]]]``."""
    short = "--short" in arguments
    words = [argument for argument in arguments if argument != "--short"]
    kernels = words[0].split(",") if words else ["5.10"] if short else ["5.10", "6.1", "newest"]
    ways = words[1].split(",") if len(words) > 1 else ["warm"] if short else ["warm", "cold"]
    bad = 0
    for kernel, way in product(kernels, ways):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as name:
            done, lines = run_suite(FaultRun(kernel, way, short, " ".join(words[2:])), Path(name))
            found = list(problems(lines))
            wrong = [(test, words) for test, words in found if words]
            wrong += [("the session", words) for words in left_behind(Path(name))]
        if not found or "INTERNALERROR" in done.stdout or "Traceback" in done.stderr:
            wrong.append(("the session", f"{done.stdout[-3000:]}{done.stderr[-3000:]}"))
        for test, words_of_it in wrong:
            print(f"✗ {kernel} {way} {test}: {words_of_it}")
        faults = sum(test.startswith("test_fault") for test, _ in found)
        seconds = time.monotonic() - began
        print(f"{kernel} {way}: {faults} faults, {len(wrong)} told wrongly, {seconds:.0f} s", flush=True)
        bad += len(wrong)
    if not short:
        bad += sum(cache_faults(kernel) for kernel in kernels)
    return bool(bad)


def cache_faults(kernel: str, word: str = "") -> int:
    """The faults of a cache of one kernel; how many are handled wrongly."""
    bad, chosen = 0, [fault for fault in CACHE_FAULTS if word in fault.name]
    with tempfile.TemporaryDirectory(prefix='it\'s a "cache", ') as name:  # a path with all that needs quoting
        top = Path(name)
        top.chmod(0o755)
        prepare_cache(top / "good", kernel=kernel)
        done = run(top / "good", top, kernel=kernel)
        if done.returncode:
            print(f"✗ {kernel}: a cache of that name cannot be used: {done.stdout[-2000:]}")
            return 1
        for fault in chosen:
            cache = top / "cache"
            shutil.rmtree(cache, ignore_errors=True)
            shutil.copytree(top / "good", cache, symlinks=True, copy_function=copy_or_link)
            if problem := wrong_with(fault, cache, top, kernel=kernel):
                print(f"✗ {kernel} cache: {fault.name}: {problem}", flush=True)
                bad += 1
    print(f"{kernel} cache: {len(chosen)} faults, {bad} handled wrongly", flush=True)
    return bad


def copy_or_link(source: str, target: str) -> None:
    """Of an image a link, of all else a copy."""
    if "/images/" in source:
        os.link(source, target)
    else:
        subprocess.run(["cp", "--sparse=always", "--preserve=all", source, target], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
