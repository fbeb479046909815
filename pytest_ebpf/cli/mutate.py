"""``pytest-ebpf mutate``: would the tests notice a bug in a program?"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

__all__ = ["mutate"]


@click.command()
@click.argument("tests", nargs=-1, required=True, metavar="TEST…")
@click.option("--kernels", default="", help="As --bpf-kernels.")
@click.option("--time", "seconds", type=float, default=300.0, show_default=True, help="Seconds after which to stop.")
@click.option("--jobs", "-j", type=int, default=1, show_default=True, help="Processes, each with guests of its own.")
@click.option("--fresh", is_flag=True, help="Try mutants again whose result is stored.")
@click.option("--json", "as_json", is_flag=True, help="Write every mutant as JSON.")
@click.option("--shard", hidden=True, default="0/1")
@click.option("--into", hidden=True, type=click.Path(path_type=Path))
def mutate(
    tests: tuple[str, ...],
    kernels: str,
    seconds: float,
    jobs: int,
    fresh: bool,
    as_json: bool,
    shard: str,
    into: Path | None,
) -> None:
    """Change the compiled programs that TEST… (as for pytest) loads, one instruction at a time, and run the tests that
    come to it. A change that no test notices is shown with its line. Results are kept in .pytest_ebpf_mutants.json
    until the object or those tests change. Exit status 1 when some survived.
    """
    started = jobs > 1 and into is None
    common = [f"--kernels={kernels}", f"--time={seconds}", *(["--fresh"] if fresh else [])]
    rows = _in_processes(tests, common, jobs=jobs) if started else _here(tests, kernels, seconds, shard, fresh)
    if into is not None:
        into.write_text(json.dumps(rows))
        return
    click.echo(json.dumps(rows, indent=1) if as_json else _told(rows))
    sys.exit(any(row["outcome"] == "survived" for row in rows))


def _here(tests: Sequence[str], kernels: str, seconds: float, shard: str, fresh: bool) -> list[dict[str, Any]]:
    import pytest

    from pytest_ebpf.errors import BpfUsageError
    from pytest_ebpf.fixtures.instruments.mutation import LOADS, MutationRun

    number, _, total = shard.partition("/")
    run = MutationRun(seconds=seconds, shard=(int(number), int(total)), use_cache=not fresh)

    class Register:
        """Under a name that loaders ask for."""

        def pytest_configure(self, config: pytest.Config) -> None:
            config.pluginmanager.register(run, LOADS)

    arguments = [*tests, "-q", "--bpf-no-matrix", "-p", "no:cacheprovider"]
    said = io.StringIO()
    with redirect_stdout(said):
        pytest.main([*arguments, *([f"--bpf-kernels={kernels}"] if kernels else [])], plugins=[Register()])
    if run.problem or not run.began:
        raise BpfUsageError(f"{run.problem or 'the tests did not run'}:\n{said.getvalue()[-2000:]}")
    return [asdict(verdict) for verdict in run.verdicts]


def _in_processes(tests: Sequence[str], common: Sequence[str], *, jobs: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        parts = [Path(folder) / f"{number}.json" for number in range(jobs)]
        command = [sys.executable, "-m", "pytest_ebpf.cli", "mutate", *tests, *common]
        children = [
            subprocess.Popen([*command, f"--shard={number}/{jobs}", f"--into={part}"], stdout=subprocess.DEVNULL)
            for number, part in enumerate(parts)
        ]
        for child in children:
            child.wait()
        return [row for part in parts if part.exists() for row in json.loads(part.read_text())]


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
