"""A record says what kind of failure it was (issue 14, A4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Objects = Callable[..., None]

# Writes the records as the terminal's matrix gets them.
CONFTEST = """
import json
from pytest_ebpf.report.record import merge_records
def pytest_sessionfinish(session):
    found = session.config.pluginmanager.getplugin("terminalreporter").stats
    reports = sorted((r for group in found.values() for r in group if hasattr(r, "bpf_record")), key=lambda r: r.start)
    records = merge_records(report.bpf_record for report in reports)
    open("kinds.json", "w").write(json.dumps({r["test"].split("::")[-1]: r["kind"] for r in records}))
"""


def kinds(pytester: pytest.Pytester, *arguments: str) -> dict[str, str]:
    pytester.makeconftest(CONFTEST)
    pytester.runpytest(*arguments)
    found: dict[str, str] = json.loads(Path(pytester.path, "kinds.json").read_text())
    return found


def test_a4_kinds_of_failures(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config", "reject_packet_bounds", "map_kinds")
    pytester.makepyfile(
        """
        import pytest
        from pytest_ebpf import ARP, Eth, assert_packet
        def test_passed(bpf): pass
        def test_failed(bpf): assert 1 == 2
        def test_rejected(bpf): bpf.load("reject_packet_bounds.bpf.o")
        def test_packet(bpf_kernel): assert_packet(Eth(), Eth(src="02:00:00:00:00:09"))
        def test_packets_compared(bpf_kernel): assert Eth() == Eth(src="02:00:00:00:00:09")
        def test_map(bpf): assert bpf.load("map_kinds.bpf.o").maps["last_seen"] == {(bytes(6),): 65}
        @pytest.mark.bpf_budget(insns=1)
        def test_budget(bpf): bpf.load("config.bpf.o")
        def test_budget_of_program(bpf): bpf.load("config.bpf.o")["police"].within(insns=1)
        @pytest.mark.bpf_feature("kfunc:no_such_kfunc")
        def test_skipped(bpf): pass
        def test_skipped_by_hand(bpf): pytest.skip("x")
        @pytest.mark.xfail
        def test_expected(bpf): bpf.load("reject_packet_bounds.bpf.o")
        """
    )
    assert kinds(pytester, "--bpf-kernels=host") == {
        "test_passed": "passed",
        "test_failed": "failed",
        "test_rejected": "rejected",
        "test_packet": "packet-diff",
        "test_packets_compared": "packet-diff",
        "test_map": "map-diff",
        "test_budget": "budget",
        "test_budget_of_program": "budget",
        "test_skipped": "missing-feature",
        "test_skipped_by_hand": "",
        "test_expected": "rejected",
    }
