"""Does ``pytest-ebpf verify`` agree with veristat? Verdict and instructions walked, for every program of a folder.

    python benchmarks/veristat.py FOLDER --veristat PATH [--report FILE.md] [--only PATTERN]

PATH is a veristat, built from the kernel's tools/testing/selftests/bpf/veristat.c against libbpf; FOLDER has objects
anywhere below. Both load every program on the running kernel, in one run. veristat loads each program alone, we load
an object in one batch. Exit code 1 when a program that both can load has another verdict or another count.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compare import find_objects

from pytest_ebpf.errors import EbpfError
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.session import Target
from pytest_ebpf.obj.read import read_object
from pytest_ebpf.verifier.compare.veristat_csv import Row, parse_csv
from pytest_ebpf.verify.verdict import ProgramVerdict, verify_object

__all__ = ["main"]

_TIMEOUT = 300  # seconds for one object
_EMIT = "file,prog,verdict,insns,states"
_WRAPPER = "LINUX_HAS_SYSCALL_WRAPPER"


@dataclass(frozen=True, slots=True)
class Pair:
    """One program: what veristat says (None: it does not list it) and what we say."""

    path: Path
    program: str
    theirs: Row | None
    ours: ProgramVerdict | None
    why: str = ""

    @property
    def outcome(self) -> str:
        """same, or in words what is different."""
        if self.theirs is None or self.ours is None:
            return "only ours" if self.theirs is None else "only veristat's"
        loaded = self.theirs["verdict"] == "success"
        if loaded != self.ours.accepted:
            return "we accept, veristat fails" if self.ours.accepted else f"veristat accepts, we {_verb(self.ours)}"
        if not loaded:
            return "both refuse"
        return "same" if self.theirs["total_insns"] == self.ours.insns else "another count"


def _verb(ours: ProgramVerdict) -> str:
    return "are refused" if ours.verdict == "rejected" else "cannot plan it"


def main() -> int:
    """Print a table of outcomes and every difference."""
    arguments = _arguments()
    pool = KernelPool(PoolConfig())
    try:
        host = pool.get("host")
        pairs = list(_pairs(arguments, host))
        release = host.described.release
    finally:
        pool.close()
    text = _report(pairs, release=release, version=_version(arguments.veristat))
    if arguments.report:
        arguments.report.write_text(text, encoding="utf-8")
    print(text)
    bad = [
        pair
        for pair in pairs
        if (pair.outcome == "another count" and _WRAPPER not in pair.why) or pair.outcome.startswith("veristat accepts")
    ]
    return 1 if bad or not pairs else 0


def _pairs(arguments: argparse.Namespace, host: Target) -> Iterator[Pair]:
    cache = LoadCache()
    for number, path in enumerate(find_objects(arguments.folder)):
        if arguments.only and not path.match(arguments.only):
            continue
        print(f"\r\x1b[K{number} {path.name:.60}", end="", file=sys.stderr, flush=True)
        theirs, unread = _veristat(path, arguments.veristat)
        ours = _ours(path, host, cache=cache)
        if isinstance(ours, str):
            unread, ours = ours, {}
        pairs = [Pair(path, name, theirs.get(name), ours.get(name), unread) for name in sorted({*theirs, *ours})]
        yield from _explained(pairs, path, tool=arguments.veristat)
    print("\r\x1b[K", end="", file=sys.stderr)


def _veristat(path: Path, tool: Path) -> tuple[dict[str, Row], str]:
    done = subprocess.run(
        [tool, "-q", "-o", "csv", "-e", _EMIT, path], capture_output=True, text=True, timeout=_TIMEOUT, errors="replace"
    )
    rows = parse_csv(done.stdout, name=path.name) if done.stdout.strip() else []
    return {str(row["prog_name"]): row for row in rows}, done.stderr.strip()


def _explained(pairs: Sequence[Pair], path: Path, *, tool: Path) -> Iterator[Pair]:
    """The pairs, with a reason for those that differ: libbpf's words, or what the object asks of the kernel."""
    said = ""
    if any(pair.outcome == "we accept, veristat fails" for pair in pairs):
        said = _libbpf_says(path, tool)
    for pair in pairs:
        if pair.outcome == "we accept, veristat fails":
            yield replace(pair, why=said)
        elif pair.outcome == "another count" and _asks_for_wrapper(path):
            yield replace(pair, why=f"the program asks for {_WRAPPER}: libbpf tries a kprobe, which may not be there")
        elif pair.ours is not None and pair.ours.message:
            yield replace(pair, why=pair.ours.message)
        else:
            yield pair


