"""Programs on interfaces, routes and network namespaces: each sees packets, and what it says happens to them."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError
from pytest_ebpf.agent.ops import Data, Handle
from pytest_ebpf.live.net.netlink import netlink_op
from pytest_ebpf.live.net.resolve import find_interface
from support.attach_events import BUILT
from support.netlink_bytes import CREATE, EXCL, blob, nest, number, plain_request, text
from support.network_events import FRAME, LOST, arrives, ip, namespace

OBJECT = BUILT / "network.bpf.o"


@pytest.fixture
def netns(bpf: Bpf) -> Handle:
    return namespace(bpf)


@pytest.fixture
def pair(bpf: Bpf, bpf_vm: Any, netns: Handle) -> Handle:
    """A second namespace: 10.7.0.1 on near (in ``netns``) and 10.7.0.2 on far (in it)."""
    far = namespace(bpf)
    ip(bpf_vm, netns, "link add near type veth peer name far")
    message_move(bpf, netns, far)
    ip(bpf_vm, netns, "addr add 10.7.0.1/24 dev near")
    ip(bpf_vm, netns, "link set near up")
    ip(bpf_vm, far, "addr add 10.7.0.2/24 dev far")
    ip(bpf_vm, far, "link set far up")
    return far


def netkit_request(name: str, peer: str) -> bytes:
    """A pair in mode L2, which iproute2 of Debian 12 cannot make (include/uapi/linux/if_link.h)."""
    nothing = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
    data = nest(2, blob(1, nothing + text(3, peer)), number(5, 0))  # IFLA_INFO_DATA: PEER_INFO, MODE
    return plain_request(16, nothing + text(3, name) + nest(18, text(1, "netkit"), data), flags=CREATE | EXCL)


def message_move(bpf: Bpf, netns: Handle, far: Handle) -> None:
    """``ip link set far netns``, to a namespace that has no name."""
    index = find_interface(bpf.session, "far", netns=netns).index
    body = struct.pack("=BxHiII", 0, 0, index, 0, 0) + number(28, 0x5EBF5EBF)  # IFLA_NET_NS_FD
    bpf.session.one(netlink_op(plain_request(19, body), netns=netns, fds={0x5EBF5EBF: far}), Data)


@pytest.mark.attach_kind("xdp")
@pytest.mark.parametrize("way", ["link", "netlink"])
def test_xdp(bpf: Bpf, netns: Handle, way: str) -> None:
    obj = bpf.load(OBJECT, only=["xdp_pass", "xdp_drop"])
    with obj["xdp_drop"].attach(interface="lo", mode="skb", netns=netns, mechanism=way) as link:
        assert not arrives(bpf, netns)
        assert obj.maps["counts"][1] == 1
        assert link.mechanism == f"xdp {way}"
        (found,) = bpf.attached(interface="lo", netns=netns)
        assert (found.hook, found.prog_id, found.detail) == ("xdp", obj["xdp_drop"].id, "mode skb")
        link.update(obj["xdp_pass"])
        assert arrives(bpf, netns)
        with pytest.raises(KernelCallError) as error:
            obj["xdp_drop"].attach(interface="lo", mode="skb", netns=netns, mechanism=way)
        assert "program 'xdp_pass'" in str(error.value.hint)
    assert bpf.attached(interface="lo", netns=netns) == ()
    assert arrives(bpf, netns)
    assert obj.maps["counts"][0] > 0


@pytest.mark.attach_kind("xdp", option="native")
def test_xdp_of_the_driver(bpf: Bpf, netns: Handle, pair: Handle) -> None:
    obj = bpf.load(OBJECT, only=["xdp_drop"])
    there = bpf.socket("udp", netns=pair).bind("10.7.0.2")
    here = bpf.socket("udp", netns=netns)
    here.send_to(b"w", there)  # so that the address is resolved
    assert there.recv() == b"w"
    with obj["xdp_drop"].attach(interface="far", mode="native", netns=pair):
        here.send_to(b"x", there)
        assert there.silent(within=LOST)
        assert bpf.attached(interface="far", netns=pair)[0].detail == "native"
    here.send_to(b"y", there)
    assert there.recv() == b"y"
    with pytest.raises(KernelCallError) as error:
        obj["xdp_drop"].attach(interface="lo", mode="native", netns=netns)
    assert "no XDP of its own" in str(error.value.hint)


@pytest.mark.attach_kind("xdp.frags")
@pytest.mark.bpf_kernel(">=5.18")
def test_xdp_of_packets_larger_than_a_page(bpf: Bpf, bpf_vm: Any, netns: Handle, pair: Handle) -> None:
    obj = bpf.load(OBJECT, only=["xdp_drop", "xdp_frags"])
    for end, name in ((netns, "near"), (pair, "far")):
        ip(bpf_vm, end, f"link set {name} mtu 9000")
    there = bpf.socket("udp", netns=pair).bind("10.7.0.2")
    here = bpf.socket("udp", netns=netns)
    here.send_to(b"w", there)
    assert there.recv() == b"w"
    with pytest.raises(KernelCallError) as error:
        obj["xdp_drop"].attach(interface="far", mode="native", netns=pair)
    assert 'SEC("xdp.frags")' in error.value.hint
    with obj["xdp_frags"].attach(interface="far", mode="native", netns=pair):
        here.send_to(bytes(8000), there)
        assert there.silent(within=LOST)
        assert obj.maps["counts"][5] > 0


@pytest.mark.attach_kind("xdp/devmap")
def test_xdp_at_the_end_of_a_redirect(bpf: Bpf, netns: Handle, pair: Handle) -> None:
    obj = bpf.load(OBJECT, only=["to_device", "on_device", "xdp_pass"])
    obj.maps["devices"][0] = {
        "ifindex": find_interface(bpf.session, "far", netns=pair),
        "program": obj["on_device"],
    }
    there = bpf.socket("udp", netns=pair).bind("10.7.0.2")
    bpf.socket("udp", netns=netns).send_to(b"w", there)
    assert there.recv() == b"w"
    obj["xdp_pass"].attach(interface="near", mode="native", netns=netns)  # a veth takes frames of XDP if its peer does
    with obj["to_device"].attach(interface="far", mode="native", netns=pair):
        bpf.socket("udp", netns=netns).send_to(b"x", there)
        assert there.silent(within=LOST)
    assert obj.maps["counts"][2] > 0
    assert obj.maps["counts"][3] > 0
    with pytest.raises(BpfUsageError, match="entry of a devmap"):
        obj["on_device"].attach(interface="far")


@pytest.mark.attach_kind("xdp/cpumap")
def test_xdp_on_another_processor(bpf: Bpf, netns: Handle, pair: Handle) -> None:
    obj = bpf.load(OBJECT, only=["to_processor", "on_processor"])
    obj.maps["processors"][0] = {"qsize": 192, "program": obj["on_processor"]}
    there = bpf.socket("udp", netns=pair).bind("10.7.0.2")
    with obj["to_processor"].attach(interface="far", mode="native", netns=pair):
        bpf.socket("udp", netns=netns).send_to(b"x", there)
        assert there.silent(within=LOST)
    assert obj.maps["counts"][2] > 0
    assert obj.maps["counts"][4] > 0


NETFILTER = BUILT / "netfilter.bpf.o"


@pytest.mark.attach_kind("netfilter", option="namespace, hooks, priorities")
@pytest.mark.bpf_feature("attach:netfilter_link")
@pytest.mark.bpf_kernel(">=6.4")
def test_netfilter_in_a_namespace(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(NETFILTER)
    with obj["dropped"].attach(family="ipv6", hook="input", netns=netns, priority=10) as link:
        assert arrives(bpf, netns)
        assert not arrives(bpf, netns, family="ipv6")
        with obj["seen"].attach(family="ipv6", hook="input", netns=netns, priority=5):
            assert not arrives(bpf, netns, family="ipv6")
            assert obj.maps["counts"][0] > 0
        seen = obj.maps["counts"][0]
        with obj["seen"].attach(family="ipv6", hook="input", netns=netns, priority=15):
            assert not arrives(bpf, netns, family="ipv6")
            assert obj.maps["counts"][0] == seen
        assert (link.mechanism, link.target) == ("netfilter link", "ipv6 input")
    assert arrives(bpf, netns, family="ipv6")
    with pytest.raises(BpfUsageError, match=r"hook= must be one of prerouting(.|\n)*did you mean input"):
        obj["seen"].attach(family="ipv6", hook="inptu", netns=netns)


@pytest.mark.attach_kind("netfilter", option="defrag")
@pytest.mark.bpf_feature("attach:netfilter_link")
@pytest.mark.bpf_kernel(">=6.6")
def test_netfilter_sees_fragments_or_the_whole(bpf: Bpf, bpf_vm: Any, netns: Handle) -> None:
    obj = bpf.load(NETFILTER, only=["seen"])
    ip(bpf_vm, netns, "link set lo mtu 1500")
    there, here = bpf.socket("udp", netns=netns).bind(), bpf.socket("udp", netns=netns)
    for defrag, packets in ((False, 4), (True, 1)):
        before = obj.maps["counts"][0]
        with obj["seen"].attach(family="ipv4", hook="prerouting", netns=netns, defrag=defrag):
            here.send_to(bytes(5000), there)
            assert there.recv() == bytes(5000)
            assert obj.maps["counts"][0] - before == packets


@pytest.mark.attach_kind("netkit/primary")
@pytest.mark.attach_kind("netkit/peer")
@pytest.mark.bpf_kernel(">=6.7")
@pytest.mark.bpf_feature("config:CONFIG_NETKIT")
def test_netkit(bpf: Bpf, bpf_vm: Any, netns: Handle) -> None:
    obj = bpf.load(OBJECT, only=["netkit_primary", "netkit_peer", "tc_one"])
    bpf.session.one(netlink_op(netkit_request("nk", "nkpeer"), netns=netns), Data)
    for name, address in (("nk", "10.8.0.1/24"), ("nkpeer", "10.8.0.2/24")):
        ip(bpf_vm, netns, f"addr add {address} dev {name}")
        ip(bpf_vm, netns, f"link set {name} up")
    obj["netkit_primary"].attach(interface="nk", netns=netns)
    with obj["netkit_peer"].attach(interface="nk", netns=netns) as link:
        frame = b"\xff" * 6 + bytes(6) + b"\x88\xb5" + bytes(46)
        bpf.socket("packet", netns=netns).bind("nk").send(frame)
        with pytest.raises(KernelCallError, match="ENOBUFS"):
            bpf.socket("packet", netns=netns).bind("nkpeer").send(frame)
        assert obj.maps["counts"][6] > 0
        assert obj.maps["counts"][7] > 0
        hooks = {each.hook for each in bpf.attached(interface="nk", netns=netns)}
        assert hooks == {"netkit_primary", "netkit_peer"}
        assert link.mechanism == "netkit link"
    with pytest.raises(BpfUsageError, match="is not a netkit device"):
        obj["netkit_peer"].attach(interface="lo", netns=netns)


@pytest.mark.attach_kind("lwt_out")
@pytest.mark.attach_kind("lwt_xmit")
@pytest.mark.parametrize("kind", ["out", "xmit"])
def test_a_route_out(bpf: Bpf, netns: Handle, pair: Handle, kind: str) -> None:
    obj = bpf.load(OBJECT, only=[f"route_{kind}"])
    here = bpf.socket("udp", netns=netns)
    slot = {"out": 2, "xmit": 3}[kind]
    with obj[f"route_{kind}"].attach(route="10.9.0.0/24", interface="near", netns=netns) as link:
        assert (link.mechanism, link.target) == ("route", "route 10.9.0.0/24 dev near")
        with pytest.raises(KernelCallError):
            here.send_to(b"x", "10.9.0.1", port=9)
        assert obj.maps["counts"][slot] == 1
        with pytest.raises(BpfUsageError, match=r"a route to .* exists already"):
            obj[f"route_{kind}"].attach(route="10.9.0.0/24", interface="near", netns=netns)
    with pytest.raises(KernelCallError, match="ENETUNREACH"):
        here.send_to(b"x", "10.9.0.1", port=9)
    with pytest.raises(BpfUsageError, match="route= expects a destination"):
        obj[f"route_{kind}"].attach(route="10.9.0.1/24", interface="near", netns=netns)


@pytest.mark.attach_kind("lwt_xmit", option="update, next hop, headroom")
def test_a_route_is_given_another_program(bpf: Bpf, netns: Handle, pair: Handle) -> None:
    obj = bpf.load(OBJECT, only=["route_xmit", "route_xmit_pass"])
    there = bpf.socket("udp", netns=pair).bind("10.7.0.2")
    place = {"route": "10.9.0.0/24", "interface": "near", "via": "10.7.0.2", "headroom": 14, "netns": netns}
    with obj["route_xmit_pass"].attach(**place) as link:
        here = bpf.socket("udp", netns=netns)
        here.send_to(b"x", "10.9.0.1", port=there.port)
        assert obj.maps["counts"][4] == 1
        link.update(obj["route_xmit"])
        with pytest.raises(KernelCallError):
            bpf.socket("udp", netns=netns).send_to(b"x", "10.9.0.1", port=9)
    assert (obj.maps["counts"][3], obj.maps["counts"][4]) == (1, 1)


@pytest.mark.attach_kind("lwt_in")
def test_a_route_in(bpf: Bpf, bpf_vm: Any, netns: Handle, pair: Handle) -> None:
    obj = bpf.load(OBJECT, only=["route_in"])
    bpf_vm.run(["/bin/sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"], netns=pair, check=True)
    ip(bpf_vm, netns, "route add 10.9.0.0/24 via 10.7.0.2")
    with obj["route_in"].attach(route="10.9.0.0/24", interface="lo", netns=pair):
        bpf.socket("udp", netns=netns).send_to(b"x", "10.9.0.1", port=9)
        settled(lambda: obj.maps["counts"][1] > 0)


@pytest.mark.attach_kind("lwt_seg6local")
@pytest.mark.bpf_feature("config:CONFIG_IPV6_SEG6_BPF")
def test_a_segment_of_ipv6(bpf: Bpf, bpf_vm: Any, netns: Handle, pair: Handle) -> None:
    obj = bpf.load(OBJECT, only=["route_seg6local"])
    ip(bpf_vm, netns, "addr add fd07::1/64 dev near nodad")
    ip(bpf_vm, pair, "addr add fd07::2/64 dev far nodad")
    for name in ("all", "far"):
        for switch in ("forwarding", "seg6_enabled"):
            path = f"/proc/sys/net/ipv6/conf/{name}/{switch}"
            bpf_vm.run(["/bin/sh", "-c", f"echo 1 > {path}"], netns=pair, check=True)
    ip(bpf_vm, netns, "-6 route add fd09::/64 encap seg6 mode encap segs fd0a::1,fd0b::1 dev near via fd07::2")
    ip(bpf_vm, netns, "-6 route add fd0a::/64 via fd07::2")
    with obj["route_seg6local"].attach(route="fd0a::1/128", interface="far", netns=pair) as link:
        here = bpf.socket("udp", family="ipv6", netns=netns)

        def seen() -> bool:  # the first ones may be lost while the addresses are new
            here.send_to(b"x", "fd09::1", port=9)
            return bool(obj.maps["counts"][5])

        settled(seen)
        assert link.mechanism == "route"


@pytest.mark.attach_kind("flow_dissector")
@pytest.mark.parametrize("way", ["link", "attach"])
def test_flow_dissector(bpf: Bpf, netns: Handle, way: str) -> None:
    obj = bpf.load(OBJECT, only=["dissect"])
    sender = bpf.socket("packet", netns=netns).bind("lo")
    with obj["dissect"].attach(netns=netns, mechanism=way) as link:
        sender.send(FRAME)
        assert obj.maps["counts"][6] > 0
        assert [each.hook for each in bpf.attached(netns=netns)] == ["flow_dissector"]
        assert link.mechanism == {"link": "netns link", "attach": "flow dissector without link"}[way]
    seen = obj.maps["counts"][6]
    sender.send(FRAME)
    assert obj.maps["counts"][6] == seen
    assert bpf.attached(netns=netns) == ()


@pytest.mark.attach_kind("lirc_mode2")
@pytest.mark.bpf_feature("prog:lirc_mode2")
def test_infrared(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(OBJECT, only=["infrared"])
    if bpf_vm.run(["/sbin/modprobe", "rc-loopback"]).returncode:
        with pytest.raises(KernelCallError) as error:
            obj["infrared"].attach(device="/dev/lirc0")
        assert "rc-loopback" in str(error.value.hint)
        pytest.skip("no infrared receiver: this kernel has no module rc-loopback")
    send = "import struct; open('/dev/lirc0', 'wb', 0).write(struct.pack('=3I', 900, 500, 900))"
    with obj["infrared"].attach(device="/dev/lirc0") as link:
        assert [each.name for each in bpf.attached(device="/dev/lirc0")] == ["infrared"]
        bpf_vm.run(["/usr/bin/env", "python3", "-c", send], check=True)
        settled(lambda: obj.maps["counts"][7] > 0)
        assert link.mechanism == "lirc device"
    assert bpf.attached(device="/dev/lirc0") == ()


def test_places_that_do_not_exist(bpf: Bpf, netns: Handle) -> None:
    program = bpf.load(OBJECT, only=["xdp_pass"])["xdp_pass"]
    with pytest.raises(BpfUsageError, match="no network interface 'loo'") as error:
        program.attach(interface="loo")
    assert "did you mean lo?" in error.value.hint
    with pytest.raises(BpfUsageError, match="no network interface 'eth7' in that namespace") as error:
        program.attach(interface="eth7", netns=netns)
    assert "It has lo." in error.value.hint
    with pytest.raises(BpfUsageError, match=r"mode= must be one of skb, (.|\n)*did you mean native"):
        program.attach(interface="lo", mode="nativ")
    with pytest.raises(BpfUsageError, match="netns= expects a network namespace"):
        program.attach(interface="lo", netns=7)
    with pytest.raises(BpfUsageError, match=r"attach\(\) takes no direction"):
        program.attach(interface="lo", direction="ingress")
    with pytest.raises(BpfUsageError, match=r"attached\(\) takes no direction= with cgroup="):
        bpf.attached(cgroup="/sys/fs/cgroup", direction="ingress")
    with pytest.raises(BpfUsageError, match="needs a place"):
        bpf.attached()


def settled(question: Any, *, within: float = 5.0) -> None:
    """What happens a moment later, in another thread of the kernel."""
    deadline = time.monotonic() + within
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.02)
