"""Load every object of a folder on several kernels: no internal error, and no message without a cause.

    python benchmarks/sweep.py FOLDER [--kernel 5.10 --kernel newest ...] [--json FILE]

One kernel after the other, one boot each. What does not load is loaded once more the way a test would do it
(``bpf.load(file, only=program)``), and what that raises is looked at: it has to be one of the package's own errors, and
to say more than an errno. A program that loads neither with the others nor alone counts once.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from compare import find_objects
from ours import Ours, load_object

from pytest_ebpf.errors import EbpfError, GuestLost, HarnessError, KernelCallError
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.session import Target
from pytest_ebpf.verifier.program_rejected import ProgramRejected

__all__ = ["Finding", "main"]

_KERNELS = ("5.10", "6.1", "6.12", "newest")
_MEMORY = "3G"  # some projects' maps take more than the gigabyte that guests have


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a program, or of a whole object (``program`` ""). ``kind``: "loaded", an error's class,
    "internal" for any other exception, "causeless" for an error that does not say why."""

    kernel: str
    file: str
    program: str
    kind: str
    words: str = ""


def main() -> int:
    """Print what happened per kernel. Exit code 1 for internal errors and messages without a cause."""
    arguments = _arguments()
    findings: list[Finding] = []
    for kernel in arguments.kernel or _KERNELS:
        found = []
        for finding in _sweep(kernel, find_objects(arguments.folder)):
            found.append(finding)
            if arguments.json:
                with arguments.json.open("a") as file:
                    print(json.dumps(asdict(finding)), file=file)
        print(f"{kernel}: {_summary(found)}", flush=True)
        for finding in found:
            if finding.kind in ("internal", "causeless", "GuestLost"):
                print(f"  {finding.kind}: {finding.file} {finding.program}: {finding.words}", flush=True)
        findings += found
    return int(any(finding.kind in ("internal", "causeless") for finding in findings))


def _sweep(kernel: str, paths: Sequence[Path]) -> Iterator[Finding]:
    pool = KernelPool(PoolConfig(memory=_MEMORY))
    try:
        for number, path in enumerate(paths):
            print(f"\r{kernel} {number} {path.name:.60}\x1b[K", end="", file=sys.stderr, flush=True)
            try:
                yield from _findings(kernel, path, target=pool.get(kernel))
            except GuestLost as error:
                yield Finding(kernel, path.name, "", "GuestLost", str(error))
    finally:
        pool.close()


def _findings(kernel: str, path: Path, *, target: Target) -> Iterator[Finding]:
    ours = load_object(path, target=target)
    failed = [verdict.name for verdict in ours.programs if verdict.outcome != "loaded"]
    for verdict in ours.programs:
        if verdict.outcome == "loaded":
            yield Finding(kernel, path.name, verdict.name, "loaded")
    cache = LoadCache()
    for name in dict.fromkeys(failed) if not _stopped(ours) else ("",):
        yield _again(kernel, path, name, target=target, cache=cache)


def _stopped(ours: Ours) -> bool:
    """Whether the object as a whole failed: then it is loaded once more as a whole."""
    return bool(ours.error or ours.internal)


def _again(kernel: str, path: Path, name: str, *, target: Target, cache: LoadCache) -> Finding:
    bpf = Bpf(target, cache=cache)
    try:
        bpf.load(path, only=name or None)
    except (GuestLost, KeyboardInterrupt):
        raise
    except EbpfError as error:
        return Finding(kernel, path.name, name, _kind(error), str(error))
    except Exception:  # whatever it is, it is ours
        return Finding(kernel, path.name, name, "internal", traceback.format_exc())
    finally:
        bpf.close()
    return Finding(kernel, path.name, name, "loaded", "only alone")


def _kind(error: EbpfError) -> str:
    """The class of the error, or "causeless": an errno is no cause."""
    reasons = [error.hint]
    if isinstance(error, ProgramRejected):
        reasons += [error.log.error, *error.log.notes]
    elif isinstance(error, KernelCallError):
        reasons.append(error.log)
    elif not isinstance(error, HarnessError):
        reasons.append(error.message)
    return type(error).__name__ if any(reasons) else "causeless"


def _summary(found: Sequence[Finding]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in Counter(finding.kind for finding in found).most_common())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="objects, in one folder per project")
    parser.add_argument("--kernel", action="append", help=f"a kernel spec; may be repeated; default: {_KERNELS}")
    parser.add_argument("--json", type=Path, help="append every finding to this file, one a line")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
