"""What crosses between the host and a kernel with another order of bytes: numbers, info structs, pins, listings.

Runs on any kernel; ci/architectures runs it on s390x, where a value that is packed in the host's order is wrong.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf import IP, UDP, XDP, Bpf, BpfVm, Eth
from pytest_ebpf.errors import PlanError
from support.paths import ROOT

BUILT = ROOT / "sample_programs/built"
FRAME = Eth() / IP(src="198.51.100.1") / UDP() / bytes(20)


def test_the_object_is_that_of_the_kernels_order(bpf: Bpf) -> None:
    order = bpf.session.target.described.byteorder
    assert bpf.find(BUILT / "xdp_firewall.bpf.o").name == f"xdp_firewall.{'bpfeb' if order == 'big' else 'bpf'}.o"


def test_numbers_of_maps_and_packets(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "map_kinds.bpf.o")
    obj["account"].run_many([FRAME, FRAME])
    assert obj.maps["by_protocol"].sum(0x0800) == {"packets": 2, "bytes": 2 * len(bytes(FRAME))}
    obj.maps["by_protocol"].update({0x0102: {"packets": 3, "bytes": 1 << 40}})
    assert obj.maps["by_protocol"].sum(0x0102)["bytes"] == (1 << 40) * bpf.session.target.described.cpus


def test_an_lpm_key(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "xdp_firewall.bpf.o")
    obj.maps["blocked"]["198.51.100.0/24"] = 1
    assert obj["firewall"].run(FRAME).retval == XDP.DROP
    assert obj.maps["blocked"]["198.51.100.0/24"] == 1


def test_info_of_the_kernels_objects(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "xdp_firewall.bpf.o")
    program, blocked = obj["firewall"], obj.maps["blocked"]
    info = program.info
    assert (info.type_number, info.name) == (6, "firewall")
    assert 0 < info.id < 1 << 20
    assert blocked.info.id in info.map_ids
    assert blocked.info.max_entries == blocked.max_entries
    assert info.id in [one.id for one in bpf.loaded.programs()]


def test_the_listing_of_a_program(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "xdp_firewall.bpf.o")
    listing = obj["firewall"].xlated
    assert "map[blocked]" in str(listing)
    assert any("call" in line.text for line in listing)


def test_a_pin_is_used_again(bpf: Bpf) -> None:
    pinned: dict[str, object] = {"blocked": {"pin": "/sys/fs/bpf/byte_order"}}
    first = bpf.load(BUILT / "xdp_firewall.bpf.o", maps=pinned)
    first.maps["blocked"]["192.0.2.0/24"] = 1
    second = bpf.load(BUILT / "xdp_firewall.bpf.o", maps=pinned)
    assert second.maps["blocked"]["192.0.2.0/24"] == 1


def test_globals_and_constants(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "syscall_latency.bpf.o", globals={"watched_tgid": 0x7FFFFFFF})
    assert obj.globals["watched_tgid"] == 0x7FFFFFFF


def test_records_of_a_ring(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load(BUILT / "exec_tracer.bpf.o").attach()
    bpf_vm.run(["/bin/true"])
    obj.maps["events"].expect({"comm": "true"}, timeout=5)


@pytest.mark.bpf_feature("big_endian")
def test_an_object_of_the_other_order_is_refused_with_the_way_out(bpf: Bpf, tmp_path: Path) -> None:
    alone = tmp_path / "alone.bpf.o"
    alone.write_bytes((BUILT / "xdp_firewall.bpf.o").read_bytes())
    with pytest.raises(PlanError, match=r"object is little endian, .*\n.*alone\.bpfeb\.o beside it"):
        bpf.load(alone)
