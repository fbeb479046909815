"""``pytest-ebpf btf types | size | diff``: which types there are, how they lie in memory, and what changed."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_ebpf.cli.btf import btf, open_btf, select_types

if TYPE_CHECKING:
    from pytest_ebpf.btf.parse import Btf

__all__ = ["diff", "size", "types"]

_SOURCE = "FILE|host|MODULE|KERNEL"
_DIFFERENT = 1  # exit status
_base = click.option("--base", type=click.Path(path_type=Path), help="BTF that split BTF (of a module) continues.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@btf.command("types")
@click.argument("source", metavar=_SOURCE)
@click.argument("patterns", nargs=-1, metavar="[PATTERN]…")
@_base
@_json
def types(source: str, patterns: tuple[str, ...], base: Path | None, as_json: bool) -> None:
    """List named types with kind and size in bytes; a PATTERN is a glob on the name ("bpf_*")."""
    found, _ = open_btf(source, base=base)
    rows = [row for row in _rows(found) if not patterns or any(fnmatchcase(row["name"], one) for one in patterns)]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        size_ = "" if row["size"] is None else str(row["size"])
        click.echo(f"{size_:>8}  {row['kind']:<8} {row['name']}")


def _rows(found: Btf) -> Iterator[dict[str, Any]]:
    from pytest_ebpf.btf.types import Kind

    for type_id, one in found:
        name = found.name(type_id)
        if name and one.kind not in (Kind.DECL_TAG, Kind.TYPE_TAG):
            sized = one.kind not in (Kind.FUNC, Kind.FWD, Kind.DATASEC, Kind.VAR)
            yield {
                "id": type_id,
                "kind": Kind(one.kind).name.lower(),
                "name": name,
                "size": found.known_size(type_id) if sized else None,
            }


@btf.command("size")
@click.argument("source", metavar=_SOURCE)
@click.argument("names", nargs=-1, required=True, metavar="TYPE…")
@_base
@_json
def size(source: str, names: tuple[str, ...], base: Path | None, as_json: bool) -> None:
    """Show how each TYPE lies in memory: offset and size of every field in bytes, and the holes between them."""
    found, _ = open_btf(source, base=base)
    layouts = [_layout(found, type_id) for type_id in select_types(found, names, source=source)]
    if as_json:
        click.echo(json.dumps(layouts, indent=1))
        return
    for layout in layouts:
        click.echo(f"{layout['type']}: {layout['size']} bytes, {layout['hole_bytes']} of them in holes")
        for row in layout["fields"]:
            click.echo(f"{row['offset']:>6} {row['size']:>6}  {row['name']}")
        click.echo()


def _layout(found: Btf, type_id: int) -> dict[str, Any]:
    from pytest_ebpf.btf.codec import describe
    from pytest_ebpf.btf.value_type import python_type

    total = found.known_size(type_id)
    rows: list[dict[str, Any]] = []
    end = 0
    for name, place in sorted(python_type(found, type_id).fields.items(), key=lambda item: item[1].offset):
        if place.offset > end:
            rows.append({"offset": end, "size": place.offset - end, "name": "(hole)"})
        rows.append({"offset": place.offset, "size": place.size, "name": name})
        end = max(end, place.offset + place.size)
    if rows and total > end:
        rows.append({"offset": end, "size": total - end, "name": "(hole)"})
    holes = sum(row["size"] for row in rows if row["name"] == "(hole)")
    return {"type": describe(found, type_id), "size": total, "hole_bytes": holes, "fields": rows}


@btf.command("diff", epilog="Exit status: 0 the same, 1 different.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("names", nargs=-1, metavar="[TYPE]…")
@click.option("--list", "only_names", is_flag=True, help="Print only the names of what differs.")
@_json
def diff(first: str, second: str, names: tuple[str, ...], only_names: bool, as_json: bool) -> None:
    """Show how types differ between two sources: added (+), removed (-), changed, as a diff of C.

    A and B are what btf dump takes: an object, raw BTF, host, a module, a kernel such as 6.1. Without TYPE, all
    structs, unions, enums, typedefs and functions that both or one of them have.
    """
    sides = [_texts(source, names) for source in (first, second)]
    changed = {name: _lines(*sides, name=name) for name in sorted({*sides[0], *sides[1]})}
    changed = {name: lines for name, lines in changed.items() if lines}
    if as_json:
        click.echo(json.dumps({name: "\n".join(lines) for name, lines in changed.items()}, indent=1))
    else:
        for name, lines in changed.items():
            sign = "+" if name not in sides[0] else "-" if name not in sides[1] else "~"
            click.echo(f"{sign} {name}" if only_names else "\n".join([f"{sign} {name}", *lines, ""]))
        click.echo(f"{len(changed)} of {len({*sides[0], *sides[1]})} types differ", err=True)
    sys.exit(_DIFFERENT if changed else 0)


def _lines(first: Mapping[str, str], second: Mapping[str, str], *, name: str) -> list[str]:
    before, after = first.get(name, ""), second.get(name, "")
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=100)
    return [line for line in found if not line.startswith(("---", "+++", "@@"))]


def _texts(source: str, names: tuple[str, ...]) -> dict[str, str]:
    """The type's own declaration in C by name, "struct x" and the like."""
    from pytest_ebpf.btf.c_header import c_blocks, c_roots
    from pytest_ebpf.errors import BpfUsageError

    found, _ = open_btf(source, base=None)
    wanted: list[int] = []
    for name in names:
        try:
            wanted += select_types(found, (name,), source=source)
        except BpfUsageError:
            continue  # it was added or removed
    roots = wanted if names else list(c_roots(found))
    texts: dict[str, str] = {}
    for block in c_blocks(found, roots):
        if block.complete and block.spelling:
            texts.setdefault(block.spelling, block.text)
    if names:
        own = {found.name(type_id) for type_id in wanted}
        texts = {name: text for name, text in texts.items() if name.rpartition(" ")[2] in own}
    return texts
