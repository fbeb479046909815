"""Runs made up for the tests of reports: every kind of outcome, and one of the size of a large project."""

from __future__ import annotations

from typing import Any

from pytest_ebpf.outcome import Outcome
from pytest_ebpf.report.document import Document, build_document
from pytest_ebpf.report.record import FailureRecord, KernelRecord, LineRecord, ProgramRecord, RunRecord

__all__ = ["CREATED", "KERNELS", "failed", "large_run", "record", "small_run"]

CREATED = "2026-11-30T12:00:00+00:00"
KERNELS = ("5.10", "6.1", "6.6", "6.12", "6.18", "7.3")
_LOG = "\n".join(f"{number}: (b7) r{number % 10} = {number}" for number in range(200))


def record(test: str, kernel: str = "6.1", outcome: str = "passed", *, insns: int = -1, **more: Any) -> RunRecord:
    """A record with a program where ``insns`` is given."""
    row = {"file_name": "fw.bpf.o"}
    lines = [
        LineRecord(file="fw.bpf.c", line=10 + at, text=f"if (eth + {at} > end) <b>", walked=insns // (at + 1), insns=2)
        for at in (0, 1, 7)
    ]
    program = ProgramRecord(name="firewall", insns=insns, states=3, stack=16, row=row, lines=lines)
    kind = {"passed": "passed", "skipped": ""}.get(outcome, "failed")
    made = RunRecord(
        test=test,
        kernel=kernel,
        outcome=outcome,
        kind=kind,
        reason="",
        line=4,
        seconds=0.25,
        programs=[program] if insns >= 0 else [],
        machine=KernelRecord(id=kernel, release=f"{kernel}.0-test", accel="TCG", note="no KVM", boots=[7.125]),
    )
    return RunRecord(**{**made, **more})


def failed(test: str, kernel: str = "6.1", *, kind: str = Outcome.REJECTED, log: str = _LOG) -> RunRecord:
    """A failure with a source line and sections; its texts hold what must be escaped."""
    failure = FailureRecord(
        headline=f"{kind}: firewall at fw.bpf.c:11: </script> & `x` | 100% -> check it",
        message="message",
        sections=[
            {"title": "why firewall was rejected", "text": "packet-bounds <safety>"},
            {"title": "verifier log: firewall", "text": log},
        ],
        repeat=f"pytest '{test}[{kernel}]' --bpf-kernels={kernel}",
        source={"file": "src/fw.bpf.c", "line": 11, "text": "if (eth + 1 > end)"},
    )
    return record(test, kernel, "failed", kind=str(kind), failure=failure)


def small_run() -> Document:
    """A test that passes everywhere, one that fails on one kernel, one that is skipped, one without a kernel."""
    records = [
        *(record("t.py::test_same", kernel, insns=100) for kernel in ("5.10", "6.1")),
        failed("t.py::test_one", "5.10"),
        record("t.py::test_one", "6.1", insns=200),
        *(record("t.py::test_skip", kernel, "skipped", reason="no ringbuf") for kernel in ("5.10", "6.1")),
        record("u.py::test_none", "*", "error", kind="infrastructure"),
    ]
    return build_document(records, kernels=["5.10", "6.1", "7.3"], created=CREATED, generator="pytest-ebpf 1")


def large_run() -> Document:
    """200 tests on six kernels; every tenth fails on some, with logs of their own."""
    records = []
    for number in range(200):
        test = f"tests/test_{number // 20}.py::test_case_{number}[a_parameter_{number % 7}]"
        for at, kernel in enumerate(KERNELS):
            if number % 10 == 3 and at < 3:
                records.append(failed(test, kernel, log=f"{number} {kernel}\n{_LOG * 4}"))
            elif number % 13 == 5 and at == 0:
                records.append(record(test, kernel, "skipped", reason="no ringbuf"))
            else:
                records.append(record(test, kernel, insns=1000 + number + at))
    return build_document(records, kernels=KERNELS, created=CREATED, generator="pytest-ebpf 1")
