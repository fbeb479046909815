"""``--bpf-cov``: lines, branches and instructions of programs, and the files that tell of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import coverage
import pytest

from support.paths import ROOT

SAMPLES = ROOT / "sample_programs"
TESTS = """
    from pytest_ebpf import IP, UDP, Eth

    def ip(src):
        return Eth() / IP(src=src, dst="203.0.113.1") / UDP()

    def test_firewall(bpf):
        obj = bpf.load("xdp_firewall.bpf.o")
        obj.maps["blocked"]["192.0.2.0/24"] = 1
        obj["firewall"].run_many([ip("192.0.2.9")] * 2 + [ip("198.51.100.1")] * 3)
        obj["firewall"].run(Eth() / bytes(46))
        obj["firewall"].run(bytes(12) + b"\\x08\\x00" + bytes(10))

    def test_config(bpf):
        prog = bpf.load("config.bpf.o")["police"]
        for size in (60, 100, 100, 100, 100):
            prog.run(bytes(size))

    def test_tail_calls(bpf):
        prog = bpf.load("tail_calls.bpf.o")["dispatch"]
        prog.run_many([bytes(14) + bytes([kind]) * 46 for kind in (0, 0, 1, 9, 9, 9)])
"""
# Counted by hand: how often each line of the source ran in the tests above.
FIREWALL = {30: 7, 31: 7, 33: 7, 35: 6, 36: 6, 38: 5, 39: 5, 40: 5, 41: 5, 47: 7, 49: 7, 50: 7}
CONFIG = {23: 5, 24: 5, 25: 5, 26: 2, 27: 2, 29: 3, 30: 3, 32: 5}
TAIL_CALLS = {25: 2, 31: 1, 37: 0}


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """Sources and objects as a project has them."""
    for name in ("xdp_firewall", "config", "tail_calls"):
        shutil.copy(SAMPLES / f"{name}.bpf.c", pytester.path)
        shutil.copy(SAMPLES / f"built/{name}.bpf.o", pytester.path)
    pytester.makepyfile(test_samples=TESTS)
    return pytester.path


def lines_of(lcov: str) -> dict[str, dict[int, int]]:
    """Source file -> line -> hits, of a tracefile."""
    found: dict[str, dict[int, int]] = {}
    for row in lcov.splitlines():
        kind, _, rest = row.partition(":")
        if kind == "SF":
            lines = found.setdefault(rest, {})
        if kind == "DA":
            line, hits = map(int, rest.split(","))
            lines[line] = hits
    return found


def line_with(text: str) -> int:
    source = (SAMPLES / "tail_calls.bpf.c").read_text().splitlines()
    return next(at for at, line in enumerate(source, 1) if text in line)


def test_lines_agree_with_a_count_by_hand(project: Path, pytester: pytest.Pytester) -> None:
    """Of three programs; each line that the compiler kept, and as often as it ran."""
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-cov", "--bpf-cov-lcov=all.info")
    result.assert_outcomes(passed=3)
    found = lines_of((project / "all.info").read_text())
    for name, counted in (("xdp_firewall", FIREWALL), ("config", CONFIG), ("tail_calls", TAIL_CALLS)):
        lines = found[f"{name}.bpf.c"]
        own = {line: hits for line, hits in lines.items() if line in counted}
        assert own == {line: hits for line, hits in counted.items() if line in lines}, name
        assert len(own) >= len(counted) - (3 if name != "tail_calls" else 0), name
    assert found["tail_calls.bpf.c"][line_with("bpf_tail_call(")] == 6
    result.stdout.fnmatch_lines(
        [
            "*= eBPF coverage =*",
            "program *lines*branches*instructions*",
            "config.bpf.o: police *100 % (*",
            "*: firewall *",
        ]
    )


def test_branches_and_what_cannot_run(project: Path, pytester: pytest.Pytester) -> None:
    """``strict`` is a constant: the verifier removed one way of the branch, which is not a way that was missed."""
    pytester.runpytest("--bpf-kernels=host", "--bpf-cov-lcov=all.info", "-k", "config")
    rows = (project / "all.info").read_text().splitlines()
    branches = [row for row in rows if row.startswith("BRDA:25,")]
    assert sorted(int(row.rpartition(",")[2]) for row in branches) == [0, 1, 1, 3, 4, 4], branches
    assert not any(row.startswith("BRDA:27,") for row in rows)


RUST_TESTS = """
    from pytest_ebpf import IP, UDP, Eth

    def test_filter(bpf):
        obj = bpf.load("port_filter.bpf.o")
        obj.maps["PORTS"][53] = {"action": "Drop"}
        for port in (53, 53, 54):
            obj["port_filter"].run(Eth() / IP(src="192.0.2.7") / UDP(dport=port))
        obj["port_filter"].run(bytes(14))
