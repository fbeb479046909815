"""Do we agree with libbpf? Load every program of a folder of objects with both; compare verdict and walk.

    python benchmarks/agree.py FOLDER [--libbpf PREFIX] [--report FILE.md] [--json FILE]

The folders directly below FOLDER are the projects that the objects come from. libbpf loads each program alone, so that
one refusal hides no other; we load each object in one batch. Both have to come to the same verdict, and the verifier
has to have processed the same number of instructions, on the way to a rejection too. Needs the right to load programs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from agreement import render_report, render_summary
from compare import Comparison, compare, find_objects
from ours import load_object
from peer import Peer, peer

from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.live.session import Target

__all__ = ["main"]

_ENOUGH = 0.99


def main() -> int:
    """Print the table and the differences. Exit code 1 when fewer than 99 % of the programs agree."""
    arguments = _arguments()
    pool = KernelPool(PoolConfig())
    try:
        host = pool.get("host")
        with peer(arguments.libbpf) as libbpf:
            found = list(_compared(arguments, libbpf, host))
            version = libbpf.version
    finally:
        pool.close()
    print(render_summary(found))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in found], default=str, indent=1))
    if arguments.report:
        arguments.report.write_text(render_report(found, libbpf=version, release=host.described.release))
    programs = [program for one in found for program in one.programs]
    return 0 if programs and sum(bool(p.same) for p in programs) >= _ENOUGH * len(programs) else 1


def _compared(arguments: argparse.Namespace, libbpf: Peer, host: Target) -> Iterator[Comparison]:
    for number, path in enumerate(find_objects(arguments.folder)):
        project = path.relative_to(arguments.folder).parts[0]
        if not arguments.project or project in arguments.project:
            print(f"\r\x1b[K{number} {path.name:.60}", end="", file=sys.stderr, flush=True)
            yield compare(load_object(path, target=host), project=project, libbpf=libbpf)
    print("\r\x1b[K", end="", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="objects, in one folder per project")
    parser.add_argument("--libbpf", type=Path, help="where a libbpf is installed (include/, lib/libbpf.a)")
    parser.add_argument("--project", action="append", help="only this one; may be repeated")
    parser.add_argument("--json", type=Path, help="write every verdict to this file")
    parser.add_argument("--report", type=Path, help="write tables and differences to this Markdown file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
