"""``pytest-ebpf mutate``: changes of a program that no test notices."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from typing import Any

import pytest

from support.paths import ROOT

WEAK = """
    def test_it_runs(bpf):
        bpf.load("config.bpf.o")["police"].run(bytes(100))
"""
STRONG = """
    import pytest
    from pytest_ebpf import XDP

    @pytest.mark.parametrize("size", [63, 64, 1500, 1501])
    def test_sizes(bpf, size):
        obj = bpf.load("config.bpf.o")
        passes = 64 <= size <= 1500
        assert obj["police"].run(bytes(size)).retval == (XDP.PASS if passes else XDP.DROP)
        assert obj.globals["last_size"] == size
        assert (obj.globals["accepted"], obj.globals["refused"]) == (passes, not passes)
        assert obj.globals["budget"] == 3 - passes

    @pytest.mark.parametrize("budget", [0, 1, -1])
    def test_budget(bpf, budget):
        obj = bpf.load("config.bpf.o", globals={"budget": budget})
        assert obj["police"].run(bytes(100)).retval == (XDP.PASS if budget > 0 else XDP.DROP)
"""

TESTS = ("sizes", "budget")
COMMAND = "from pytest_ebpf.cli import main; main()"


def mutate(pytester: pytest.Pytester, *options: str) -> list[dict[str, Any]]:
    result = pytester.run(sys.executable, "-c", COMMAND, "mutate", ".", "--kernels=host", "--json", *options)
    rows: list[dict[str, Any]] = json.loads(result.stdout.str())
    assert result.ret == any(row["outcome"] == "survived" for row in rows)
    return rows


def test_survivors_of_weak_and_of_strong_tests(pytester: pytest.Pytester, objects: Callable[..., None]) -> None:
    """What is known of a mutant is kept until the object or the tests that come to it change."""
    objects("config")
    pytester.makepyfile(test_it=WEAK)
    weak = mutate(pytester)
    assert {row["outcome"] for row in weak} <= {"survived", "refused"}
    kinds = {row["kind"] for row in weak}
    assert kinds >= {"branch inverted", "bound off by one", "comparison flipped", "constant changed", "store removed"}
    assert any(row["line"] == 25 and row["change"] == "> became >=" for row in weak)
    assert mutate(pytester) == weak
    kept = json.loads((pytester.path / ".pytest_ebpf_mutants.json").read_text())
    assert len(kept) == len(weak)
    pytester.makepyfile(test_it=STRONG)
    strong = mutate(pytester)
    survived = [row for row in strong if row["outcome"] == "survived"]
    assert survived == [], survived
    assert {row["by"].partition("[")[0] for row in strong if row["by"]} <= {
        f"test_it.py::test_{what}" for what in TESTS
    }


def test_the_report_and_its_errors(pytester: pytest.Pytester, objects: Callable[..., None]) -> None:
    objects("config")
    pytester.makepyfile(test_it=WEAK)
    command = (sys.executable, "-c", COMMAND, "mutate", "test_it.py", "--kernels=host")
    result = pytester.run(*command, "--time=0")
    result.stdout.re_match_lines([r"0 viable mutants: 0 killed, 0 survived; 0 refused by the verifier, \d\d not tried"])
    result = pytester.run(*command, "-j", "2", "--fresh")
    told = ["config.bpf.c:25: if (size < limits.smallest*", "    bound off by one: > became >= (config.bpf.o: police)"]
    result.stdout.fnmatch_lines(told)
    pytester.makepyfile(test_it="def test_it(): assert 0")
    result = pytester.run(*command)
    assert result.ret == 1
    result.stderr.fnmatch_lines(["pytest-ebpf: no test passed without mutants*"])


def test_rust_programs(pytester: pytest.Pytester) -> None:
    """Lines of the project alone: no slips in aya-ebpf, none in the messages of aya-log."""
    shutil.copy(ROOT / "sample_programs/aya/built/port_filter.bpf.o", pytester.path)
    pytester.makepyfile(
        test_it="""
        def test_it_runs(bpf):
            bpf.load("port_filter.bpf.o")["port_filter"].run(bytes(100))
        """
    )
    rows = mutate(pytester)
    assert {row["file"].rpartition("/")[2] for row in rows} == {"port_filter.rs", "lib.rs"}
    assert all(row["text"] for row in rows)
    assert any(row["text"].startswith("if length < SHORTEST") and row["kind"] == "bound off by one" for row in rows)
    assert not any(row["text"].startswith(("warn!(", "info!(")) for row in rows)
