"""Is every public item of Aya's crates in the table of docs/aya.md?

    RUSTDOCFLAGS="-Zunstable-options --output-format json" cargo +nightly doc --no-deps -p aya -p aya-obj -p aya-log
    python benchmarks/aya_api.py target/doc/aya.json target/doc/aya_obj.json target/doc/aya_log.json

The first line runs in any crate that depends on the three. An item is a public struct, enum, union, trait, function,
macro, constant or alias, by its last name, and each of its own public methods and constants; what derives and the
standard library's traits add (``From``, ``AsFd``, ``Iterator``) is not asked for, nor are enumerators, nor the bindings
in ``aya_obj::generated``. A row of the table names types and, behind a colon, methods that all of them have; ``*``
stands for the types that the line before the table lists.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["main", "public_items", "rows_of"]

_PAGE = Path(__file__).parents[1] / "docs/aya.md"
_TYPES = ("struct", "enum", "union")
_GROUP = "`*` stands for "
_CODE = re.compile(r"`([^`]+)`")


def main() -> int:
    """Print what is missing, and what is there that the crate has not. Exit code 1 for either."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crates", type=Path, nargs="+", help="rustdoc's JSON")
    arguments = parser.parse_args()
    page = _PAGE.read_text()
    return 1 if sum([_check(json.loads(path.read_text()), page) for path in arguments.crates]) else 0


def _check(crate: dict[str, Any], page: str) -> int:
    """How many items of a crate the page lacks, and how many names it has that the crate has not."""
    name = crate["index"][str(crate["root"])]["name"].replace("_", "-")
    wanted, listed = public_items(crate), rows_of(page, name)
    missing = sorted(_pairs(wanted) - _pairs(listed))
    unknown = sorted(set(listed) - set(wanted))  # a row's methods are those of most of its types, not of each
    print(f"{name} {crate['crate_version']}: {len(wanted)} names, {len(_pairs(wanted))} items")
    for words, names in (("not in the table", missing), ("in the table, not in the crate", unknown)):
        if names:
            print(f"  {words}: {', '.join(names)}")
    return len(missing) + len(unknown)


def rows_of(page: str, crate: str) -> dict[str, set[str]]:
    """Names of types and functions in the first column of the page's tables of a crate -> methods named there."""
    found: dict[str, set[str]] = defaultdict(set)
    group: list[str] = []
    for line in page.partition(f"\n### {crate}\n")[2].partition("\n### ")[0].splitlines():
        if line.startswith(_GROUP):
            group = _CODE.findall(line)[1:]
        cells = line.split(" | ")
        if not line.startswith("| `") or len(cells) < 3:
            continue
        types, _, methods = cells[0].partition(": ")
        for name in _CODE.findall(types):
            for each in group if name == "*" else (name.removesuffix("()").removesuffix("!"),):
                found[each].update(method.removesuffix("()") for method in _CODE.findall(methods))
    return found


def public_items(crate: dict[str, Any]) -> dict[str, set[str]]:
    """Last names of what a crate makes public -> names of its own methods, from rustdoc's JSON."""
    index = crate["index"]
    found: dict[str, set[str]] = defaultdict(set)
    waiting = [index[str(crate["root"])]]
    seen = set()
    while waiting:
        module = waiting.pop()
        if module["id"] in seen:
            continue
        seen.add(module["id"])
        for name, item in _members(index, module):
            if item is not None and "module" in item["inner"]:
                if name != "generated":
                    waiting.append(item)
                continue
            found[name] |= _methods(index, item) if item is not None else set()
    return found


def _members(index: dict[str, Any], module: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """(name, item) of what is public in a module; None for items of other crates."""
    for at in module["inner"]["module"]["items"]:
        item = index.get(str(at))
        if item is None or item["visibility"] != "public":
            continue
        use = item["inner"].get("use")
        if use is None:
            yield item["name"], item
            continue
        target = index.get(str(use["id"]))
        if use["is_glob"]:
            if target is not None and "module" in target["inner"]:
                yield from _members(index, target)
        else:
            yield use["name"], target


def _methods(index: dict[str, Any], item: dict[str, Any]) -> set[str]:
    kind, inner = next(iter(item["inner"].items()))
    if kind == "trait":
        return {index[str(at)]["name"] for at in inner["items"] if str(at) in index}
    if kind not in _TYPES:
        return set()
    implementations = [index[str(at)] for at in inner["impls"] if str(at) in index]
    own = [one["inner"]["impl"] for one in implementations if one["inner"]["impl"]["trait"] is None]
    items: Iterable[dict[str, Any]] = (index[str(at)] for one in own for at in one["items"] if str(at) in index)
    return {one["name"] for one in items if one["visibility"] == "public"}


def _pairs(names: dict[str, set[str]]) -> set[str]:
    return {name if not method else f"{name}::{method}" for name in names for method in ("", *names[name])}


if __name__ == "__main__":
    sys.exit(main())
