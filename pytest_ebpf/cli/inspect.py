"""``pytest-ebpf inspect``: what is in an object file. Needs neither root nor a kernel."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from pytest_ebpf.obj.summary import Summary
    from pytest_ebpf.plan.portable import Elsewhere

__all__ = ["inspect"]

_WIDTH = 140  # columns of output that is not on a terminal
_LONGEST_VALUE = 60


@click.command("inspect", help="Show the programs, maps and globals of eBPF object files.")
@click.argument("objects", nargs=-1, required=True, metavar="OBJ…")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one list, an item per object.")
@click.option("--insns", is_flag=True, help="Show the instructions of every function, with their source lines.")
def inspect(objects: tuple[str, ...], as_json: bool, insns: bool) -> None:
    """Exit status 1 when one of the files is not an eBPF object; the others are shown all the same."""
    from pytest_ebpf.cli.insns import add_insns
    from pytest_ebpf.cli.outlook import add_outlook
    from pytest_ebpf.errors import ObjectError
    from pytest_ebpf.obj.read import read_object
    from pytest_ebpf.obj.summary import summarise
    from pytest_ebpf.plan.portable import elsewhere

    summaries: list[Summary] = []
    failed = False
    for path in objects:
        try:
            obj = read_object(path)
            summary = add_outlook(obj, summarise(obj))
            summaries.append(add_insns(obj, summary) if insns else summary)
            summaries[-1]["elsewhere"] = [_elsewhere(found) for found in elsewhere(obj)]
        except ObjectError as error:
            click.echo(f"pytest-ebpf: {error}", err=True)
            failed = True
    if as_json:
        click.echo(json.dumps(summaries, indent=2))
    else:
        _show(summaries)
    if failed:
        sys.exit(1)


def _show(summaries: list[Summary]) -> None:
    from rich.console import Console

    from pytest_ebpf.cli.insns import listing_text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    for summary in summaries:
        types = f"{summary['btf_types']} BTF types" if summary["btf_types"] else "no BTF"
        license_ = f"license {summary['license']!r}" if summary["license"] else "no license"
        console.print(f"{summary['file']}: {summary['byteorder']} endian, {license_}, {types}", markup=False)
        _table(console, "programs", rows=[_program_row(row) for row in summary["programs"]])
        _table(console, "first kernel", rows=[_outlook_row(row) for row in summary["programs"] if row["first_kernel"]])
        _table(console, "expectations", rows=[row for one in summary["programs"] for row in _expect_rows(one)])
        _table(console, "subprograms", rows=[_function_row(row) for row in summary["subprograms"]])
        _table(console, "maps", rows=[row for map_ in summary["maps"] for row in _map_rows(map_)])
        _table(console, "globals", rows=[_global_row(row) for row in summary["globals"]])
        _table(console, "externs", rows=[_extern_row(row) for row in summary["externs"]])
        _table(console, "problems", rows=[_problem_row(row) for row in summary["problems"]])
        _table(console, "elsewhere", rows=[_elsewhere_row(row) for row in summary["elsewhere"]])
        for row in (*summary["programs"], *summary["subprograms"]):
            if "listing" in row:
                # not through rich, which would wrap long lines of C
                click.echo(listing_text(row))


def _table(console: Console, title: str, *, rows: list[dict[str, Any]]) -> None:
    """One table; the columns are the keys of the rows, and numbers go to the right."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int) else "left", overflow="fold")
    for row in rows:
        # Text: names come from the file and are no markup
        table.add_row(*(Text(str(value)) for value in row.values()))
    console.print(table)
    console.print()


def _program_row(row: Summary) -> dict[str, Any]:
    words = [
        word
        for word, holds in (("sleepable", row["sleepable"]), ("not loaded by default", not row["autoload"]))
        if holds
    ]
    attach = " ".join(filter(None, (row["attach"], row["target"])))
    return {
        "program": row["name"],
        "section": row["section"],
        "type": row["type"] or "unknown",
        "attach": attach,
        "insns": row["insns"],
        "lines": row["lines"],
        "CO-RE": row["core_relocations"],
        "": ", ".join(words) if row["type"] else "",
    }


def _outlook_row(row: Summary) -> dict[str, Any]:
    return {"program": row["name"], "from Linux": row["first_kernel"], "for": ", ".join(row["needs"])}


def _expect_rows(row: Summary) -> list[dict[str, Any]]:
    return [{"program": row["name"], "expects": text} for text in row["expects"]]


def _function_row(row: Summary) -> dict[str, Any]:
    return {"function": row["name"], "section": row["section"], "insns": row["insns"], "lines": row["lines"]}


def _map_rows(map_: Summary) -> list[dict[str, Any]]:
    notes = list(map_["flags"])
    if map_["pinned_by_name"]:
        notes.append("pinned by name")
    if map_["section"] != ".maps":
        notes.append(f"in section {map_['section']}")
    notes += [f"[{slot}]={symbol}" for slot, symbol in map_["values"].items()]
    row = {
        "map": map_["name"],
        "type": map_["type"],
        "key": map_["key"],
        "value": map_["value"],
        "entries": map_["max_entries"],
        "flags": " ".join(notes),
    }
    return [row, *(_map_rows(map_["inner"]) if map_["inner"] else [])]


def _global_row(row: Summary) -> dict[str, Any]:
    value = "(large)" if row["value"] is None else str(row["value"])
    if len(value) > _LONGEST_VALUE:
        value = value[:_LONGEST_VALUE] + "…"
    return {"global": row["name"], "section": row["section"], "type": row["type"], "bytes": row["size"], "value": value}


def _extern_row(row: Summary) -> dict[str, Any]:
    return {
        "extern": row["name"],
        "kind": row["kind"],
        "type": row["type"] or "untyped",
        "": "weak" if row["weak"] else "",
    }


def _elsewhere(found: Elsewhere) -> Summary:
    rule = found.rule
    return {
        "loader": rule.loader,
        "versions": rule.versions,
        "effect": rule.effect,
        "source": rule.source,
        "names": list(found.names),
    }


def _elsewhere_row(row: Summary) -> dict[str, Any]:
    return {"loader": f"{row['loader']} {row['versions']}", "what": ", ".join(row["names"]), "it": row["effect"]}


def _problem_row(row: Summary) -> dict[str, Any]:
    message = f"{row['message']}\n{row['hint']}" if row["hint"] else row["message"]
    return {"section": row["section"], "symbol": row["symbol"], "problem": message}
