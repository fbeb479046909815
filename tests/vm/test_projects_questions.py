"""What suites of real projects asked of a kernel and of its objects: C12 and C13 of "the plugin tells the truth". The
host unless kernels are named."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_ebpf import IP, UDP, BpfUsageError, Eth
from support.paths import TESTS

BUILT = TESTS / "objects" / "built"


@pytest.mark.bpf_feature("btf")
def test_c12_what_a_tool_asks_before_it_chooses_a_program(bpf: Any) -> None:
    assert bpf.has("tracepoint:sched:sched_switch")
    assert bpf.has("tp:sched/sched_switch")
    assert not bpf.has("tracepoint:sched:sched_swich")
    assert bpf.has("raw_tp:sched_switch")
    assert not bpf.has("tp_btf:sched_swich")
    assert not bpf.has("fentry:vfs_raed")
    assert "no function vfs_raed" in bpf.feature("fentry:vfs_raed").message


@pytest.mark.bpf_feature("fentry")
def test_c12_a_function_may_be_traced_when_a_program_attaches_to_it(bpf: Any) -> None:
    assert bpf.has("fentry:vfs_read")
    assert bpf.has("fexit:vfs_read")
    assert bpf.has("fmod_ret:security_syslog")
    assert not bpf.has("fmod_ret:vfs_read")  # the verifier lets nobody change what it returns


@pytest.mark.bpf_feature("btf")
def test_c12_a_field_of_a_struct(bpf: Any) -> None:
    assert bpf.has_field("task_struct.mm")
    assert bpf.has_field("struct task_struct.mm.pgd")  # through a pointer
    assert bpf.has_field("sock.__sk_common.skc_family")
    assert not bpf.has_field("task_struct.mmm")
    assert "did you mean" in bpf.feature("field:task_struct.exit_stat").message
    assert not bpf.has_field("no_such_struct.mm")
    for wrong in ("task_struct", "task_struct->mm", ""):
        with pytest.raises(BpfUsageError, match="Such as field:task_struct"):
            bpf.has_field(wrong)


@pytest.mark.bpf_feature("fentry:vfs_read")
def test_c12_a_marker_that_names_a_function(bpf: Any) -> None:
    assert bpf.has("fentry:vfs_read")


@pytest.mark.bpf_feature("freplace", "tp_btf", "kprobe.multi")
def test_c13_section_names_are_features(bpf: Any) -> None:
    assert bpf.has("freplace")


def test_c13_the_packet_after_a_run(bpf: Any) -> None:
    prog = bpf.load(BUILT / "any_verdict.bpf.o", only="any_xdp")["any_xdp"]
    sent = Eth() / IP(dst="192.0.2.9") / UDP(dport=9) / b"payload"
    result = prog.run(sent)
    assert bytes(result.packet) == bytes(sent)
    assert result.packet["udp"]["dport"] == 9


def test_c13_entries_of_a_map_that_was_listed(bpf: Any) -> None:
    obj = bpf.load("map_kinds.bpf.o")
    mine = obj.maps["last_seen"]
    mine["02:00:00:00:00:01",] = 7
    (listed,) = [map for map in bpf.loaded.maps() if map.id == mine.info.id]
    before = {map.id for map in bpf.loaded.maps()}
    assert listed.items() == mine.items()
    assert (listed.keys(), listed.values()) == (mine.keys(), [7])
    assert listed[mine.keys()[0]] == 7
    assert {map.id for map in bpf.loaded.maps()} <= before  # the kernel frees those of earlier tests meanwhile
