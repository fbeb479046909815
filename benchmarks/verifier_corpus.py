"""Verifier logs of every program of a folder of objects, on several kernels: are they read, and known?

    python benchmarks/verifier_corpus.py FOLDER [--kernel host --kernel 6.1 ...] [--level 2] [--match 'verifier_*.o']

Each program is loaded alone, at each log level. Of every log: the parse gives it back byte for byte, no line is
unknown, a rejection has a class. At the end: messages that no rule knows, and programs that several kernels reject
with different classes. ``--keep FOLDER`` writes the logs to files. Nothing of the objects or logs belongs into this
repository: they are others'.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from compare import find_objects

from pytest_ebpf.errors import EbpfError, GuestLost
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.session import Target
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.verifier.explain.text import render_explanation
from pytest_ebpf.verifier.log.trace import parse_trace
from pytest_ebpf.verifier.program_rejected import ProgramRejected
from pytest_ebpf.verifier.verifier_log import VerifierLog, parse_log

__all__ = ["Seen", "main"]

_MEMORY = "3G"


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one load. ``cls`` and ``kind`` are "" for accepted programs; ``unknown`` lines nobody knows."""

    kernel: str
    program: str
    level: int
    size: int
    whole: bool
    cls: str
    kind: str
    message: str
    unknown: tuple[str, ...]


def main() -> int:
    """Print what was seen per kernel. Exit code 1 below 100 % of parses or 99 % of classes."""
    options = _options()
    seen: list[Seen] = []
    for kernel in options.kernel or ["host"]:
        found = list(_kernel(kernel, options))
        print(f"\r{_summary(kernel, found)}\x1b[K", flush=True)
        seen += found
    _print_unknown(seen)
    _print_differences(seen)
    rejected = [one for one in seen if one.cls]
    known = sum(one.cls != "unknown" for one in rejected)
    whole = sum(one.whole for one in seen)
    print(f"{len(seen)} logs, {whole} parsed and given back; {known} of {len(rejected)} rejections classified")
    return int(whole < len(seen) or known < 0.99 * len(rejected))


def _kernel(kernel: str, options: argparse.Namespace) -> Iterator[Seen]:
    pool = KernelPool(PoolConfig(memory=_MEMORY))
    try:
        for path in find_objects(options.folder):
            if not fnmatch(path.name, options.match):
                continue
            print(f"\r{kernel} {path.name:.60}\x1b[K", end="", file=sys.stderr, flush=True)
            try:
                yield from _object(kernel, path, target=pool.get(kernel), options=options)
            except GuestLost as error:
                print(f"\n{kernel} {path.name}: {error}", file=sys.stderr)
    finally:
        pool.close()


def _object(kernel: str, path: Path, *, target: Target, options: argparse.Namespace) -> Iterator[Seen]:
    cache = LoadCache()
    try:
        names = [one.name for one in parse_object(path.read_bytes(), name=path.name).programs if one.spec is not None]
    except EbpfError:
        return
    for name in names:
        for level in options.level or [2]:
            log = _load(target, path, name=name, level=level, cache=cache)
            if log is None or not log.text:
                continue
            if options.keep:
                folder = options.keep / kernel
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{path.stem}.{name}.l{level}.log").write_text(log.text, errors="surrogateescape")
            yield _look(log, kernel=kernel, program=f"{path.name}:{name}", level=level)


def _load(target: Target, path: Path, *, name: str, level: int, cache: LoadCache) -> VerifierLog | None:
    """The log of one load, None where the kernel was not asked or said nothing."""
    bpf = Bpf(target, cache=cache)
    try:
        return bpf.load(path, only=name, log_level=level)[name].log
    except ProgramRejected as error:
        return error.log
    except GuestLost:
        raise
    except EbpfError:
        return None
    finally:
        bpf.close()


def _look(log: VerifierLog, *, kernel: str, program: str, level: int) -> Seen:
    trace = parse_trace(log.text)
    fresh = parse_log(log.text)
    rejection = fresh.rejection
    if (explanation := log.explanation) is not None:
        render_explanation(explanation)
    return Seen(
        kernel,
        program,
        level,
        len(log.text),
        trace.render() == log.text,
        rejection.class_id if rejection else "",
        rejection.kind if rejection else "",
        rejection.message if rejection else "",
        trace.unknown,
    )


def _summary(kernel: str, found: list[Seen]) -> str:
    rejected = [one for one in found if one.cls]
    classes = ", ".join(f"{count} {name}" for name, count in Counter(one.cls for one in rejected).most_common())
    return (
        f"{kernel}: {len(found)} logs, {sum(one.size for one in found) / 1e6:.1f} MB, "
        f"{len(rejected)} rejected ({classes}), {sum(len(one.unknown) for one in found)} unknown lines"
    )


def _print_unknown(seen: list[Seen]) -> None:
    lines = Counter((line, one.kernel) for one in seen for line in set(one.unknown))
    for (line, kernel), count in lines.most_common(60):
        print(f"unknown line, {kernel}, {count} times: {line}")


def _print_differences(seen: list[Seen]) -> None:
    by_program: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in seen:
        if one.cls:
            by_program[one.program][f"{one.cls} ({one.kind}): {one.message}"].append(f"{one.kernel}/{one.level}")
    for program, messages in sorted(by_program.items()):
        if len({text.partition(" (")[0] for text in messages}) > 1:
            print(f"{program} is rejected differently:")
            for text, where in messages.items():
                print(f"  {' '.join(where)}: {text}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="objects, in folders or not")
    parser.add_argument("--kernel", action="append", help="a kernel spec; may be repeated; default: host")
    parser.add_argument("--level", action="append", type=int, help="a log level; may be repeated; default: 2")
    parser.add_argument("--match", default="*", help="only objects of such names")
    parser.add_argument("--keep", type=Path, help="write the logs below this folder")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