def _libbpf_says(path: Path, tool: Path) -> str:
    """libbpf's last complaint about an object: a map that was refused, a slot without its program."""
    command = [tool, "-v", "-l", "4", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, errors="replace")
    lines = [line for line in done.stderr.splitlines() if line.startswith("libbpf: ") and "load object" not in line]
    return lines[-1].removeprefix("libbpf: ") if lines else ""


def _asks_for_wrapper(path: Path) -> bool:
    return any(extern.name == _WRAPPER for extern in read_object(path).externs)


def _ours(path: Path, host: Target, *, cache: LoadCache) -> dict[str, ProgramVerdict] | str:
    try:
        return {v.program: v for v in verify_object(read_object(path), host, kernel="host", cache=cache)}
    except EbpfError as error:
        return str(error)


def _version(tool: Path) -> str:
    return subprocess.run([tool, "--version"], capture_output=True, text=True).stdout.strip() or "veristat"


def _report(pairs: Sequence[Pair], *, release: str, version: str) -> str:
    counts = Counter(pair.outcome for pair in pairs)
    objects = len({pair.path for pair in pairs})
    both = counts["same"] + counts["another count"]
    lines = [
        "# Agreement with veristat",
        "",
        f"{len(pairs)} programs of {objects} objects on Linux {release.partition('-')[0]}, `{version}`. Generated by "
        "`benchmarks/veristat.py`.",
        "",
        f"Of the {both} programs that both load, {counts['same']} have the same number of instructions walked.",
        "",
        "| outcome | programs |",
        "|---|---|",
        *(f"| {outcome} | {count} |" for outcome, count in counts.most_common()),
        "",
    ]
    lines += ["## Programs that both load, with another count", "", "| object | program | veristat | ours | why |"]
    lines += ["|---|---|---|---|---|"]
    lines += [_count_row(pair) for pair in pairs if pair.outcome == "another count"]
    lines += [
        "",
        "## Programs that one of the two does not load",
        "",
        "| objects | programs | what | why |",
        "|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        if pair.outcome not in ("same", "both refuse", "another count"):
            groups.setdefault((pair.outcome, _reason(pair)), []).append(pair)
    for (outcome, why), found in sorted(groups.items(), key=lambda group: -len(group[1])):
        names = list(dict.fromkeys(pair.path.name for pair in found))
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        lines.append(f"| {shown} | {len(found)} | {outcome} | {why} |")
    return "\n".join(lines) + "\n"


def _count_row(pair: Pair) -> str:
    assert pair.theirs is not None
    assert pair.ours is not None
    return f"| {pair.path.name} | {pair.program} | {pair.theirs['total_insns']} | {pair.ours.insns} | {_reason(pair)} |"


def _reason(pair: Pair) -> str:
    """In words, without what is different in each object: its path, numbers of descriptors."""
    text = " ".join(pair.why.replace(str(pair.path), pair.path.name).split()).replace("|", "\\|")
    text = text.replace(pair.path.name, "the object").replace(pair.program, "it")
    return re.sub(r"'[^']*'", "'…'", text)[:160]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="objects, anywhere below")
    parser.add_argument("--veristat", type=Path, required=True, help="the tool")
    parser.add_argument("--report", type=Path, help="write the report to this Markdown file")
    parser.add_argument("--only", help="only objects that match this pattern")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