"""
# What begins a line of the source -> how often it ran, counted by hand. (Lines that are only calls of aya-ebpf have no
# record in BTF: what is inlined stands under the name of the innermost function.)
RUST = {"let length": 4, "if length <": 4, "unsafe { SEEN": 4, "found.hits": 2, "match found": 2}
RUST |= {"warn!(ctx": 2, "info!(ctx": 0}


def test_rust_lines_agree_with_a_count_by_hand(pytester: pytest.Pytester) -> None:
    """Without those of the libraries, which are named in one row."""
    shutil.copy(SAMPLES / "aya/built/port_filter.bpf.o", pytester.path)
    source = pytester.path / "programs/src/bin/port_filter.rs"
    source.parent.mkdir(parents=True)
    shutil.copy(SAMPLES / "aya/programs/src/bin/port_filter.rs", source)
    pytester.makepyfile(test_rust=RUST_TESTS)
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-cov-lcov=all.info", "--bpf-cov-cobertura=all.xml")
    result.assert_outcomes(passed=1)
    lines = lines_of((pytester.path / "all.info").read_text())
    assert {file for file in lines if file.startswith(("library/", "aya-"))} == set()
    text = source.read_text().splitlines()
    counted = {}
    for line, hits in lines["programs/src/bin/port_filter.rs"].items():
        counted |= {start: hits for start in RUST if text[line - 1].strip().startswith(start)}
    assert counted == RUST
    assert "library/core" not in (pytester.path / "all.xml").read_text()
    result.stdout.fnmatch_lines(
        ["programs/src/bin/port_filter.rs * not run: *", "left out: lines of libraries that are inlined (aya-*, core)*"]
    )


def test_cobertura(project: Path, pytester: pytest.Pytester) -> None:
    pytester.runpytest("--bpf-kernels=host", "--bpf-cov-cobertura=all.xml", "-k", "config")
    root = ElementTree.parse(project / "all.xml").getroot()
    (found,) = root.iter("class")
    assert found.get("filename") == "config.bpf.c"
    lines = {int(line.get("number", "")): int(line.get("hits", "")) for line in found.iter("line")}
    assert {line: hits for line, hits in CONFIG.items() if line in lines} == lines
    assert root.get("lines-covered") == root.get("lines-valid") == str(len(lines))


def test_fail_under(project: Path, pytester: pytest.Pytester) -> None:
    arguments = ("--bpf-kernels=host", "-k", "tail_calls")
    assert pytester.runpytest(*arguments, "--bpf-cov-fail-under=50").ret == 0
    result = pytester.runpytest(*arguments, "--bpf-cov-fail-under=99")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*% of the lines that can run did; --bpf-cov-fail-under asks for 99 %"])


def test_xdist_adds_up(project: Path, pytester: pytest.Pytester) -> None:
    arguments = ("--bpf-kernels=host", "--bpf-cov-lcov=all.info")
    pytester.runpytest(*arguments)
    alone = (project / "all.info").read_text()
    pytester.runpytest_subprocess(*arguments, "-n", "2").assert_outcomes(passed=3)
    assert (project / "all.info").read_text() == alone


@pytest.mark.parametrize("death", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"], ids=["exit", "killed"])
def test_what_a_worker_counted_before_it_died_is_kept(project: Path, pytester: pytest.Pytester, death: str) -> None:
    """Of the tests before, in the same worker; the test in which it died counts nothing."""
    dies = f"""
    def test_dies(bpf):
        import os, signal
        bpf.load("config.bpf.o")["police"].run(bytes(60))
        {death}
"""
    pytester.makepyfile(test_samples=TESTS.replace("    def test_tail_calls", f"{dies}\n    def test_tail_calls"))
    arguments = ("--bpf-kernels=host", "--bpf-cov-lcov=all.info")
    pytester.runpytest(*arguments, "--deselect=test_samples.py::test_dies[host]").assert_outcomes(
        passed=3, deselected=1
    )
    alone = (project / "all.info").read_text()
    result = pytester.runpytest_subprocess(*arguments, "-n", "1")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*crashed while running*test_dies*", "config.bpf.o: police *"])
    assert (project / "all.info").read_text() == alone


PLUGIN = '[tool.coverage.run]\nplugins = ["pytest_ebpf.coverage_plugin"]\n'


def test_coverage_py_shows_the_sources(project: Path, pytester: pytest.Pytester) -> None:
    """In pytest-cov's report, beside Python's, and in that of the command afterwards."""
    pytester.makefile(".toml", pyproject=PLUGIN)
    result = pytester.runpytest_subprocess("--bpf-kernels=host", "--bpf-cov", "--cov=.", "--cov-branch")
    result.stdout.fnmatch_lines(["config.bpf.c *", "tail_calls.bpf.c *", "test_samples.py *", "TOTAL *"])
    command = [sys.executable, "-m", "coverage", "html"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "xdp_firewall.bpf.c" in (project / "htmlcov/index.html").read_text()


def test_the_data_of_coverage_py(project: Path, pytester: pytest.Pytester) -> None:
    """Without the plugin coverage.py would fail on the files, so there is a note instead."""
    arguments = ("--bpf-kernels=host", "--bpf-cov", "-k", "tail_calls")
    result = pytester.runpytest(*arguments)
    result.stdout.fnmatch_lines(["No data for coverage.py: it does not know the plugin that reads BPF sources.*"])
    assert not (project / ".coverage").exists()
    pytester.makefile(".toml", pyproject=PLUGIN)
    pytester.runpytest(*arguments)
    data = coverage.CoverageData(basename=str(project / ".coverage"))
    data.read()
    (file,) = data.measured_files()
    ran = set(data.lines(file) or ())
    assert {25, 31, line_with("bpf_tail_call(")} <= ran
    assert 37 not in ran
    assert data.file_tracer(file) == "pytest_ebpf.coverage_plugin.BpfFiles"


def test_nothing_is_counted_unless_asked(project: Path, pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--bpf-kernels=host")
    assert "eBPF coverage" not in result.stdout.str()
