"""``bpf_benchmark`` in guests: their own clock, the spread, and a stored run of the same kernel (issue 17, 6)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT, TESTS

pytestmark = pytest.mark.slow

SUITE = f"""
def test_config(bpf, bpf_benchmark):
    prog = bpf.load({str(ROOT / "sample_programs/built/config.bpf.o")!r})["police"]
    measured = bpf_benchmark(prog, bytes(100), rounds=5)
    assert measured.jited > 0 and measured.insns == prog.loaded_insns

def test_clock(bpf, bpf_benchmark):
    \"\"\"The program ends by its kernel's clock.\"\"\"
    obj = bpf.load({str(TESTS / "objects/built/long_run.bpf.o")!r})
    obj.globals["nanoseconds"] = 20_000_000
    bpf_benchmark(obj["linger"], bytes(64), rounds=2, warmup=0)
    assert bpf_benchmark.stats.min >= 20_000_000
"""


def row(kernel: str, test: str, *, program: str) -> dict[str, object]:
    """As it is stored: of a run that took next to no time."""
    stats = {"min": 1e-6, "median": 1e-6}
    return {"fullname": f"test_it.py::{test}", "name": program, "stats": stats, "extra_info": {"kernel": kernel}}


def test_a_run_is_measured_stored_and_compared(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """On 6.1 unless kernels are named. What was stored of another kernel is not compared with."""
    kernels = pytestconfig.getoption("bpf_kernels") or "6.1"
    (tmp_path / "test_it.py").write_text(SUITE)
    stored = [row("6.1", "test_config", program="police"), row("5.4", "test_clock", program="linger")]
    (tmp_path / "stored.json").write_text(json.dumps({"benchmarks": stored}))
    options = ["--bpf-benchmark-save=new.json", "--bpf-benchmark-compare=stored.json", "--bpf-benchmark-fail=min:100%"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "160"}
    argv = [sys.executable, "-m", "pytest", f"--bpf-kernels={kernels}", "-p", "no:cacheprovider", *options]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    number = len(kernels.split(","))
    assert f"1 failed, {2 * number - 1} passed" in done.stdout, done.stdout + done.stderr
    assert "FAILED test_it.py::test_config[6.1] - Failed: police: min " in done.stdout
    rows = json.loads((tmp_path / "new.json").read_text())["benchmarks"]
    assert len({(row["extra_info"]["kernel"], row["name"]) for row in rows}) == len(rows) == 2 * number
    for stats in (row["stats"] for row in rows):
        assert 0 < stats["min"] <= stats["q1"] <= stats["median"] <= stats["q3"] <= stats["max"]
        assert stats["min"] <= stats["mean"] <= stats["max"]
        assert stats["iqr"] == stats["q3"] - stats["q1"]
    assert len(re.findall(r"^\S+  police: .* since the stored run$", done.stdout, re.MULTILINE)) == 1
    assert len(re.findall(r"^\S+  linger: .*\(not in the stored run\)$", done.stdout, re.MULTILINE)) == number
