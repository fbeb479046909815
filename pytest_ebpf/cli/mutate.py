"""``pytest-ebpf mutate``: would the tests notice a bug in a program?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pytest_ebpf.errors import BpfUsageError

__all__ = ["mutate"]

_TOLD = 2000  # characters of what pytest said


@click.command()
@click.argument("tests", nargs=-1, required=True, metavar="TEST…")
@click.option("--kernels", default="", help="As --bpf-kernels.")
@click.option("--time", "seconds", type=float, default=300.0, show_default=True, help="Seconds after which to stop.")
@click.option("--jobs", "-j", type=int, default=1, show_default=True, help="Processes, each with guests of its own.")
@click.option("--fresh", is_flag=True, help="Try mutants again whose result is stored.")
@click.option("--json", "as_json", is_flag=True, help="Write every mutant as JSON.")
def mutate(tests: tuple[str, ...], kernels: str, seconds: float, jobs: int, fresh: bool, as_json: bool) -> None:
    """Change the compiled programs that TEST… (as for pytest) loads, one instruction at a time, and run the tests that
    come to it. A change that no test notices is shown with its line. Results are kept in .pytest_ebpf_mutants.json
    until the object or those tests change. Exit status 1 when some survived.
    """
    arguments = [*tests, "-q", "-p", "no:cacheprovider", "--bpf-no-matrix", f"--bpf-mutate-time={seconds}"]
    arguments += [f"--bpf-kernels={kernels}"] if kernels else []
    arguments += ["--bpf-mutate-fresh"] if fresh else []
    with tempfile.TemporaryDirectory() as folder:
        rows = _run(arguments, jobs=max(1, jobs), folder=Path(folder))
    click.echo(json.dumps(rows, indent=1) if as_json else _told(rows))
    sys.exit(any(row["outcome"] == "survived" for row in rows))


def _run(arguments: Sequence[str], *, jobs: int, folder: Path) -> list[dict[str, Any]]:
    """Every process runs all tests once and then its share of the mutants."""
    parts = [folder / f"{number}.json" for number in range(jobs)]
    logs = [folder / f"{number}.log" for number in range(jobs)]
    children = []
    for number, (part, log) in enumerate(zip(parts, logs, strict=True)):
        own = [f"--bpf-mutate-shard={number}/{jobs}", f"--bpf-mutate-into={part}"]
        with log.open("w") as output:
            command = [sys.executable, "-m", "pytest", *arguments, *own]
            children.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT))
    for child in children:
        child.wait()
    for part, log in zip(parts, logs, strict=True):
        if not part.exists():
            raise BpfUsageError(f"no test passed without mutants:\n{log.read_text()[-_TOLD:]}")
    return [row for part in parts for row in json.loads(part.read_text())]


def _told(rows: Sequence[dict[str, Any]]) -> str:
    """Survivors as lines of the source, and the counts."""
    lines = []
    for row in sorted(rows, key=lambda row: (row["object"], row["file"], row["line"])):
        if row["outcome"] == "survived":
            where = f"{row['file'].removeprefix('./')}:{row['line']}" if row["line"] else row["key"]
            lines.append(f"{where}: {row['text']}")
            lines.append(f"    {row['kind']}: {row['change']} ({row['object']}: {row['program']})")
    counts = Counter(row["outcome"] for row in rows)
    viable = counts["killed"] + counts["survived"]
    lines.append(
        f"{viable} viable mutants: {counts['killed']} killed, {counts['survived']} survived; "
        f"{counts['refused']} refused by the verifier, {counts['not tried']} not tried"
    )
    return "\n".join(lines)
