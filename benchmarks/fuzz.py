"""Hostile input in bulk: mutated objects and BTF, parsed, asked everything, and planned for a kernel.

    python benchmarks/fuzz.py [--cases 100000] [--first 0] [--workers 1] [--objects FOLDER]... [--btf FILE]

Every case has to end in a value, an ObjectError, or a PlanError (this kernel cannot; as a rule of one program, and the
others are planned); within 1 s of processor time, and in 256 MB beyond what the process had before. The cases come
from the sample programs, from objects and BTF made by the tests' writers in both byte orders, and from every object
below each FOLDER. A third of them is planned for the kernel whose BTF is given (default: this one), a third for one
with the kinds of Linux 5.10 and no callbacks, a third for one without BTF.

A case is its number: the same number, sources and BTF make the same bytes again (--cases 1 --first N shows it). Exit
code 1 when any case ended badly.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from pytest_ebpf.btf.parse import Btf, parse_btf  # noqa: E402
from pytest_ebpf.obj.parse import parse_object  # noqa: E402
from pytest_ebpf.plan.facts import Facts  # noqa: E402
from support.every_kind import every_kind  # noqa: E402  # from the path just added
from support.fuzz_cases import TooSlowError, btf_case, object_case, target_case  # noqa: E402
from support.plan_facts import facts  # noqa: E402
from support.rust_object import rust_object  # noqa: E402
from support.sample_object import sample  # noqa: E402

__all__ = ["main"]

_MEMORY = 256 << 20
_CHUNK = 2000  # cases per process: what is remembered of the kernel's types must not count as a case's memory
_WARM_UP = 40
_OLD = frozenset(("btf", "func", "datasec", "func_global"))  # Linux 5.10
_Case = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all cases share: folders of objects, and the kernel's BTF ("" for none)."""

    folders: tuple[str, ...]
    btf: str


@dataclass(slots=True)
class Tally:
    """What came of some cases. ``slowest``: (seconds, case). ``memory``: bytes that the process grew by at most."""

    verdicts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    memory: int = 0

    def add(self, other: Tally) -> None:
        self.verdicts += other.verdicts
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.memory = max(self.memory, other.memory)


def main() -> int:
    """Run the cases and print a summary."""
    arguments = _arguments()
    setting = Setting(tuple(arguments.objects), arguments.btf if Path(arguments.btf).exists() else "")
    last = arguments.first + arguments.cases
    chunks = [range(at, min(at + _CHUNK, last)) for at in range(arguments.first, last, _CHUNK)]
    start = time.monotonic()
    total = Tally()
    with multiprocessing.get_context("spawn").Pool(arguments.workers, maxtasksperchild=1) as pool:
        for tally in pool.imap_unordered(partial(_run_chunk, setting=setting), chunks):
            total.add(tally)
            for failure in tally.failures:
                print(f"\r{failure}\x1b[K", file=sys.stderr)
            done = sum(total.verdicts.values())
            print(f"\r{done:,} cases, {len(total.failures)} bad\x1b[K", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(_render(total, seconds=time.monotonic() - start, sources=[name for name, _ in _cases(setting)]))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"verdicts": total.verdicts, "failures": total.failures}, indent=1))
    return 1 if total.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time")
    parser.add_argument("--objects", action="append", default=[], metavar="FOLDER", help="more objects to mutate")
    parser.add_argument("--btf", default="/sys/kernel/btf/vmlinux", metavar="FILE", help="types of the kernel")
    parser.add_argument("--json", default="", metavar="FILE", help="write counts and failures there too")
    return parser.parse_args()


def _run_chunk(numbers: range, *, setting: Setting) -> Tally:
    cases = _cases(setting)
    for _, case in cases[:_WARM_UP]:
        _judged(case, 0)  # everything that is imported or remembered once
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before = _peak()
    tally = Tally()
    for number in numbers:
        name, case = cases[number % len(cases)]
        start = time.process_time()
        verdict, failure = _judged(case, number)
        tally.verdicts[verdict] += 1
        tally.slowest = max(tally.slowest, (time.process_time() - start, f"case {number} ({name})"))
        if failure:
            tally.failures.append(f"case {number} ({name}): {failure}")
    tally.memory = _peak() - before
    return tally


