"""``pytest-ebpf features`` on the kernel of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_ebpf.cli.features import features
from pytest_ebpf.errors import BpfUsageError


def run(*words: str, cache: Path) -> str:
    result = CliRunner().invoke(features, [*words, "--cache", str(cache)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_table(tmp_path: Path) -> None:
    lines = run(cache=tmp_path).splitlines()
    assert lines[0].split() == ["feature", "since", "host"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:] if ":" in line.split()[0]}
    assert rows["map:ringbuf"] == ["5.8", "yes"]
    assert rows["isa:v3"] == ["5.1", "yes"]
    assert not any(name.startswith("helper:") for name in rows)
    assert (tmp_path / "features").is_dir()


def test_some_features_of_one_kernel(tmp_path: Path) -> None:
    output = run("host", "-f", "map:array", "-f", "kfunc:no_such_kfunc", cache=tmp_path)
    assert output.splitlines() == [
        "yes  map type ARRAY: works",
        "–  kfunc no_such_kfunc is not in the kernel's BTF, nor in that of a loaded module",
    ]


def test_json(tmp_path: Path) -> None:
    values = json.loads(run("host", "--json", cache=tmp_path))["host"]
    assert values["map:array"] == {"supported": True, "words": "map type ARRAY: works", "since": "3.19", "cause": ""}
    assert "helper:bpf_map_lookup_elem" in values


def test_a_name_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(BpfUsageError, match="'ringbfu'"):
        run("-f", "ringbfu", cache=tmp_path)
