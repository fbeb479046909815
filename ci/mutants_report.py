"""Survivors of ci/mutants beside what ci/mutants.toml says of each. Exits with 1 when one is not listed, or when there
are fewer than two hundred viable mutants."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

LEAST = 200


def fits(rule: dict[str, str], row: dict[str, Any]) -> bool:
    same = all(rule.get(name) in (None, row[name]) for name in ("kind", "change"))
    return same and all(re.search(rule[name], row[name]) for name in ("object", "text") if name in rule)


def main() -> int:
    rows = json.loads(Path(sys.argv[1]).read_text())
    rules = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())
    counts = Counter(row["outcome"] for row in rows)
    listed: Counter[str] = Counter()
    for row in (row for row in rows if row["outcome"] == "survived"):
        rule = next(
            (rule for rule in rules["equivalent"] if fits(rule, row)), {"reason": "a better test would kill it"}
        )
        kind = "equivalent" if "object" in rule or "text" in rule else "not listed"
        listed[kind] += 1
        print(f"{kind}: {row['object']} {row['line']}: {row['text']}: {row['kind']}: {row['change']}")
        print(f"    {rule['reason']}")
    viable = counts["killed"] + counts["survived"]
    print(f"{viable} viable mutants: {counts['killed']} killed, {counts['survived']} survived: {dict(listed)}")
    return int(viable < LEAST or bool(listed["not listed"]))


if __name__ == "__main__":
    sys.exit(main())