def _peak() -> int:
    """The most memory that this process has had at a time, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _judged(case: _Case, number: int) -> tuple[str, str]:
    """The verdict, and what went wrong."""
    try:
        return case(number), ""
    except (Exception, TooSlowError) as error:
        where = [f"{Path(at.filename).name}:{at.lineno}" for at in traceback.extract_tb(error.__traceback__)]
        return "BAD", f"{type(error).__name__}: {error!s:.200} at {' < '.join(reversed(where[-4:]))}"


@cache
def _cases(setting: Setting) -> list[tuple[str, _Case]]:
    """(name, case by number), in an order that depends on the sources alone."""
    kernel = parse_btf(Path(setting.btf).read_bytes()) if setting.btf else None
    return [
        *((name, partial(_object_case, data, kernel=kernel)) for name, data in _objects(setting.folders)),
        *((f"BTF, {order} endian", _btf_case(every_kind(order)[0].build())) for order in ("little", "big")),
        *((f"kernel BTF of {name}", case) for name, case in _targets()),
    ]


def _object_case(data: bytes, number: int, *, kernel: Btf | None) -> str:
    byteorder = "big" if data[5] == 2 else "little"
    return object_case(data, seed=number, facts=_kernels(kernel, byteorder)[number % 3])


@cache
def _kernels(kernel: Btf | None, byteorder: str) -> tuple[Facts, Facts, Facts]:
    target = kernel if kernel and kernel.byteorder == byteorder else None
    return (
        facts(btf=target, byteorder=byteorder),
        facts(btf=target, features=_OLD, callbacks=False, byteorder=byteorder, kconfig="CONFIG_HZ=250\n"),
        facts(features=(), byteorder=byteorder, attach_type=False, array_mmap=False),
    )


def _btf_case(data: bytes) -> _Case:
    return lambda number: btf_case(data, seed=number)


def _targets() -> Iterator[tuple[str, _Case]]:
    """Programs with CO-RE relocations, against mutations of their own types."""
    for name, data in (
        ("core_task", _sample("core_task")),
        ("sample", sample("little")),
        ("sample, big", sample("big")),
    ):
        obj = parse_object(data, name=name)
        assert obj.btf
        own = partial(_own_facts, byteorder=obj.byteorder)
        yield name, partial(_target_case, obj.btf_raw, program=obj, own=own)


def _own_facts(btf: Btf, *, byteorder: str) -> Facts:
    return facts(btf=btf, byteorder=byteorder)


def _target_case(data: bytes, number: int, **how: object) -> str:
    return target_case(data, seed=number, program=how["program"], facts=how["own"])  # type: ignore[arg-type]


def _sample(name: str) -> bytes:
    return (ROOT / f"sample_programs/built/{name}.bpf.o").read_bytes()


def _objects(folders: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    yield from (("writer, little endian", sample("little")), ("writer, big endian", sample("big")))
    yield "writer, Rust", rust_object({"M": ("HashMap<u32, [u8; 32]>", (1, 4, 32, 16))})
    for folder in (str(ROOT / "sample_programs/built"), *folders):
        for path in sorted(path for path in Path(folder).rglob("*") if path.suffix in (".o", ".elf")):
            yield path.name, path.read_bytes()


def _render(tally: Tally, *, seconds: float, sources: list[str]) -> str:
    done = sum(tally.verdicts.values())
    words = {
        "planned": "planned whole",
        "partly": "planned but for programs that this kernel cannot run, or that are damaged",
        "unplanned": "PlanError for all of it",
        "refused": "ObjectError",
        "parsed": "BTF alone: read",
        "BAD": "ended otherwise",
    }
    rows = [f"{tally.verdicts.get(verdict, 0):>9,}  {text}" for verdict, text in words.items()]
    return "\n".join([
        f"{done:,} cases of {len(sources)} sources in {seconds:.0f} s ({1000 * seconds / max(done, 1):.1f} ms each)",
        *rows,
        f"slowest: {tally.slowest[0] * 1000:.0f} ms of processor time, {tally.slowest[1]}",
        f"memory: at most {tally.memory / (1 << 20):.0f} MB more than before",
        *tally.failures,
    ])  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
