"""Every SEC() prefix is a feature name, and none changes what a name meant before."""

from __future__ import annotations

import pytest

from pytest_ebpf.agent.ops import ProgLoad, ProgRejected, Try
from pytest_ebpf.features.table import FEATURES, feature, probe_ops, read_probe
from pytest_ebpf.uapi.enums import AttachType, ProgType
from pytest_ebpf.uapi.flags import ProgFlag
from pytest_ebpf.uapi.sections import ROWS
from support.plan_facts import facts

FACTS = facts()


def test_every_prefix_is_a_feature() -> None:
    for row in ROWS:
        assert feature(row[0]).group, row


def test_every_program_type_is_a_feature() -> None:
    for each in ProgType:
        assert each.name == "UNSPEC" or feature(each.name.lower()), each


@pytest.mark.parametrize(
    ("prefix", "row"),
    [
        ("freplace", "prog:ext"),
        ("kprobe.multi", "attach:kprobe_multi"),
        ("tc", "prog:sched_cls"),
        ("tcx/egress", "attach:tcx"),
        ("usdt", "attach:uprobe"),
        ("sockops", "prog:sock_ops"),
        # names that meant something before
        ("kprobe", "attach:kprobe"),
        ("lsm", "attach:lsm"),
        ("xdp", "prog:xdp"),
    ],
)
def test_a_prefix_means_the_row_that_asks_for_it(prefix: str, row: str) -> None:
    assert FEATURES[prefix] is feature(row)


def test_other_prefixes_load_a_program_of_the_section() -> None:
    (op,) = probe_ops("uprobe.s", FACTS)
    assert isinstance(op, Try)
    assert isinstance(op.op, ProgLoad)
    assert (op.op.type, op.op.flags) == (ProgType.KPROBE, ProgFlag.SLEEPABLE)
    (op,) = probe_ops("cgroup/connect_unix", FACTS)
    assert isinstance(op, Try)
    assert isinstance(op.op, ProgLoad)
    assert op.op.expected_attach_type == AttachType.CGROUP_UNIX_CONNECT
    assert feature("cgroup/connect_unix").since == "6.7"


def test_a_sleepable_prefix_does_not_inherit_the_release_of_its_type() -> None:
    assert feature("tracepoint.s").since == ""
    assert feature("tp_btf").since == "5.5"


def test_a_refusal_before_the_verifier_is_a_no() -> None:
    log = b"Only fentry/fexit/fmod_ret and lsm programs can be sleepable\nprocessed 0 insns (limit 1000000)"
    answer = read_probe("uprobe.s", [ProgRejected(22, log, 1)], facts=FACTS)
    assert (answer.supported, answer.since) == (False, "6.0")
