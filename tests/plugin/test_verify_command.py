"""``pytest-ebpf verify`` and the fixture ``bpf_matrix``: every program of objects, on every kernel."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT

SAMPLES = ROOT / "sample_programs" / "built"
Objects = Callable[..., None]
Verify = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    """``verify("xdp_lb", "--json")`` runs the command where the samples named are."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        names = []
        for argument in arguments:
            if (source := SAMPLES / f"{argument}.bpf.o").exists():
                shutil.copy(source, tmp_path)
                argument = f"{argument}.bpf.o"
            names.append(argument)
        command = [sys.executable, "-c", "from pytest_ebpf.cli import main; main()", "verify", *names]
        return subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8", **environment},
        )

    return run


def programs(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    value = json.loads(done.stdout)
    assert list(value) == ["programs"]
    found: list[dict[str, Any]] = value["programs"]
    return found


def test_table(verify: Verify) -> None:
    done = verify("xdp_lb", "reject_packet_bounds", "tail_calls")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["host"]
    assert [line.split() for line in lines[1:9]] == [
        ["xdp_lb.bpf.o"],
        ["balance", "✓", "264"],
        ["reject_packet_bounds.bpf.o"],
        ["unchecked_packet", "✗", "2"],
        ["tail_calls.bpf.o"],
        ["handle_drop", "✓", "2"],
        ["handle_bounce", "✓", "2"],
        ["handle_redirect", "✓", "2"],
    ]
    assert "reject_packet_bounds.bpf.o: unchecked_packet" in lines
    assert "  ✗ rejected, EACCES, packet-bounds, safety" in lines
    assert any(line.startswith("    invalid access to packet, off=12 size=1") for line in lines)
    assert any(line.startswith("    at reject_packet_bounds.bpf.c:10: return eth->h_proto") for line in lines)
    assert lines[-1].endswith("5 accepted, 1 rejected")
    assert "\x1b" not in done.stdout


def test_json(verify: Verify) -> None:
    done = verify("xdp_lb", "reject_packet_bounds", "--json")
    assert done.returncode == 1
    accepted, rejected = programs(done)
    known = {name: accepted[name] for name in ("object", "program", "section", "kernel", "verdict", "errno", "class")}
    assert known == {
        "object": "xdp_lb.bpf.o",
        "program": "balance",
        "section": "xdp",
        "kernel": "host",
        "verdict": "accepted",
        "errno": None,
        "class": None,
    }
    assert (accepted["insns"], accepted["kind"]) == (264, None)
    assert accepted["states"] > 0
    assert [rejected[name] for name in ("verdict", "errno", "class", "kind")] == [
        "rejected",
        "EACCES",
        "packet-bounds",
        "safety",
    ]
    assert rejected["source_line"]["line"] == 10
    assert rejected["message"].startswith("invalid access to packet")


def test_figures(verify: Verify) -> None:
    """veristat's -e, -f, -s, -n and -o."""
    done = verify("xdp_lb", "bounded_loop", "tail_calls", "-e", "prog,insns,verdict", "-s", "insns_", "-n", "2")
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["Program", "Insns", "Verdict"]
    assert rows[2:] == [["sum_payload", "1680", "success"], ["balance", "264", "success"]]

    done = verify("xdp_lb", "bounded_loop", "tail_calls", "-f", "insns<100", "-f", "!*_drop", "--json")
    assert [entry["program"] for entry in programs(done)] == ["handle_bounce", "handle_redirect", "dispatch"]
    done = verify("xdp_lb", "tail_calls", "-f", "tail*/handle_*", "--json")
    assert len(programs(done)) == 3

    done = verify("xdp_lb", "reject_null_value", "-o", "csv")
    rows_by_name = {row["prog_name"]: row for row in csv.DictReader(done.stdout.splitlines())}
    assert {name: row["verdict"] for name, row in rows_by_name.items()} == {
        "balance": "success",
        "unchecked_value": "failure",
    }
    assert done.stdout.startswith("file_name,prog_name,verdict,duration,total_insns,total_states,peak_states,")
    done = verify("xdp_lb", "-f", "nosuch*")
    assert done.stdout == "no program is left by the filters (of 1 verdicts)\n"


def test_globals_and_lines(verify: Verify) -> None:
    done = verify("bpf_loop", "-G", "rounds=1,100000", "-G", "stop_at=0..2", "--json")
    found = programs(done)
    assert [entry["globals"] for entry in found] == [
        {"rounds": rounds, "stop_at": stop} for rounds in (1, 100_000) for stop in (0, 1, 2)
    ]
    assert {entry["insns"] for entry in found[:3]} != {entry["insns"] for entry in found[3:]}

    done = verify("bounded_loop", "--lines=2")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    at = lines.index("bounded_loop.bpf.o: sum_payload on host: 1680 insns")
    assert lines[at + 1].startswith("  512 insns  30 %  128×  bounded_loop.bpf.c:22: u8 *byte = ")
    assert lines[at + 3].startswith("  657 insns  39 %  in ")
    assert max(map(len, lines)) <= 80


def test_policies(verify: Verify) -> None:
    assert verify("reject_null_value").returncode == 1
    for policy, status in {"all": 1, "any": 1, "same": 0, "supported": 1, "none": 0}.items():
        assert verify("reject_null_value", "--policy", policy).returncode == status, policy
        assert verify("xdp_lb", "--policy", policy).returncode == 0, policy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch.o"], "nosuch.o: no such file"),
        (["."], "a directory, not an object file"),
        (["xdp_lb", "--kernels=6.99"], "--kernels: unknown kernel series '6.99'"),
        (["xdp_lb", "--kernels=,"], "--kernels names none"),
        (["xdp_lb", "-e", "insn"], "no column 'insn'"),
        (["xdp_lb", "-s", "insnz"], "no column 'insnz'"),
        (["xdp_lb", "-f", "insns>many"], "total_insns is compared with a number"),
        (["xdp_lb", "-f", "verdict=well"], "expected a verdict, got 'well'"),
        (["xdp_lb", "-G", "nosuch=1"], "-G: no object has a variable 'nosuch'"),
        (["xdp_lb", "-G", "fallback"], "-G 'fallback'"),
        (["bpf_loop", "-G", "rounds=many"], "rounds"),
        (["xdp_lb", "--policy=some"], "'some' is not one of"),
        ([], "Missing argument 'OBJ"),
    ],
)
def test_wrong_usage(verify: Verify, arguments: list[str], message: str) -> None:
    """Told in a line or two on stderr, with status 2, and before any kernel boots."""
    done = verify(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_files_that_are_no_objects(verify: Verify, tmp_path: Path) -> None:
    """They do not stop the others, and the status says so."""
    (tmp_path / "text.o").write_text("int main() {}")
    empty = next(path for path in SAMPLES.parent.glob("include/*.h"))
    shutil.copy(empty, tmp_path / "header.o")
    done = verify("text.o", "xdp_lb", "header.o")
    assert done.returncode == 2
    assert "balance" in done.stdout
    assert "text.o: not an ELF object" in done.stderr
    done = verify("text.o")
    assert (done.returncode, done.stdout) == (2, "")


def test_what_cannot_be_planned_is_an_error(verify: Verify) -> None:
    """It is neither accepted nor rejected: the kernel never saw it."""
    done = verify(str(SAMPLES.parents[1] / "tests/objects/built/link_test.bpf.o"), "--json")
    assert done.returncode == 1
    errors = [entry for entry in programs(done) if entry["verdict"] == "error"]
    assert {(entry["errno"], entry["class"], entry["insns"]) for entry in errors} == {(None, None, None)}
    assert "declared extern, and nothing in" in errors[0]["message"]


def test_bpf_matrix(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("xdp_lb", "bpf_loop", "reject_null_value")
    pytester.makepyfile(
        """
        import pytest
        from pytest_ebpf import BpfUsageError
        def test_good(bpf_matrix):
            found = bpf_matrix.verify("xdp_lb.bpf.o", "bpf_loop.bpf.o", globals={"rounds": [1, 5]})
            assert found.accepted_on("host").accepted_on().same_verdict().growth("0%") is found
            assert len(found) == 3
            assert [v.label for v in found.of("sum_up")] == ["sum_up [rounds=1]", "sum_up [rounds=5]"]
            assert found.on("host").of("balance").programs[0].insns == 264
            assert "balance" in str(found)
        def test_rejected(bpf_matrix):
            found = bpf_matrix.verify("reject_null_value.bpf.o")
            found.rejected_on("host", cls="null-deref").same_verdict()
            with pytest.raises(AssertionError, match="(?s)expected class 'leak'.*✗"):
                found.rejected_on(cls="leak")
            found.accepted_on()
        def test_wrong(bpf_matrix):
            assert bpf_matrix.kernels == ("host",)
            with pytest.raises(BpfUsageError, match="no kernel '6.1' in this run"):
                bpf_matrix.verify("xdp_lb.bpf.o", kernels=["6.1"])
            with pytest.raises(BpfUsageError, match="no object has a variable 'nosuch'"):
                bpf_matrix.verify("xdp_lb.bpf.o", globals={"nosuch": 1})
            found = bpf_matrix.verify("xdp_lb.bpf.o")
            with pytest.raises(BpfUsageError, match="no kernel 'hots' here"):
                found.accepted_on("hots")
            with pytest.raises(BpfUsageError, match="no program 'ballance' here"):
                found.of("ballance")
            with pytest.raises(BpfUsageError, match='growth="5%"'):
                found.growth(5)
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.re_match_lines(
        [
            r"E +AssertionError: expected accepted: unchecked_value is rejected on host: .*",
            r"E +host",
            r"E +reject_null_value.bpf.o",
            r"E +unchecked_value +✗ \d+",
            r"E +✗ rejected, EACCES, null-deref, safety",
        ]
    )


@pytest.mark.slow
def test_guests(verify: Verify) -> None:
    """Verdict × kernel; which kernels accept what others refuse."""
    done = verify("fentry_counter", "xdp_lb", "--kernels=host,6.1,7.3")
    assert done.returncode == 1
    waits = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert waits[0] == "booting 6.1"
    assert waits[1:] in ([], ["booting 7.3"]), "the second boots meanwhile, and is not waited for when it is ready"
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["host", "6.1", "7.3"]
    assert "fentry_counter.bpf.o: count_entry (accepted on 6.1, 7.3)" in lines
    found = programs(verify("fentry_counter", "xdp_lb", "--kernels=6.1,7.3", "--json", "-q"))
    assert {(entry["kernel"], entry["verdict"]) for entry in found} == {("6.1", "accepted"), ("7.3", "accepted")}


def test_c11_maps_and_programs_as_for_load(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("xdp_lb", "bpf_loop", "map_kinds")
    pytester.makepyfile(
        """
        import pytest
        from pytest_ebpf import BpfUsageError, ObjectError
        def test_verify(bpf_matrix):
            def verify(**asked):
                return bpf_matrix.verify("map_kinds.bpf.o", "bpf_loop.bpf.o", **asked)
            everything = verify().accepted_on()
            name = everything.programs[0].program
            assert len(verify(programs={name: False})) == len(everything) - 1
            assert verify(programs={name: "tc"}).of(name).programs[0].type == "sched_cls"
            huge = verify(maps={"last_seen": 1 << 31})  # the kernel refuses what it cannot have
            assert not huge.on("host").of(name).programs[0].accepted
            verify(maps={"last_seen": {"max_entries": 2}}, globals={"rounds": 3}).accepted_on()
            for asked, message in (
                ({"maps": {"lastseen": 2}}, "maps=: no object has a map 'lastseen'\\ndid you mean last_seen"),
                ({"programs": {"nosuch": "tc"}}, "programs=: no object has a program 'nosuch'"),
                ({"programs": {name: 7}}, "is no section name, True, False or dict"),
            ):
                with pytest.raises(BpfUsageError, match=message):
                    verify(**asked)
            with pytest.raises(ObjectError, match="did you mean max_entries"):
                verify(maps={"last_seen": {"max_entrie": 2}})
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=1)


def test_c11_maps_and_programs_of_the_command(verify: Verify) -> None:
    assert verify("bpf_loop", "-P", "sum_up=tc", "-q", "-e", "type", "-o", "csv").returncode == 0
    assert "sched_cls" in verify("bpf_loop", "-P", "sum_up=tc", "-q", "-e", "prog,type", "-o", "csv").stdout
    wrong = verify("map_kinds", "-M", "last_sen=4")
    assert wrong.returncode == 2
    assert "no object has a map 'last_sen'" in wrong.stderr
    assert "Write -M map=1024" in verify("map_kinds", "-M", "last_seen=x").stderr
    assert "Write -P program=" in verify("map_kinds", "-P", "nothing").stderr
