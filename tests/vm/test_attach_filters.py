"""Classifiers and actions of interfaces, by tcx and by netlink: order, protocols, what older kernels have."""

from __future__ import annotations

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.agent.ops import Handle
from support.attach_events import BUILT
from support.network_events import arrives, namespace

OBJECT = BUILT / "network.bpf.o"


@pytest.fixture
def netns(bpf: Bpf) -> Handle:
    return namespace(bpf)


@pytest.mark.attach_kind("tc")
@pytest.mark.parametrize("way", ["clsact", pytest.param("tcx", marks=pytest.mark.bpf_kernel(">=6.6"))])
def test_tc(bpf: Bpf, netns: Handle, way: str) -> None:
    obj = bpf.load(OBJECT, only=["tc_one", "tc_two", "tc_shot"])
    with obj["tc_one"].attach(interface="lo", direction="ingress", netns=netns, mechanism=way) as link:
        assert arrives(bpf, netns)
        assert obj.maps["counts"][1] == 1
        assert link.mechanism == {"clsact": "clsact filter", "tcx": "tcx link"}[way]
        link.update(obj["tc_two"])
        assert arrives(bpf, netns)
        assert (obj.maps["counts"][1], obj.maps["counts"][2]) == (1, 1)
        with obj["tc_shot"].attach(interface="lo", netns=netns, mechanism=way):
            assert not arrives(bpf, netns)
            hooks = [found.hook for found in bpf.attached(interface="lo", netns=netns)]
            assert hooks == {"clsact": ["clsact ingress", "clsact egress"], "tcx": ["tcx_ingress", "tcx_egress"]}[way]
        assert arrives(bpf, netns)
    assert bpf.attached(interface="lo", netns=netns) == ()


@pytest.mark.attach_kind("tc", option="the way that the kernel has")
def test_tc_by_the_way_that_the_kernel_has(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(OBJECT, only=["tc_shot"])
    with obj["tc_shot"].attach(interface="lo", netns=netns) as link:
        assert link.mechanism == ("tcx link" if bpf.has("attach:tcx") else "clsact filter")
        assert not arrives(bpf, netns)


@pytest.mark.attach_kind("tc", option="priorities")
def test_filters_in_the_order_of_their_priorities(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(OBJECT, only=["tc_one", "tc_two", "tc_three"])
    for name, priority in (("tc_one", 30), ("tc_two", 10), ("tc_three", 20)):
        obj[name].attach(interface="lo", direction="egress", netns=netns, priority=priority)
    assert arrives(bpf, netns)
    assert obj.globals["trail"] == 231
    found = bpf.attached(interface="lo", netns=netns, direction="egress")
    assert [each.detail for each in found] == ["priority 10", "priority 20", "priority 30"]
    with pytest.raises(KernelCallError) as error:
        obj["tc_two"].attach(interface="lo", direction="egress", netns=netns, priority=10)
    assert error.value.errno == 17


@pytest.mark.attach_kind("tc", option="handle, protocol, class")
def test_a_filter_for_one_protocol(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(OBJECT, only=["tc_shot"])
    options = {"priority": 5, "handle": 7, "protocol": "ipv6", "classid": 0x10001}
    with obj["tc_shot"].attach(interface="lo", netns=netns, **options):
        assert arrives(bpf, netns)
        assert not arrives(bpf, netns, family="ipv6")
    with pytest.raises(BpfUsageError, match="protocol= must be one of all, ip, ipv6, arp"):
        obj["tc_shot"].attach(interface="lo", netns=netns, protocol="ipv5")
    with pytest.raises(BpfUsageError, match="priority is for clsact filters"):
        obj["tc_shot"].attach(interface="lo", netns=netns, priority=5, mechanism="tcx")


def test_a_filter_outlives_the_one_whose_qdisc_it_uses(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(OBJECT, only=["tc_one", "tc_shot"])
    first = obj["tc_one"].attach(interface="lo", direction="egress", netns=netns, mechanism="clsact")
    obj["tc_shot"].attach(interface="lo", netns=netns, mechanism="clsact")
    first.detach()
    assert not arrives(bpf, netns)


@pytest.mark.attach_kind("tcx/egress", option="before and after")
@pytest.mark.bpf_kernel(">=6.6")
def test_tcx_programs_in_the_order_asked_for(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(OBJECT, only=["tc_one", "tc_two", "tc_three"])
    place = {"interface": "lo", "direction": "egress", "netns": netns}
    two = obj["tc_two"].attach(**place)
    obj["tc_three"].attach(**place, before=two)
    with obj["tc_one"].attach(**place, before="all"):
        assert arrives(bpf, netns)
        assert obj.globals["trail"] == 132
        found = bpf.attached(interface="lo", netns=netns)
        assert [each.prog_id for each in found] == [obj[name].id for name in ("tc_one", "tc_three", "tc_two")]
        assert found[2].link_id == two.info.id
    obj.globals["trail"] = 0
    obj["tc_one"].attach(**place, after=obj["tc_three"])
    assert arrives(bpf, netns)
    assert obj.globals["trail"] == 312
    with pytest.raises(BpfUsageError, match="exclude each other"):
        obj["tc_one"].attach(**place, after="all", before="all")
    with pytest.raises(BpfUsageError, match="before= expects a program or link"):
        obj["tc_one"].attach(**place, before="tc_two")


@pytest.mark.bpf_kernel("<6.6")
def test_tcx_asked_for_where_there_is_none(bpf: Bpf, netns: Handle) -> None:
    program = bpf.load(OBJECT, only=["tc_shot"])["tc_shot"]
    with pytest.raises(KernelCallError) as error:
        program.attach(interface="lo", netns=netns, mechanism="tcx")
    assert "TCX links came with Linux 6.6; this kernel is" in error.value.hint


@pytest.mark.bpf_kernel("<6.6")
def test_order_without_tcx_says_what_there_is(bpf: Bpf, netns: Handle) -> None:
    program = bpf.load(OBJECT, only=["tc_shot"])["tc_shot"]
    with pytest.raises(PlanError, match=r"came with Linux 6\.6") as error:
        program.attach(interface="lo", netns=netns, before="all")
    assert "priority=" in error.value.hint


@pytest.mark.attach_kind("action")
@pytest.mark.bpf_feature("config:CONFIG_NET_ACT_BPF")
@pytest.mark.bpf_feature("config:CONFIG_NET_CLS_MATCHALL")
def test_an_action(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(OBJECT, only=["tc_action"])
    with obj["tc_action"].attach(interface="lo", direction="egress", netns=netns):
        assert not arrives(bpf, netns)
        assert obj.maps["counts"][5] > 0
        assert [each.name for each in bpf.attached(interface="lo", netns=netns)] == ["tc_action"]
    assert arrives(bpf, netns)
