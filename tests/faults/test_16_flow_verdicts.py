"""Line 16: verdicts of flow dissectors, also of kernels that report only whether it was BPF_OK (before Linux 6.1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf import FLOW, Bpf
from pytest_ebpf.agent.ops import Ran, RanMany
from pytest_ebpf.live.run.flow_probe import dissects_as_boolean
from pytest_ebpf.live.run.many import read_many
from pytest_ebpf.live.run.test_run import read_run
from pytest_ebpf.uapi.enums import ProgType

KIND = ProgType.FLOW_DISSECTOR
FRAME = bytes.fromhex("ffffffffffff0200000000000800") + bytes(50)


@pytest.mark.parametrize(
    ("retval", "boolean", "verdict"),
    [(1, True, FLOW.OK), (0, True, FLOW.DROP), (0, False, FLOW.OK), (2, False, FLOW.DROP)],
)
def test_a_verdict_is_read_as_the_kernel_reports_it(retval: int, boolean: bool, verdict: FLOW) -> None:
    ran = Ran(retval, bytes(56), b"", 1)
    assert read_run(ran, prog_type=KIND, byteorder="little", boolean=boolean).retval is verdict
    many = RanMany((retval,), (bytes(56),), (1,))
    assert [one.retval for one in read_many(many, prog_type=KIND, byteorder="little", boolean=boolean)] == [verdict]


def check(bpf: Bpf, built: Path, *, leaves_it: FLOW) -> None:
    obj = bpf.load(built / "flow_dissector.bpf.o")
    verdicts = {name: obj[name].run(FRAME).retval for name in obj.programs}
    assert verdicts == {"accepts": FLOW.OK, "drops": FLOW.DROP, "leaves_it": leaves_it}
    assert [one.retval for one in obj["drops"].run_many([FRAME, FRAME])] == [FLOW.DROP, FLOW.DROP]


def test_verdicts_on_this_kernel(bpf: Bpf, built: Path) -> None:
    """Linux 5.10 reports a boolean: BPF_DROP read as BPF_OK, and BPF_FLOW_DISSECTOR_CONTINUE is not told from it."""
    check(bpf, built, leaves_it=FLOW.DROP if dissects_as_boolean(bpf.session) else FLOW.CONTINUE)
