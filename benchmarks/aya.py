"""Aya's loader and cilium/ebpf beside ours, over the same objects in one run: verdicts by program, whole loads.

    python benchmarks/aya.py FOLDER [--aya [PROGRAM]] [--release 0.13|0.14|0.16] [--cilium [PROGRAM]]
                             [--kernel SPEC] [--rounds N]

FOLDER: objects, anywhere below. Each loader is a small program of our own (``aya_load/``, ``cilium_load/``), built in a
temporary folder with cargo or go, which bring the crates or modules; PROGRAM is one that is built already. Without
either option both are built. ``--release``: of Aya; 0.16 wants Rust 1.98. ``--kernel``: a guest, where the verdicts
alone are compared: this machine may forbid what a section wants (fentry, LSM, kprobes).

Times are of the programs that both load, the fastest of N rounds, turn and turn about, from opening the file to loaded
programs, without closing; all three have read the kernel's types before. Ours are three: of an object that nobody has
loaded before, which is parsed and planned; the first in a process, of an object that an earlier one has loaded and left
in the cache folder; and the second in a process. Aya is timed once more as a program uses it: in a new process, where
it asks the kernel for its features. (0.13 and 0.14 read the kernel's types then, 0.16 when an object needs them.) That
is the whole load that the targets are about; the start of the process is no part of it.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compare import find_objects
from measure import Target, render_targets
from ours import Ours, Verdict, completed, load_object

from pytest_ebpf.errors import EbpfError
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import HOST, KernelPool
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.machine.machine import BpfVm
from pytest_ebpf.live.open_kernel import open_kernel
from pytest_ebpf.live.session import Target as Kernel
from pytest_ebpf.obj.parse import parse_object

__all__ = ["Loader", "main"]

_HERE = Path(__file__).parent
_BUILDS = {
    "aya": ("cargo", "build", "--release", "--quiet", "--ignore-rust-version", "--features"),
    "cilium": ("sh", "-c", "go mod tidy 2>/dev/null && go build -o cilium_load ."),
}
_MADE = {"aya": "target/release/aya_load", "cilium": "cilium_load"}
_NO_TARGET = frozenset({"kprobe", "uprobe"})  # what the section names is for attaching, not for loading


# Maps that pin themselves want a bpffs, which this machine may have nowhere: in a mount namespace of the loader's own.
_WITH_PINS = ("unshare", "-m", "sh", "-c", 'mount -t bpf none /sys/fs/bpf; exec "$@"', "-")


def _run_here(argv: Sequence[str | Path]) -> tuple[int, str, str]:
    done = subprocess.run([*_WITH_PINS, *argv], capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


def _runner(machine: BpfVm) -> Callable[[Sequence[str | Path]], tuple[int, str, str]]:
    def run(argv: Sequence[str | Path]) -> tuple[int, str, str]:
        done = machine.run([str(word) for word in argv], timeout=600)
        return done.returncode, done.text, done.stderr.decode(errors="replace")

    return run


@dataclass(frozen=True, slots=True)
class Loader:
    """Another loader: a program that understands "verdicts FILE PROGRAM..." and "times" (see ``aya_load``)."""

    name: str
    program: Path
    run: Callable[[Sequence[str | Path]], tuple[int, str, str]] = _run_here

    def verdicts(self, path: Path, programs: Sequence[str]) -> dict[str, Any]:
        """What it makes of each program; ``{"error": ...}`` when of none."""
        status, said, complaint = self.run([self.program, "verdicts", path, *programs])
        if status or not said:
            return {"error": f"exit code {status}: {complaint[-300:]}"}
        answer: dict[str, Any] = json.loads(said)
        return answer

    def whole(self, path: Path, programs: Sequence[str]) -> float:
        """Milliseconds of a load with all that a new process has to read; 0 for a loader that cannot tell."""
        if self.name != "aya":
            return 0.0
        status, said, complaint = self.run([self.program, "cold", path, *programs])
        if status:
            raise RuntimeError(complaint)
        return float(json.loads(said)["load"]) / 1e6

    @contextmanager
    def timing(self) -> Iterator[Callable[[Path, Sequence[str]], float]]:
        """``load(path, programs)``: milliseconds of a whole load, in one process. RuntimeError when it fails."""
        with subprocess.Popen(
            [*_WITH_PINS, self.program, "times"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as run:
            assert run.stdin is not None
            assert run.stdout is not None
            requests, answers = run.stdin, run.stdout

            def load(path: Path, programs: Sequence[str]) -> float:
                print(path, *programs, sep="\t", file=requests, flush=True)
                answer = json.loads(answers.readline() or '{"error": "it died"}')
                if "load" not in answer:
                    raise RuntimeError(answer.get("error", "no answer"))
                return float(answer["load"]) / 1e6

            yield load
            requests.close()


@dataclass(frozen=True, slots=True)
class _Row:
    """One object and one other loader. ``both``: programs that both load; ``same``: of ``programs``, how many have the
    same verdict, so refused by both too; times in milliseconds, 0 without any. ``ours``: of an object that nobody has
    loaded before; ``kept``: our first of one that an earlier process has; ``again``: our second; ``whole``: theirs in a
    new process."""

    path: Path
    both: tuple[str, ...]
    differences: tuple[str, ...]
    programs: int
    same: int
    ours: float = 0.0
    theirs: float = 0.0
    kept: float = 0.0
    again: float = 0.0
    whole: float = 0.0


def main() -> int:
    """Print differences, times and ratios. Exit code 1 when another loader loads a program that ours does not."""
    arguments = _arguments()
    lacking = 0
    with ExitStack() as stack:
        release = arguments.release
        loaders = [stack.enter_context(_loader(name, given, release=release)) for name, given in _asked(arguments)]
        kernel, loaders = _opened(stack, arguments, loaders)
        rounds = arguments.rounds if arguments.kernel == HOST else 0
        found = [load_object(path, target=kernel) for path in find_objects(arguments.folder)]
        for loader in loaders:
            rows = [_compare(ours, loader, kernel, rounds=rounds) for ours in found]
            lacking += _print(rows, loader)
    return 1 if lacking else 0


def _opened(stack: ExitStack, arguments: argparse.Namespace, loaders: list[Loader]) -> tuple[Kernel, list[Loader]]:
    """The kernel, and the loaders as they run on it."""
    if arguments.kernel == HOST:
        pool = KernelPool(PoolConfig())
        stack.callback(pool.close)
        return pool.get(HOST), loaders
    seen = [arguments.folder, *(loader.program.parent for loader in loaders)]
    bpf = stack.enter_context(open_kernel(arguments.kernel, keep=seen, memory="2G"))
    return bpf.session.target, [replace(loader, run=_runner(bpf.machine)) for loader in loaders]


def _print(rows: Sequence[_Row], loader: Loader) -> int:
    """How many programs it loads and ours does not."""
    print(f"\n{loader.name}: ms, ours anew in ms, ratio, our first kept, our second, theirs in a new process, programs")
    for row in rows:
        if row.theirs:
            times = f"{row.theirs:9.3f} {row.ours:9.3f} {row.ours / row.theirs:6.2f} {row.kept:9.3f} {row.again:9.3f}"
            print(f"{times} {row.whole:9.3f} {len(row.both):4}  {row.path.name}")
    differences = [f"{row.path.name} {text}" for row in rows for text in row.differences]
    for text in differences:
        print(f"  {text}")
    timed = [row for row in rows if row.theirs]
    print(f"{loader.name}: both load {sum(len(row.both) for row in rows)} programs of {len(rows)} objects; "
          f"{sum(row.same for row in rows)} of {sum(row.programs for row in rows)} have the same verdict")  # fmt: skip
    if timed:
        ratio = statistics.median(row.ours / row.theirs for row in timed)
        more = statistics.median(row.ours - row.theirs for row in timed)
        again = statistics.median(row.again / row.theirs for row in timed)
        print(f"{loader.name}: median ratio {ratio:.2f}, second load {again:.2f}, median difference {more:+.2f} ms")
    if whole := [row for row in timed if row.whole]:
        what = f"over Aya's whole load, median of {len(whole)}"
        anew = statistics.median(row.ours / row.whole for row in whole)
        first = statistics.median(row.kept / row.whole for row in whole)
        second = statistics.median(row.again / row.whole for row in whole)
        targets = [
            Target(f"first load of what nobody has loaded {what}", anew, 2, unit="times"),
            Target(f"first load of what an earlier process has {what}", first, 2, unit="times"),
            Target(f"second load {what}", second, 1, unit="times"),
        ]
        print(render_targets(targets))
    return sum(text.endswith("only there") for text in differences)


def _compare(ours: Ours, loader: Loader, host: Kernel, *, rounds: int) -> _Row:
    names = [_with_target(verdict, ours) for verdict in ours.programs]
    sizes = _sizes(ours.path) if loader.name == "aya" else []
    theirs = loader.verdicts(ours.path, [*sizes, *names])
    loaded = {one["name"] for one in theirs.get("programs", ()) if one["loaded"]}
    own = {verdict.name for verdict in ours.programs if verdict.outcome == "loaded"}
    differences = [f"{name}: only there" for name in sorted(loaded - own)]
    if own - loaded:
        errors = {one["name"]: one.get("error", "") for one in theirs.get("programs", ())}
        why = theirs.get("error") or next(errors[name] for name in sorted(own - loaded))
        differences.append(f"{', '.join(sorted(own - loaded))}: only here, there: {_line(why)}")
    both = tuple(sorted(own & loaded))
    count = len({verdict.name for verdict in ours.programs})
    row = _Row(ours.path, both, tuple(differences), count, count - len(own ^ loaded))
    if not both or not rounds:
        return row
    wanted = [name for name in names if name.partition("=")[0] in both]
    try:
        return _timed(row, loader, host, rounds=rounds, wanted=[*sizes, *wanted])
    except (EbpfError, RuntimeError) as error:
        return replace(row, differences=(*differences, f"whole load: {_line(str(error))}"))


def _sizes(path: Path) -> list[str]:
    """The sizes that an object leaves to its user space, as ``load_object`` sets them."""
    try:
        changes = completed(parse_object(path.read_bytes(), name=path.name))
    except EbpfError:
        return []
    return [f"+{name}={change['max_entries']}" for name, change in changes.items() if "max_entries" in change]


def _timed(row: _Row, loader: Loader, host: Kernel, *, rounds: int, wanted: Sequence[str]) -> _Row:
    times: list[tuple[float, ...]] = []
    with tempfile.TemporaryDirectory(prefix="kept-loads-") as folder, loader.timing() as load:
        earlier = LoadCache(Path(folder))
        _load(row.path, row.both, host, cache=earlier)
        earlier.save()
        gc.collect()
        for _ in range(rounds):
            theirs = load(row.path, wanted)
            caches = (LoadCache(), LoadCache(Path(folder)), earlier)
            ours = [_load(row.path, row.both, host, cache=cache) for cache in caches]
            times.append((theirs, *ours, loader.whole(row.path, wanted)))
    fastest = [min(column) for column in zip(*times, strict=True)]
    return replace(row, **dict(zip(("theirs", "ours", "kept", "again", "whole"), fastest, strict=True)))


def _load(path: Path, programs: Sequence[str], host: Kernel, *, cache: LoadCache) -> float:
    bpf = Bpf(host, cache=cache)
    maps = _changes(path)
    try:
        began = time.perf_counter()
        bpf.load(path, only=programs, maps=maps)
        return (time.perf_counter() - began) * 1000
    finally:
        bpf.close()


@functools.cache
def _changes(path: Path) -> dict[str, Any]:
    """Sizes for the maps that leave theirs to the loader; none is pinned."""
    obj = parse_object(path.read_bytes(), name=path.name)
    maps: dict[str, Any] = {one.name: {"pin": False} for one in obj.maps if one.pinning}
    for name, change in completed(obj).items():
        maps[name] = {**maps.get(name, {}), **change}
    return maps


def _with_target(verdict: Verdict, ours: Ours) -> str:
    """Aya wants the name of a kernel function or hook when it loads, where it is in the section as well."""
    prefix, _, target = verdict.section.partition("/")
    return f"{verdict.name}={target}" if target and prefix not in _NO_TARGET else verdict.name


def _line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][-160:] if lines else "no reason given"


def _asked(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    given = [(name, getattr(arguments, name)) for name in _BUILDS if getattr(arguments, name) is not None]
    return given or [(name, "") for name in _BUILDS]


@contextmanager
def _loader(name: str, given: str, *, release: str) -> Iterator[Loader]:
    if given:
        yield Loader(name, Path(given).absolute())
        return
    with tempfile.TemporaryDirectory(prefix=f"{name}-load-") as where:
        folder = Path(where, "loader")
        shutil.copytree(_HERE / f"{name}_load", folder)
        words = (*_BUILDS[name], *([release.replace("0.", "aya_")] if name == "aya" else []))
        done = subprocess.run(words, cwd=folder, env=os.environ | {"CARGO_TARGET_DIR": f"{folder}/target"})
        if done.returncode:
            raise SystemExit(f"{name}_load could not be built: {' '.join(words)}")
        yield Loader(name, folder / _MADE[name])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="objects")
    for name in _BUILDS:
        parser.add_argument(f"--{name}", nargs="?", const="", metavar="PROGRAM", help=f"{name}_load, built or to build")
    parser.add_argument("--release", choices=["0.13", "0.14", "0.16"], default="0.14", help="of Aya (default: 0.14)")
    parser.add_argument("--kernel", default=HOST, metavar="SPEC", help="where they load (default: host)")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
