"""``pytest-ebpf exec``: a command or a test program in guests, with results per test and kernel."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from pytest_ebpf.cli.options import WithCommand, command_of
from pytest_ebpf.cli.runs.matrix import echo_matrix, has_unicode

if TYPE_CHECKING:
    from pytest_ebpf.live.machine.suites import SuiteFormat
    from pytest_ebpf.report.record import KernelRecord, RunRecord
    from pytest_ebpf.suites.case import SuiteRun

__all__ = ["exec_"]

_BUILD_FAILED = 101  # the status of cargo


@click.command("exec", cls=WithCommand, options_metavar="[OPTIONS]")
@click.argument("specs", nargs=-1, metavar="SPEC… -- COMMAND…")
@click.option("--format", "format_", type=click.Choice(["libtest", "go", "tap"]), help="Default: seen from the output.")
@click.option("--timeout", type=float, default=300.0, show_default=True, help="Seconds for each program and kernel.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write the results as JUnit XML, a suite per kernel.")
@click.option("--cache", type=click.Path(path_type=Path), help="Where kernels are kept.")
@click.pass_context
def exec_(
    ctx: click.Context,
    specs: tuple[str, ...],
    format_: str | None,
    timeout: float,
    junit: Path | None,
    cache: Path | None,
) -> None:
    """Run COMMAND on each kernel SPEC (host, 6.1, newest, a path) and show the result of each of its tests.

    COMMAND is a test binary of Rust or Go, a program that prints TAP, or any command (its status is the result). For
    "cargo test …" and "go test …" the tests are built here and run on the kernels. Exit status 1 when a test failed.
    """
    argv = command_of(ctx)
    if not specs or not argv:
        raise click.UsageError("name kernels and a command: pytest-ebpf exec 6.1 newest -- ./tests")
    records: list[RunRecord] = []
    with _programs(argv) as programs:
        for spec in specs:
            for run, machine in _run(
                spec, programs, format_=cast("SuiteFormat", format_ or ""), timeout=timeout, cache=cache
            ):
                records += _records(run, machine=machine)
    _show(records, kernels=specs)
    if junit is not None:
        _write_junit(records, kernels=specs, path=junit)
    sys.exit(any(record["outcome"] == "failed" for record in records))


@contextmanager
def _programs(argv: list[str]) -> Iterator[list[list[str]]]:
    """The commands to run on each kernel. What cargo and go would build there is built here."""
    with tempfile.TemporaryDirectory(prefix="pytest-ebpf-exec-") as directory:
        if argv[:2] == ["cargo", "test"]:
            yield _cargo(argv)
        elif argv[:2] == ["go", "test"]:
            yield _go(argv, Path(directory))
        else:
            yield [argv]


def _cargo(argv: list[str]) -> list[list[str]]:
    """``cargo test [options] [-- options of libtest]``: a command for each binary that it builds."""
    marker = argv.index("--") if "--" in argv else len(argv)
    build = [*argv[:marker], "--no-run", "--message-format=json-render-diagnostics"]
    done = subprocess.run(build, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(_BUILD_FAILED)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    binaries = [each["executable"] for each in found if each.get("executable") and each["profile"]["test"]]
    return [[str(binary), *argv[marker + 1 :]] for binary in sorted(binaries)]  # cargo's order is that of its jobs


def _go(argv: list[str], directory: Path) -> list[list[str]]:
    """``go test PACKAGES``: a command for each package that has tests."""
    done = subprocess.run(["go", "test", "-c", "-o", f"{directory}/", *argv[2:]], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return [[str(binary), "-test.v"] for binary in sorted(directory.iterdir())]


def _run(
    spec: str, programs: list[list[str]], *, format_: SuiteFormat, timeout: float, cache: Path | None
) -> Iterator[tuple[SuiteRun, KernelRecord]]:
    """The programs on one kernel. A kernel that is lost on the way is one more failure, and the next program gets
    another one."""
    from pytest_ebpf.errors import GuestLost
    from pytest_ebpf.live.open_kernel import open_kernel
    from pytest_ebpf.report.record import KernelRecord
    from pytest_ebpf.suites.case import FAILED, Case, SuiteRun, program_name

    waiting = list(programs)
    while waiting:
        with open_kernel(spec, cache_dir=cache, keep=_directories(programs)) as bpf:
            vm = bpf.machine
            boots = [vm.kernel.boot_seconds] if vm.kernel.boot_seconds else []
            release = bpf.session.target.described.release
            machine = KernelRecord(id=spec, release=release, accel=vm.kernel.accel, note="", boots=boots)
            while waiting:
                argv = waiting.pop(0)
                try:
                    run = vm.run_tests(argv, format=format_, timeout=timeout, cwd=str(Path.cwd()), check=False)
                except GuestLost as error:
                    lost = Case(program_name(argv), FAILED, str(error))
                    yield SuiteRun(tuple(argv), (lost,), "guest lost"), machine
                    break
                yield run, machine


def _directories(programs: list[list[str]]) -> list[Path]:
    """Where the programs are: what was built below /tmp is hidden by the /tmp of a guest otherwise."""
    return sorted({Path(argv[0]).absolute().parent for argv in programs if "/" in argv[0]})


def _records(run: SuiteRun, *, machine: KernelRecord) -> Iterator[RunRecord]:
    from pytest_ebpf.outcome import Outcome
    from pytest_ebpf.report.record import RunRecord
    from pytest_ebpf.suites.case import program_name

    program = program_name(run.argv)
    kinds = {"passed": str(Outcome.PASSED), "failed": str(Outcome.FAILED), "skipped": ""}
    for number, case in enumerate(run.cases):
        yield RunRecord(
            test=f"{program}::{case.name}",
            kernel=machine["id"],
            outcome=case.outcome,
            kind=kinds[case.outcome],
            reason=case.message,
            line=number,
            programs=[],
            seconds=case.seconds,
            machine=machine,
        )


def _show(records: Sequence[RunRecord], *, kernels: Sequence[str]) -> None:
    """What failed, with what it printed, and the matrix."""
    for record in records:
        if record["outcome"] == "failed":
            click.secho(f"{'✗ ' if has_unicode() else ''}{record['test']} on {record['kernel']}", bold=True)
            click.echo("".join(f"    {line}\n" for line in record["reason"].splitlines()), nl=False)
    echo_matrix(records, kernels=kernels)


def _write_junit(records: Sequence[RunRecord], *, kernels: Sequence[str], path: Path) -> None:
    from pytest_ebpf.report.junit import Case, Merged, render_junit

    results = {"failed": "failure", "skipped": "skipped"}
    cases = []
    for record in records:
        program, _, name = record["test"].partition("::")
        why = record["reason"]
        cases.append(
            Case(
                classname=program,
                name=name,
                seconds=record.get("seconds", 0.0),
                result=results.get(record["outcome"], ""),
                message=why.partition("\n")[0],
                text=why,
                output="",
                properties={},
                record=record,
            )
        )
    path.write_text(render_junit(Merged(tuple(cases), tuple(kernels), ())), encoding="utf-8")
