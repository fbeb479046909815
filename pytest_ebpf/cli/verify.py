"""``pytest-ebpf verify``: the result and the cost of every program of object files on every kernel."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pytest_ebpf.cli.verify_setup import Request
    from pytest_ebpf.verify.verdicts import Verdicts

__all__ = ["verify"]

_HELD, _BROKEN, _USAGE, _NO_KERNEL = range(4)  # exit statuses


@click.command("verify", epilog="Exit status: 0 the policy holds, 1 it does not, 2 wrong usage, 3 no such kernel ran.")
@click.argument("objects", nargs=-1, metavar="OBJ…")
@click.option("-k", "--kernels", default="", metavar="SPEC,…", help="host (the default), 6.1, newest, ./bzImage, …")
@click.option("-e", "--emit", default="", metavar="SPEC", help="Print these columns, a line per program and kernel.")
@click.option(
    "-f", "--filter", "filters", multiple=True, metavar="FILTER", help="A glob (x.bpf.o/xdp_*), insns>1000, or !…"
)
@click.option("-s", "--sort", default="", metavar="SPEC", help="Columns to sort by: insns_ (down), file^ (up).")
@click.option("-n", "--top-n", "most", type=click.IntRange(1), metavar="N", help="Only the first N programs.")
@click.option("-o", "--output-format", "form", type=click.Choice(["table", "csv"]), default="table", show_default=True)
@click.option(
    "-G", "--set-global", "settings", multiple=True, metavar="VAR=A,B", help="Every value; every combination."
)
@click.option("-M", "--set-map", "maps", multiple=True, metavar="MAP=N", help="How many entries a map has.")
@click.option(
    "-P", "--set-program", "programs", multiple=True, metavar="PROG=SECTION", help="Another section; off: leave it out."
)
@click.option(
    "--lines", is_flag=False, flag_value="10", metavar="[=N]", help="The N source lines that cost most (default 10)."
)
@click.option(
    "--policy",
    type=click.Choice(["all", "any", "same", "supported", "none"]),
    default="all",
    show_default=True,
    help="When it is well: accepted on all kernels; on any one; the same verdict on all; on all that have what the "
    "program uses; always.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of programs, one entry per kernel.")
@click.option("--accel", type=click.Choice(["auto", "kvm", "tcg"]), default="auto", help="How guests run.")
@click.option("--cache", type=click.Path(path_type=Path), help="Where kernels are kept.")
@click.option("--portable", is_flag=True, help="Also say what libbpf, cilium/ebpf and Aya refuse of the objects.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of the progress.")
def verify(objects: tuple[str, ...], kernels: str, lines: str | None, **options: object) -> None:
    """Load every program of the object files on every kernel, and print verdict and instructions walked.

    Nothing is attached or run, and nothing stays loaded. Programs that are switched off (SEC("?xdp")) are loaded too.
    """
    from pytest_ebpf.cli.verify_setup import read_request
    from pytest_ebpf.errors import BootFailed, BpfUsageError, HarnessError, ImageError, ObjectError

    given = kernels or os.environ.get("PYTEST_EBPF_KERNELS", "") or "host"
    try:
        request = read_request(*_lines_or_object(objects, lines), kernels=given, options=options)
        verdicts = _gather(request)
    except (BpfUsageError, ObjectError) as error:
        _fail(error, _USAGE)
    except (ImageError, BootFailed, HarnessError) as error:
        _fail(error, _NO_KERNEL)
    if request.objects or request.form == "json":
        _print(verdicts, request)
    for line in request.portable:
        click.echo(line, err=True)
    for problem in request.problems:
        click.echo(f"pytest-ebpf: {problem}", err=True)
    if request.problems:
        sys.exit(_USAGE)
    sys.exit(_HELD if request.policy(verdicts) else _BROKEN)


def _lines_or_object(objects: tuple[str, ...], lines: str | None) -> tuple[tuple[str, ...], int]:
    """``--lines x.bpf.o``: the value after the option is not a number of lines but an object."""
    if lines is not None and not lines.isdigit():
        objects, lines = (lines, *objects), "10"
    if not objects:
        raise click.UsageError("Missing argument 'OBJ…': name object files")
    return objects, int(lines or 0)


def _fail(error: Exception, status: int) -> None:
    click.echo(f"pytest-ebpf: {error}", err=True)
    sys.exit(status)


def _gather(request: Request) -> Verdicts:
    from pytest_ebpf.cli.verify_setup import open_kernels
    from pytest_ebpf.live.load_cache import LoadCache
    from pytest_ebpf.verify.verdicts import Verdicts, gather

    if not request.objects:  # nothing to boot a kernel for
        return Verdicts((), kernels=tuple(request.kernels))
    with open_kernels(request) as kernels:
        return gather(request.objects, kernels, cache=LoadCache(), globals=request.globals, wanted=request.wanted)


def _print(verdicts: Verdicts, request: Request) -> None:
    from pytest_ebpf.cli import verify_output

    if request.form == "json":
        click.echo(json.dumps(verify_output.as_json(verdicts, request), indent=1))
    elif request.form == "csv":
        click.echo(verify_output.as_csv(verdicts, request), nl=False)
    else:
        verify_output.show(verdicts, request)
