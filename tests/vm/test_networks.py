"""Live networks: namespaces, pairs of interfaces, frames, sockets, and paths; on the host and in guests alike."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pytest_ebpf import ARP, IP, TC, TCP, UDP, VLAN, XDP, BpfUsageError, Eth, IPv6, KernelCallError
from support.paths import TESTS

VERDICTS = TESTS / "objects/built/any_verdict.bpf.o"
PACKET = Eth(dst="02:00:00:00:00:05") / IP(src="192.0.2.1") / UDP(dport=9) / b"payload"
MARKED = PACKET.replace("eth", dst="02:00:00:00:00:77")
COPIES = 3


# interfaces


def test_a_pair_is_quiet(bpf_veth: Any) -> None:
    assert bpf_veth.sniff(timeout=0.5) == []
    assert bpf_veth.a.sniff(timeout=0) == []


def test_what_goes_out_of_one_end_arrives_at_the_other(bpf_veth: Any) -> None:
    packets = [PACKET, Eth() / VLAN(id=7) / IP() / UDP(), Eth() / ARP(), Eth() / IPv6() / TCP(), bytes(14), bytes(1514)]
    bpf_veth.send(*packets)
    assert [bytes(packet) for packet in bpf_veth.sniff(count=6)] == [bytes(packet) for packet in packets]
    bpf_veth.b.send(PACKET)
    assert bytes(bpf_veth.a.sniff(count=1)[0]) == bytes(PACKET)
    assert bpf_veth.sniff(timeout=0) == []


def test_sniffing_for_some(bpf_veth: Any) -> None:
    bpf_veth.send(Eth() / ARP(), PACKET, Eth() / IP() / TCP(dport=80), Eth() / IP() / TCP(dport=81))
    assert [packet["tcp"]["dport"] for packet in bpf_veth.sniff(filter="tcp", count=1)] == [80]
    assert bpf_veth.sniff(timeout=0.1, filter=lambda packet: packet["tcp"]["dport"] == 81)[0]["tcp"]["dport"] == 81
    with bpf_veth.capture() as seen:
        bpf_veth.send(*[PACKET] * COPIES)
        assert len(seen.take(count=COPIES)) == COPIES
        assert seen.lost == 0
    assert len(bpf_veth.sniff(count=COPIES)) == COPIES
    bpf_veth.send(*[PACKET] * 2000)
    assert bpf_veth.b.capture().frames(count=2000) == [bytes(PACKET)] * 2000


def test_what_cannot_be_sniffed_or_sent(bpf_veth: Any) -> None:
    with pytest.raises(BpfUsageError, match="count= must be a number"):
        bpf_veth.sniff(count=-1)
    with pytest.raises(BpfUsageError, match="filter= expects the name of a header"):
        bpf_veth.sniff(filter=5)
    with pytest.raises(BpfUsageError, match="at least 14 bytes, got 13"):
        bpf_veth.send(bytes(13))
    with pytest.raises(TypeError, match="need bytes or a packet"):
        bpf_veth.send(5)
    with pytest.raises(KernelCallError, match=r"frame 1 of 1 \(2000 bytes\): Message too long\nIts MTU is 1500"):
        bpf_veth.send(bytes(2000))
    bpf_veth.a.down()
    with pytest.raises(KernelCallError, match=r"Network is down\nIt is down"):
        bpf_veth.send(PACKET)


def test_mtu_queues_and_names(bpf_netns: Any) -> None:
    pair = bpf_netns.veth("left", "right", mtu=9000, queues=4)
    pair.send(bytes(9014))
    assert len(bytes(pair.sniff(count=1)[0])) == 9014
    assert (pair.a.mtu, pair.b.mtu, pair.a.set(mtu=1400).mtu) == (9000, 9000, 1400)
    queues = bpf_netns.run(
        ["ls", "/sys/class/net"]
    ).text  # of the mount's namespace: the command sees its own by netlink
    assert queues
    assert "numtxqueues 4 numrxqueues 4" in bpf_netns.run(["ip", "-d", "link", "show", "left"], check=True).text
    assert bpf_netns.interfaces == ["lo", "left"]
    found = bpf_netns.interface("left")
    assert (found.index, found.mac) == (pair.a.index, pair.a.mac)
    pair.delete()
    assert (bpf_netns.interfaces, pair.b.netns.interfaces) == (["lo"], ["lo"])


def test_interfaces_that_cannot_be(bpf_netns: Any) -> None:
    bpf_netns.veth("left", "right")
    with pytest.raises(BpfUsageError, match="interface left exists already"):
        bpf_netns.veth("left", "other")
    with pytest.raises(
        BpfUsageError, match="'much-too-long-name' is not a valid name of an interface\nA name has 1 to 15"
    ):
        bpf_netns.veth("much-too-long-name", "x")
    with pytest.raises(BpfUsageError, match=r"expected an address.*got '10\.0\.0\.300/24'"):
        bpf_netns.veth(addresses=["10.0.0.300/24"])
    with pytest.raises(BpfUsageError, match="the prefix length is missing"):
        bpf_netns.veth(addresses=["10.0.0.1"])
    with pytest.raises(BpfUsageError, match=r"mtu= must be between .* got 5"):
        bpf_netns.veth(mtu=5)
    with pytest.raises(BpfUsageError, match=r"queues= must be between .* got 5000"):
        bpf_netns.veth(queues=5000)
    with pytest.raises(BpfUsageError, match=r"no network interface 'lefft' in that namespace\ndid you mean left"):
        bpf_netns.interface("lefft")
    assert bpf_netns.interfaces == ["lo", "left"]


def test_addresses_and_routes(bpf_netns: Any) -> None:
    """near - middle - far: packets cross a router."""
    router = bpf_netns.new()
    first = bpf_netns.veth(peer=router, addresses=["10.1.0.1/24"], peer_addresses=["10.1.0.254/24"])
    second = router.veth(addresses=["10.2.0.254/24"], peer_addresses=["10.2.0.1/24"])
    router.sysctl("net.ipv4.ip_forward", 1)
    bpf_netns.route("10.2.0.0/16", via="10.1.0.254")
    second.b.netns.route("default", via="10.2.0.254")
    server = second.b.netns.listen("10.2.0.1", kind="udp")
    bpf_netns.connect("10.2.0.1", server.port, kind="udp").send(b"over there")
    data, sender = server.recv_from()
    assert (data, sender.host) == (b"over there", "10.1.0.1")
    with pytest.raises(KernelCallError, match=r"route 10\.3\.0\.0/16: Network is unreachable"):
        bpf_netns.route("10.3.0.0/16", via="10.99.0.1")
    with pytest.raises(KernelCallError, match="File exists"):
        first.a.add_address("10.1.0.1/24")
    with pytest.raises(BpfUsageError, match=r"expected a network, got '10\.3\.0\.0/99'"):
        bpf_netns.route("10.3.0.0/99", via="10.1.0.254")
    with pytest.raises(BpfUsageError, match="needs via=, interface="):
        bpf_netns.route("10.3.0.0/16")


# sockets


def test_echo(bpf_veth: Any) -> None:
    assert bpf_veth.echo(b"x" * 100_000) == b"x" * 100_000
    assert bpf_veth.echo(b"hello", kind="udp", port=5353) == b"hello"
    assert bpf_veth.enable_ipv6().echo(b"six", family="ipv6") == b"six"
    tcp = bpf_veth.sniff(timeout=0, filter="tcp")
    assert {packet["ip"]["dst"] for packet in tcp if "ip" in packet} == {bpf_veth.b.ip}


def test_nobody_there(bpf_veth: Any) -> None:
    client = bpf_veth.a.netns
    with pytest.raises(KernelCallError, match="ECONNREFUSED"):
        client.connect(bpf_veth.b.ip, 9)
    with pytest.raises(KernelCallError, match="ENETUNREACH"):
        client.connect("192.0.2.1", 9)
    bpf_veth.b.down()
    with pytest.raises(KernelCallError, match="ETIMEDOUT"):
        client.connect(bpf_veth.b.ip, 9, timeout=0.3)


def test_commands_in_a_namespace(bpf_netns: Any, bpf_vm: Any) -> None:
    show = ["ip", "-o", "link"]
    assert len(bpf_netns.run(show).lines) == 1
    assert bpf_vm.run(show, netns=bpf_netns).lines == bpf_netns.run(show).lines
    server = bpf_netns.start(["sleep", "1000"])
    assert server.poll() is None


def test_a_namespace_with_a_name(bpf_netns: Any, bpf_vm: Any) -> None:
    space = bpf_netns.new("pytest-ebpf-named")
    assert "pytest-ebpf-named" in bpf_vm.run(["ip", "netns", "list"]).text
    with pytest.raises(KernelCallError, match="EEXIST"):
        bpf_netns.new("pytest-ebpf-named")
    space.close()
    assert "pytest-ebpf-named" not in bpf_vm.run(["ip", "netns", "list"]).text


# programs at either end


@pytest.mark.parametrize("mode", ["skb", "native"])
def test_xdp_at_either_end(bpf: Any, bpf_veth: Any, mode: str) -> None:
    obj = bpf.load(VERDICTS)
    obj.globals["verdict"] = XDP.DROP
    with obj["any_xdp"].attach(interface=bpf_veth.b, mode=mode):
        bpf_veth.send(PACKET)
        assert bpf_veth.sniff(timeout=0.2) == []
    with obj["any_xdp"].attach(interface="veth_a", netns=bpf_veth.a.netns, mode=mode):
        bpf_veth.b.send(PACKET)
        assert bpf_veth.a.sniff(timeout=0.2) == []
        bpf_veth.send(PACKET)
        assert len(bpf_veth.sniff(count=1)) == 1
    assert obj.globals["seen"] == 2


def test_tc_at_either_end(bpf: Any, bpf_veth: Any) -> None:
    obj = bpf.load(VERDICTS)
    obj.globals["verdict"] = TC.SHOT
    with obj["any_tc_egress"].attach(interface=bpf_veth.a):
        bpf_veth.send(PACKET)
        assert bpf_veth.sniff(timeout=0.2) == []
    behind = bpf_veth.b.behind_tc()
    with obj["any_tc"].attach(interface=bpf_veth.b, direction="ingress"):
        bpf_veth.send(PACKET)
        assert len(bpf_veth.sniff(count=1)) == 1  # it arrives, ...
        assert behind.take(timeout=0.2) == []  # ... and goes no further
    bpf_veth.send(PACKET)
    assert len(behind.take(count=1)) == 1
    assert obj.globals["seen"] == 2


def test_a_program_stops_tcp(bpf: Any, bpf_veth: Any) -> None:
    obj = bpf.load(VERDICTS)
    obj.globals["verdict"] = TC.SHOT
    with (
        obj["any_tc"].attach(interface=bpf_veth.b, direction="ingress"),
        pytest.raises(KernelCallError, match="ETIMEDOUT"),
    ):
        bpf_veth.echo(b"x", timeout=0.3)
    assert bpf_veth.echo(b"x") == b"x"


# paths


@pytest.mark.parametrize(
    ("program", "told", "seen"),
    [
        ("any_xdp", XDP.PASS, XDP.PASS),
        ("any_xdp", XDP.DROP, XDP.DROP),
        ("any_xdp", XDP.ABORTED, XDP.DROP),
        ("any_xdp", XDP.TX, XDP.TX),
        ("any_xdp", XDP.REDIRECT, XDP.REDIRECT),
        ("any_tc", TC.OK, TC.OK),
        ("any_tc", TC.UNSPEC, TC.OK),
        ("any_tc", TC.SHOT, TC.SHOT),
        ("any_tc", TC.REDIRECT, TC.REDIRECT),
        ("any_tc_egress", TC.OK, TC.OK),
        ("any_tc_egress", TC.SHOT, TC.SHOT),
    ],
    ids=str,
)
def test_every_verdict_by_both_paths(bpf: Any, bpf_datapath: Any, program: str, told: int, seen: int) -> None:
    obj = bpf.load(VERDICTS)
    obj.globals["verdict"] = told
    obj.globals["mark"] = 0x77
    obj.globals["target"] = bpf_datapath.out.index
    result = bpf_datapath.run(obj[program], PACKET)
    assert result.verdict == seen
    assert bytes(result) == (b"" if result.dropped else bytes(MARKED))
    assert result.retval == (told if bpf_datapath.name == "test_run" else None)
    assert obj.globals["seen"] == 1


def test_paths_agree(bpf: Any, bpf_datapath: Any) -> None:
    obj = bpf.load(VERDICTS)
    obj.globals["verdict"] = XDP.PASS
    packets = [PACKET, Eth() / VLAN(id=7) / IP() / UDP(), Eth() / ARP(), Eth() / IPv6() / TCP(), bytes(Eth() / IP())]
    here = [bpf_datapath.run(obj["any_xdp"], packet) for packet in packets]
    there = [bpf_datapath.on("wire").run(obj["any_xdp"], packet) for packet in packets]
    assert here == there
    obj.globals["verdict"] = XDP.DROP
    assert bpf_datapath.run(obj["any_xdp"], PACKET) != here[0]


def test_a_native_path(bpf: Any, bpf_datapath: Any) -> None:
    obj = bpf.load(VERDICTS)
    obj.globals["target"] = bpf_datapath.out.index
    for mode in ("native", "skb", "native"):
        bpf_datapath.mode = mode
        for verdict in (XDP.PASS, XDP.DROP, XDP.TX, XDP.REDIRECT):
            obj.globals["verdict"] = verdict
            assert bpf_datapath.run(obj["any_xdp"], PACKET).verdict == verdict


def test_what_has_no_path(bpf: Any, bpf_datapath: Any) -> None:
    obj = bpf.load(VERDICTS)
    with pytest.raises(BpfUsageError, match="no_path is a socket_filter program"):
        bpf_datapath.run(obj["no_path"], PACKET)
    with pytest.raises(BpfUsageError, match="a path must be one of test_run, wire, got 'wires'"):
        bpf_datapath.on("wires")


@pytest.mark.parametrize("bpf_datapath", ["wire"], indirect=True)
def test_a_packet_that_does_not_get_there(bpf: Any, bpf_datapath: Any) -> None:
    obj = bpf.load(VERDICTS)
    first = bpf.load(VERDICTS)
    obj.globals["verdict"], first.globals["verdict"] = XDP.PASS, TC.SHOT
    with (
        first["any_tc_egress"].attach(interface=bpf_datapath.veth.a),
        pytest.raises(AssertionError, match=r"did not reach any_xdp at far within 0\.2 s"),
    ):
        bpf_datapath.run(obj["any_xdp"], PACKET, timeout=0.2)
    assert bpf_datapath.run(obj["any_xdp"], PACKET).verdict == XDP.PASS


# endurance


@pytest.mark.slow
def test_a_thousand_pairs_leave_nothing(bpf_kernel: Any, bpf_vm: Any) -> None:
    from pytest_ebpf.live.net.netns import Netns
    from pytest_ebpf.live.session import Session

    rounds = 1000 if bpf_kernel.shared else 200
    session = Session(bpf_kernel.running)
    space = Netns(session)
    peer = space.new()
    for number in range(rounds):
        pair = space.veth(peer=peer, addresses=["10.0.0.1/24"])
        if number % 2:
            pair.delete()
        else:
            space.interface(pair.a.name).delete()
        assert space.interfaces == ["lo"]
    assert peer.interfaces == ["lo"]
    kept = [space.veth(peer=peer) for _ in range(20)]
    assert len(space.interfaces) == len(kept) + 1
    assert session.close() == ()
    deadline = time.monotonic() + 10
    while (left := _namespaces(bpf_vm)) > 1 and not bpf_kernel.shared and time.monotonic() < deadline:
        time.sleep(0.2)  # the kernel takes them down in the background
    assert left == 1 or bpf_kernel.shared


def _namespaces(bpf_vm: Any) -> int:
    """How many network namespaces processes are in."""
    return len(set(bpf_vm.run(["sh", "-c", "readlink /proc/[0-9]*/ns/net"]).lines))


def test_a_namespace_a_pair_and_an_interface_end_with_their_blocks(bpf_netns: Any) -> None:
    with bpf_netns.new() as other:
        with other.veth("one", "two", peer=bpf_netns) as veth:
            assert ("one" in other.interfaces, "two" in bpf_netns.interfaces) == (True, True)
        assert ("one" in other.interfaces, "two" in bpf_netns.interfaces) == (False, False)
        veth.close()  # twice is harmless
        other.veth("three", "four", peer=bpf_netns)
        with other.interface("three"):
            pass
        assert "four" not in bpf_netns.interfaces
    other.close()
    with pytest.raises(KernelCallError):
        other.veth("five", "six", peer=bpf_netns)
