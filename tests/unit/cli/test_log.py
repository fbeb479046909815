"""``pytest-ebpf log explain``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from pytest_ebpf.cli.log import log
from support.verifier_logs import all_logs

LOGS = all_logs()
REJECTED = LOGS["c-6.12/null_deref.l1"]


def run(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(log, ["explain", *arguments], input=text, catch_exceptions=False)


def rows(*arguments: str, text: str | None = None) -> list[dict[str, Any]]:
    result = run(*arguments, "--json", text=text)
    found: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == (3 if any(row["verdict"] == "unknown" for row in found) else 0)
    return found


def test_json_of_a_rejection() -> None:
    (row,) = rows("-", text=REJECTED)
    assert row["stats"]["insns"] == 7
    del row["stats"]
    advice, path = row.pop("advice"), row.pop("path")
    assert row == {
        "file": "-",
        "program": "",
        "verdict": "rejected",
        "class": "null-deref",
        "kind": "safety",
        "headline": "R0 is used as a pointer, but it may be NULL (map_value_or_null)",
        "message": "R0 invalid mem access 'map_value_or_null'",
        "source_line": "errs.bpf.c:7: *v += 1;",
        "source": {"text": "*v += 1;", "file": "errs.bpf.c", "line": 7},
        "insn": 7,
        "errno": None,
        "registers": [{"name": "R0", "value": "a map value or NULL (map counts, 8 bytes)"}],
    }
    assert "bpf_map_lookup_elem() returned (instruction 6) with NULL" in advice
    assert [(step["insn"], step["source_line"]) for step in path] == [
        (6, "errs.bpf.c:6: __u64 *v = bpf_map_lookup_elem(&counts, &key);")
    ]


def test_json_of_files(tmp_path: Path) -> None:
    names = []
    for name in ("c-6.12/tc_ok.l6", "asm-5.10/unreachable_insn.l1", "cbase-5.10/null_deref.l6"):
        path = tmp_path / f"{name.replace('/', '.')}.log"
        path.write_text(LOGS[name])
        names.append(str(path))
    accepted, unreachable, null = rows(*names)
    assert [row["file"] for row in (accepted, unreachable, null)] == names
    assert (accepted["verdict"], accepted["class"], accepted["insn"]) == ("accepted", None, None)
    assert (unreachable["class"], unreachable["insn"], unreachable["source_line"]) == ("bad-code", 2, None)
    assert (null["class"], null["source_line"]) == ("null-deref", "*v += 1;")


def test_text_fits_eighty_columns_without_colours() -> None:
    result = run("-", text=REJECTED)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "errs.bpf.c:7" in result.stdout
    assert "R0 is the return value of bpf_map_lookup_elem" in result.stdout
    assert result.stdout.rstrip().endswith("the verifier walked 7 instructions, 0 states")


def test_no_log() -> None:
    (row,) = rows("-", text="make: nothing to be done\n")
    assert (row["verdict"], row["class"]) == ("unknown", None)
    assert row["headline"] == "no verifier log is in this text"


def test_refused_with_an_accepted_log() -> None:
    """The verifier took it; what came after did not."""
    text = (
        "libbpf: prog 'x': BPF program load failed: No space left on device\n"
        f"libbpf: prog 'x': -- BEGIN PROG LOAD LOG --\n{LOGS['c-6.12/tc_ok.l6']}-- END PROG LOAD LOG --\n"
    )
    (row,) = rows("-", text=text)
    assert (row["verdict"], row["class"]) == ("rejected", "no-verdict")
    assert "No space left on device" in row["headline"]


def test_a_file_that_is_not_there() -> None:
    result = run("nowhere.log")
    assert result.exit_code == 2
    assert "nowhere.log" in result.output
