"""``pytest-ebpf features``: what kernels can do, as a table of features by kernels."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pytest_ebpf.features.base import Answer

__all__ = ["features"]

_SIGNS = {True: "yes", False: "–", None: "?"}
_LEGEND = {
    "denied": "this machine forbids it, though its kernel may support it",
    "off": "until the next boot",
    "module": "not loaded",
}
_Column = dict[str, "Answer"]


@click.command("features")
@click.argument("specs", nargs=-1, metavar="[SPEC]…")
@click.option("-f", "--feature", "names", multiple=True, metavar="NAME", help="Only this one; may be given repeatedly.")
@click.option("--helpers", is_flag=True, help="List helpers too, of which there are 211.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: each probe's answer and documented release.")
@click.option("--cache", type=click.Path(path_type=Path), help="Where kernels and answers are kept.")
def features(specs: tuple[str, ...], names: tuple[str, ...], helpers: bool, as_json: bool, cache: Path | None) -> None:
    """Probe what kernels can do: program and map types, flags, BTF, instructions, ways to attach, helpers.

    SPEC is host (the default), a series (6.1), an alias (newest), or a path. Answers are kept per kernel image.
    Features by name: ringbuf, prog:xdp, helper:bpf_loop@xdp, kfunc:bpf_task_acquire, config:BPF_JIT, ...
    """
    from pytest_ebpf.features.table import TABLE

    everything = [name for name in TABLE if helpers or as_json or not name.startswith("helper:")]
    columns = _probe(specs or ("host",), list(names) or everything, cache=cache)
    if as_json:
        click.echo(json.dumps(_values(columns), indent=1))
    elif names and len(columns) == 1:
        for answer in next(iter(columns.values())).values():
            click.echo(f"{_SIGNS[answer.supported]}  {answer.message}")
    else:
        _print_table(columns)


def _probe(specs: tuple[str, ...], names: list[str], *, cache: Path | None) -> dict[str, _Column]:
    from pytest_ebpf.features.cache import features_of_kernel
    from pytest_ebpf.kernels.config import PoolConfig
    from pytest_ebpf.kernels.pool import KernelPool

    pool = KernelPool(PoolConfig(cache=cache))
    columns: dict[str, _Column] = {}
    try:
        for spec in dict.fromkeys(specs):
            columns[spec] = features_of_kernel(pool.get(spec), cache=cache).answers(names)
            pool.retire(spec)
    finally:
        pool.close()
    return columns


def _values(columns: dict[str, _Column]) -> dict[str, dict[str, dict[str, Any]]]:
    return {
        spec: {
            name: {"supported": a.supported, "words": a.message, "since": a.since, "cause": a.cause}
            for name, a in column.items()
        }
        for spec, column in columns.items()
    }


def _print_table(columns: dict[str, _Column]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("feature")
    table.add_column("since")
    for spec in columns:
        table.add_column(spec, justify="center")
    first = next(iter(columns.values()))
    for name in first:
        answers = [column[name] for column in columns.values()]
        table.add_row(name, first[name].since or "?", *(_sign(answer) for answer in answers))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if any(_sign(answer) in _LEGEND for column in columns.values() for answer in column.values()):
        click.echo("; ".join(f"{sign}: {words}" for sign, words in _LEGEND.items()))


def _sign(answer: Answer) -> str:
    return answer.cause if answer.cause and not answer.supported else _SIGNS[answer.supported]
