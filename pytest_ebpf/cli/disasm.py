"""``pytest-ebpf disasm``: the instructions of an object's functions with the source lines they came from."""

from __future__ import annotations

import json

import click

__all__ = ["disasm"]


@click.command("disasm")
@click.argument("obj", metavar="OBJ")
@click.argument("programs", nargs=-1, metavar="[PROG]…")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of functions with their rows.")
def disasm(obj: str, programs: tuple[str, ...], as_json: bool) -> None:
    """Show the instructions of every function of OBJ, or of each PROG, in the kernel's notation.

    Source lines stand above their instructions, and what a CO-RE relocation asks for beside it. Needs neither root nor
    a kernel. (Programs as the kernel has them: prog.xlated in a test.)
    """
    from pytest_ebpf.cli.insns import add_insns, listing_text
    from pytest_ebpf.errors import BpfUsageError
    from pytest_ebpf.obj.read import read_object
    from pytest_ebpf.obj.summary import summarise
    from pytest_ebpf.suggest import did_you_mean

    read = read_object(obj)
    summary = add_insns(read, summarise(read))
    functions = {row["name"]: row for row in (*summary["programs"], *summary["subprograms"])}
    for name in programs:
        if name not in functions:
            raise BpfUsageError(f"{obj} has no function {name!r}", hint=did_you_mean(name, functions))
    chosen = [row for name, row in functions.items() if not programs or name in programs]
    if as_json:
        click.echo(json.dumps(chosen, indent=1))
        return
    for row in chosen:
        click.echo(listing_text(row))
