"""Do we agree with libbpf? Load every program of a folder of objects with both; compare verdict and walk.

    python benchmarks/agree.py FOLDER [--kernels host,6.1,newest] [--libbpf PREFIX] [--share N] [--kept FILE.jsonl]
                               [--again] [--report FILE.md]

The folders directly below FOLDER are the projects that the objects come from. libbpf loads each program alone, so that
one refusal hides no other; we load each object in one batch. Both have to come to the same verdict, and the verifier
has to have processed the same number of instructions, on the way to a rejection too; what the verifier did not see has
to be refused at the same stage (``stages.py``). In a guest libbpf's loader runs there, beside our agent.

With ``--kept`` each object's result is written when it is there, one a line; a run that was cut goes on behind what the
file has, and a report is made of all of it. A guest that is lost and a loader that is not done in time are results too.

Needs the right to load programs. Exit code 1 when libbpf alone loads a program, or fewer than 99 % agree.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from agree_kept import Kept, open_kept
from agreement import Page, render_report, render_summary
from compare import ONLY_LIBBPF, Comparison, compare, find_objects, share
from ours import Ours, load_object
from peer import Peer, PeerError, peer

from pytest_ebpf.agent.ops import Described, Exited, Spawn
from pytest_ebpf.errors import GuestLost
from pytest_ebpf.kernels.base import check
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.kernels.running import RunningKernel

__all__ = ["main"]

_ENOUGH = 0.99
_MEMORY = "2G"  # of a guest: some objects fill maps of hundreds of megabytes
_PART = " Of some projects a part was taken: the tables say how many objects."
# libbpf reads the kernel's configuration in /boot, where a distribution has it; a guest of ours has it from its image.
_WITH_CONFIG = """
config=/boot/config-$(uname -r)
[ -e "$config" ] || { mount -t tmpfs tmpfs /boot && cp "$0" "$config"; }
exec "$@"
"""
_TIMEOUT = 200.0  # seconds for all programs of one object


def main() -> int:
    """Print the table and the differences of each kernel."""
    arguments = _arguments()
    kept = open_kept(arguments.kept)
    pages = []
    with peer(arguments.libbpf) as libbpf:
        pool = KernelPool(PoolConfig(keep=(arguments.folder.resolve(), libbpf.program.parent), memory=_MEMORY))
        try:
            for spec in arguments.kernels:
                pages.append(_page(arguments, libbpf, pool, spec=spec, kept=kept))
                print(f"{spec} (Linux {pages[-1].release}, libbpf {libbpf.version})\n{render_summary(pages[-1].found)}")
        finally:
            pool.close()
    if arguments.report:
        part = _PART if arguments.only_kept or arguments.share else ""
        arguments.report.write_text(render_report(pages, libbpf=libbpf.version, part=part))
    return 0 if all(_agree(page.found) for page in pages) else 1


def _agree(found: Sequence[Comparison]) -> bool:
    programs = [program for one in found for program in one.programs]
    if any(program.difference == ONLY_LIBBPF for program in programs):
        return False
    return bool(programs) and sum(bool(p.same) for p in programs) >= _ENOUGH * len(programs)


def _page(arguments: argparse.Namespace, libbpf: Peer, pool: KernelPool, *, spec: str, kept: Kept) -> Page:
    """One kernel: what is kept of it, and the rest compared now."""
    found = []
    wanted = list(_wanted(arguments))
    for number, (project, path) in enumerate(wanted, 1):
        known = kept.get(spec, path)
        if known is None and arguments.only_kept:
            continue
        if known is None or (arguments.again and _to_be_tried_again(known)):
            known = _compared(project, path, libbpf=libbpf, pool=pool, spec=spec)
            kept.put(spec, path, known)
            print(
                f"{spec} {number}/{len(wanted)} {project}/{path.name}: {_in_short(known)}", file=sys.stderr, flush=True
            )
        found.append(known)
    release = kept.release(spec, find=lambda: _release(pool.get(spec).described))
    return Page(spec, release, tuple(found))


def _release(described: Described) -> str:
    """uname -r of Debian's older kernels stops at 6.1.0; its packages say in uname -v what they are."""
    packaged = re.search(r"Debian (\d[\w.]*)", described.version)
    return packaged[1] if packaged else described.release.partition("-")[0]


def _wanted(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    folder = arguments.folder.resolve()
    for project, paths in share(find_objects(folder), below=folder, most=arguments.share):
        if not arguments.project or project in arguments.project:
            yield from ((project, path) for path in paths)


def _to_be_tried_again(known: Comparison) -> bool:
    return known.cut or bool(known.ours.internal) or not all(program.same for program in known.programs)


def _in_short(one: Comparison) -> str:
    same = sum(bool(program.same) for program in one.programs)
    return one.apart or f"{same} of {len(one.programs)} the same"


def _compared(project: str, path: Path, *, libbpf: Peer, pool: KernelPool, spec: str) -> Comparison:
    """Whatever an object does to a guest is a result; the pool boots another guest for the next object."""
    kernel = pool.get(spec)
    there = libbpf if kernel.local else replace(libbpf, run=partial(_run_in, kernel))
    try:
        ours = load_object(path, target=kernel)
    except GuestLost as error:
        return Comparison(project, Ours(path), apart=f"the guest was lost with us: {_line(error)}", cut=True)
    try:
        return compare(ours, project=project, libbpf=there, alone=partial(_alone, path, kernel))
    except GuestLost as error:
        return Comparison(project, ours, apart=f"the guest was lost with libbpf: {_line(error)}", cut=True)


def _alone(path: Path, kernel: RunningKernel, name: str) -> Ours:
    return load_object(path, target=kernel, only=name)


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _run_in(kernel: RunningKernel, command: Sequence[str]) -> tuple[int, str, str]:
    """Run a command in a guest, which sees the objects and the program at their own paths."""
    config = kernel.image.kconfig if kernel.image is not None else None
    argv = ("sh", "-c", _WITH_CONFIG, str(config), *command) if config else tuple(command)
    done = check(kernel.kernel.run([Spawn(argv, timeout=_TIMEOUT)])[0], Exited)
    if done.timed_out:
        raise PeerError(f"not done after {_TIMEOUT:.0f} s")
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _list(text: str) -> list[str]:
    return text.split(",")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="objects, in one folder per project")
    parser.add_argument("--kernels", type=_list, default=["host"], help="host,6.1,newest")
    parser.add_argument("--libbpf", type=Path, help="where a libbpf is installed (include/, lib/libbpf.a)")
    parser.add_argument("--project", action="append", help="only this one; may be repeated")
    parser.add_argument("--share", type=int, default=0, metavar="N", help="at most N objects of each project")
    parser.add_argument("--kept", type=Path, help="write results to this file, one a line; what it has is not repeated")
    parser.add_argument("--only-kept", action="store_true", help="compare nothing more: a report of what the file has")
    parser.add_argument("--again", action="store_true", help="compare once more what differed, was lost or not done")
    parser.add_argument("--report", type=Path, help="write tables and differences to this Markdown file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
