"""Where scapy's frame is not what Linux takes: what a kernel does with it and with ours. docs/packets.md says it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_ebpf import GENEVE, IP, MPLS, UDP, VXLAN, Eth, Packet
from support.paths import ROOT

INNER = Eth(src="02:00:00:00:00:07", dst="02:00:00:00:00:08") / IP() / UDP(dport=9) / b"inner"
PAGE = (ROOT / "docs/packets.md").read_text()


def errors(space: Any, name: str) -> int:
    """How many frames an interface counted as wrong."""
    (link,) = json.loads(space.run(["ip", "-s", "-j", "link", "show", "dev", name]).stdout)
    return int(link["stats64"]["rx"]["errors"])


def tunnel(veth: Any, kind: str, *, options: str) -> Any:
    """A tunnel's interface at the far end."""
    space = veth.b.netns
    made = space.run(["ip", *f"link add tun type {kind} id 7 {options}".split()], check=False)
    if made.returncode and b"Unknown device type" in made.stderr:
        pytest.skip(f"this kernel has no {kind} interfaces: {made.stderr.decode().strip()}")
    assert made.returncode == 0, made.stderr
    space.run(["ip", "link", "set", "tun", "up"])
    device = space.interface("tun")
    assert device.sniff(timeout=0) == []
    return device


def fate(veth: Any, device: Any, packet: Packet) -> str:
    """What comes out of the tunnel."""
    veth.a.send(Eth(src=veth.a.mac, dst=veth.b.mac) / IP(src=veth.a.ip, dst=veth.b.ip) / packet)
    found = [bytes(one) for one in device.sniff(timeout=0.5)]
    assert found in ([], [bytes(INNER)])
    return "the inner frame arrives" if found else "dropped"


def told(name: str, ours: str, theirs: str) -> None:
    """The page says the same."""
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert row.endswith(f"| {theirs} | {ours} |")


def test_15_vxlan_with_the_bit_of_gpe(bpf_veth: Any) -> None:
    device = tunnel(bpf_veth, "vxlan", options=f"dstport 4789 local {bpf_veth.b.ip} remote {bpf_veth.a.ip}")
    ours = fate(bpf_veth, device, UDP(dport=4789) / VXLAN(vni=7) / INNER)
    space = bpf_veth.b.netns
    assert errors(space, "tun") == 0
    theirs = fate(bpf_veth, device, UDP(dport=4789) / VXLAN(vni=7, flags=0x0C, reserved1=3) / INNER)
    release = tuple(map(int, space.run(["uname", "-r"]).stdout.split(b".")[:2]))
    if not (6, 12) < release < (6, 18):  # the ones between were not looked at
        assert errors(space, "tun") == (release >= (6, 18))
    told("VXLAN() / Ether()", ours, theirs)


def test_15_geneve_from_the_port_of_dns(bpf_veth: Any) -> None:
    device = tunnel(bpf_veth, "geneve", options=f"remote {bpf_veth.a.ip}")
    told(
        "UDP() / GENEVE()",
        fate(bpf_veth, device, UDP() / GENEVE(vni=7) / INNER),
        fate(bpf_veth, device, UDP(sport=53) / GENEVE(vni=7) / INNER),
    )


def test_15_mpls_without_time_to_live(bpf_veth: Any) -> None:
    space, name = bpf_veth.b.netns, bpf_veth.b.name
    space.run(["modprobe", "mpls_router"], check=False)
    if space.run(["test", "-e", "/proc/sys/net/mpls"], check=False).returncode:
        pytest.skip("this kernel routes no MPLS: it has no /proc/sys/net/mpls")
    out = space.veth("to", "from", addresses=["10.9.0.1/24"], peer_addresses=["10.9.0.2/24"])
    space.sysctl("net.mpls.platform_labels", 1000)
    space.sysctl(f"net.mpls.conf.{name}.input", 1)
    space.run(["ip", "-f", "mpls", "route", "add", "100", "via", "inet", "10.9.0.2", "dev", "to"])
    fates, counted = [], []
    for ttl in (64, 0):
        labels = MPLS(label=100, ttl=ttl) / MPLS(label=200, ttl=ttl - 1 if ttl else 0)
        bpf_veth.a.send(Eth(src=bpf_veth.a.mac, dst=bpf_veth.b.mac) / labels / INNER.payload)
        found = out.b.sniff(timeout=0.5)
        (table,) = json.loads(space.run(f"ip -j -s -f mpls stats show dev {name} group afstats".split()).stdout)
        counted.append([table["mpls_stats"]["rx"][kind] for kind in ("packets", "errors")])
        assert [bytes(one)[14:] for one in found] in ([], [bytes(labels / INNER.payload)[4:]])
        fates.append("goes on with its second label" if found else "dropped")
    assert counted == [[1, 0], [2, 1]]
    told("MPLS()", fates[0], fates[1])
