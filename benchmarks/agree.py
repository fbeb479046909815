"""Do we agree with libbpf? Load every program of a folder of objects with both; compare verdict and walk.

    python benchmarks/agree.py FOLDER [--kernels host,6.1,newest] [--libbpf PREFIX] [--report FILE.md] [--json FILE]

The folders directly below FOLDER are the projects that the objects come from. libbpf loads each program alone, so that
one refusal hides no other; we load each object in one batch. Both have to come to the same verdict, and the verifier
has to have processed the same number of instructions, on the way to a rejection too; what the verifier did not see has
to be refused at the same stage (``stages.py``). In a guest libbpf's loader runs there, beside our agent. Needs the
right to load programs. Exit code 1 when libbpf alone loads a program, or fewer than 99 % agree.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from agreement import render_report, render_summary
from compare import ONLY_LIBBPF, Comparison, compare, find_objects
from ours import Ours, load_object
from peer import Peer, peer

from pytest_ebpf.agent.ops import Exited, Spawn
from pytest_ebpf.errors import GuestLost
from pytest_ebpf.kernels.base import check
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.live.session import Target

__all__ = ["main"]

_ENOUGH = 0.99
_MEMORY = "2G"  # of a guest: some objects fill maps of hundreds of megabytes
_TIMEOUT = 300.0  # seconds for all programs of one object


def main() -> int:
    """Print the table and the differences of each kernel."""
    arguments = _arguments()
    found: dict[str, list[Comparison]] = {}
    releases = {}
    with peer(arguments.libbpf) as libbpf:
        pool = KernelPool(PoolConfig(keep=(arguments.folder.resolve(), libbpf.program.parent), memory=_MEMORY))
        try:
            for spec in arguments.kernels:
                found[spec] = list(_compared(arguments, libbpf, pool, spec=spec))
                releases[spec] = pool.get(spec).described.release.partition("-")[0]
        finally:
            pool.close()
    for spec, one in found.items():
        print(f"{spec} (Linux {releases[spec]}, libbpf {libbpf.version})\n{render_summary(one)}")
    if arguments.json:
        told = {spec: [asdict(one) for one in compared] for spec, compared in found.items()}
        arguments.json.write_text(json.dumps(told, default=str, indent=1))
    if arguments.report:
        pages = [render_report(one, libbpf=libbpf.version, release=releases[spec]) for spec, one in found.items()]
        arguments.report.write_text("\n".join(pages))
    return 0 if all(map(_agree, found.values())) else 1


def _agree(found: Sequence[Comparison]) -> bool:
    programs = [program for one in found for program in one.programs]
    if any(program.difference == ONLY_LIBBPF for program in programs):
        return False
    return bool(programs) and sum(bool(p.same) for p in programs) >= _ENOUGH * len(programs)


def _compared(arguments: argparse.Namespace, libbpf: Peer, pool: KernelPool, *, spec: str) -> Iterator[Comparison]:
    for number, path in enumerate(find_objects(arguments.folder.resolve())):
        project = path.relative_to(arguments.folder.resolve()).parts[0]
        if arguments.project and project not in arguments.project:
            continue
        print(f"\r\x1b[K{spec}: {number} {path.name:.60}", end="", file=sys.stderr, flush=True)
        kernel = pool.get(spec)
        there = libbpf if kernel.local else replace(libbpf, run=partial(_run_in, kernel))
        try:
            yield compare(load_object(path, target=kernel), project=project, libbpf=there)
        except GuestLost as error:  # the pool boots another one for the next object
            yield Comparison(project, Ours(path), apart=f"the guest was lost: {str(error).splitlines()[0]}")
    print("\r\x1b[K", end="", file=sys.stderr)


def _run_in(kernel: Target, command: Sequence[str]) -> tuple[int, str, str]:
    """Run a command in a guest, which sees the objects and the program at their own paths."""
    done = check(kernel.kernel.run([Spawn(tuple(command), timeout=_TIMEOUT)])[0], Exited)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="objects, in one folder per project")
    parser.add_argument("--kernels", type=lambda text: text.split(","), default=["host"], help="host,6.1,newest")
    parser.add_argument("--libbpf", type=Path, help="where a libbpf is installed (include/, lib/libbpf.a)")
    parser.add_argument("--project", action="append", help="only this one; may be repeated")
    parser.add_argument("--json", type=Path, help="write every verdict to this file")
    parser.add_argument("--report", type=Path, help="write tables and differences to this Markdown file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
