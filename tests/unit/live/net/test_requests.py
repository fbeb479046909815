"""Requests of networks: the bytes of each, fixed before pyroute2 built them, and their fields as pyroute2 reads."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.net import requests
from support.netlink_bytes import without_marks
from support.paths import TESTS

MAC = bytes.fromhex("02ebbf00000a")
NEAR = requests.Device("left", MAC, mtu=9000, queues=4)
FAR = requests.Device("right", MAC[:5] + b"\x0b")


GOLDEN = json.loads((TESTS / "data/netlink/requests.json").read_text())
NETWORK = requests.parse_network("10.2.0.0/16")
REQUESTS: dict[str, Callable[[], bytes]] = {
    "pair": lambda: requests.add_veth(NEAR, FAR, namespace=77),
    "ask": lambda: requests.ask_link("lo"),
    "up": lambda: requests.set_link(7, up=True),
    "down": lambda: requests.set_link(7, up=False),
    "mtu": lambda: requests.set_link(7, mtu=1400),
    "quiet": lambda: requests.set_link(7, quiet=True),
    "remove": lambda: requests.remove_link(7),
    "address4": lambda: requests.add_address(7, requests.parse_interface_address("10.0.0.1/24")),
    "address6": lambda: requests.add_address(7, requests.parse_interface_address("fd00::1/64")),
    "route via": lambda: requests.add_route(NETWORK, index=3, via="10.1.0.254"),
    "route dev": lambda: requests.add_route(NETWORK, index=3),
    "route default6": lambda: requests.add_route(requests.parse_network("default6"), index=3),
    "route via6": lambda: requests.add_route(requests.parse_network("fd01::/64"), via="fd00::9"),
    "neighbour4": lambda: requests.add_neighbour(3, "10.0.0.2", mac=MAC),
    "neighbour6": lambda: requests.add_neighbour(3, "fd00::2", mac=MAC),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_bytes_of_a_request(name: str) -> None:
    golden, made = without_marks(GOLDEN[name], REQUESTS[name]())
    assert made.hex() == golden.hex()


def read(kind: type[Any], data: bytes) -> Any:
    message = kind(data)
    message.decode()
    return message


def test_a_pair() -> None:
    message = read(ifinfmsg, requests.add_veth(NEAR, FAR, namespace=77))
    assert message["header"]["type"] == 16
    assert message["header"]["flags"] == 0x605  # request, acknowledge, create, exclusive
    assert message.get_attr("IFLA_IFNAME") == "left"
    assert message.get_attr("IFLA_ADDRESS") == "02:eb:bf:00:00:0a"
    assert message.get_attr("IFLA_MTU") == 9000
    assert (message.get_attr("IFLA_NUM_TX_QUEUES"), message.get_attr("IFLA_NUM_RX_QUEUES")) == (4, 4)
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert peer.get_attr("IFLA_IFNAME") == "right"
    assert peer.get_attr("IFLA_NET_NS_FD") == 77
    assert peer.get_attr("IFLA_MTU") is None


def test_changing_a_link() -> None:
    up = read(ifinfmsg, requests.set_link(7, up=True))
    assert (up["index"], up["flags"] & 1, up["change"]) == (7, 1, 1)
    down = read(ifinfmsg, requests.set_link(7, up=False))
    assert (down["flags"] & 1, down["change"]) == (0, 1)
    mtu = read(ifinfmsg, requests.set_link(7, mtu=1400))
    assert (mtu["change"], mtu.get_attr("IFLA_MTU")) == (0, 1400)
    assert read(ifinfmsg, requests.remove_link(7))["header"]["type"] == 17


@pytest.mark.parametrize(("text", "family", "length"), [("10.0.0.1/24", 2, 24), ("fd00::1/64", 10, 64)])
def test_addresses(text: str, family: int, length: int) -> None:
    address = requests.parse_interface_address(text)
    message = read(ifaddrmsg, requests.add_address(7, address))
    assert (message["family"], message["prefixlen"], message["index"]) == (family, length, 7)
    assert message.get_attr("IFA_ADDRESS") == message.get_attr("IFA_LOCAL") == str(address.ip)
    assert message.get_attr("IFA_FLAGS") == 2  # nobody looks for duplicates


def test_routes() -> None:
    network = requests.parse_network("10.2.0.0/16")
    message = read(rtmsg, requests.add_route(network, index=3, via="10.1.0.254"))
    assert (message["dst_len"], message["table"], message["scope"]) == (16, 254, 0)
    attributes = dict(message["attrs"])
    assert (attributes["RTA_DST"], attributes["RTA_GATEWAY"], attributes["RTA_OIF"]) == ("10.2.0.0", "10.1.0.254", 3)
    default = read(rtmsg, requests.add_route(requests.parse_network("default6"), index=3))
    assert (default["family"], default["dst_len"], dict(default["attrs"])) == (10, 0, {"RTA_OIF": 3})


def test_neighbours() -> None:
    message = read(ndmsg, requests.add_neighbour(3, "10.0.0.2", mac=MAC))
    assert (message["ifindex"], message["state"]) == (3, 0x80)
    assert message.get_attr("NDA_DST") == "10.0.0.2"
    assert message.get_attr("NDA_LLADDR") == "02:eb:bf:00:00:0a"


@pytest.mark.parametrize("text", ["", "10.0.0.1", "10.0.0.1/33", "10.0.0.256/24", "host/24", None, 5])
def test_what_is_no_address(text: object) -> None:
    with pytest.raises(BpfUsageError, match="expected an address"):
        requests.parse_interface_address(text)


def test_what_is_no_network_or_device() -> None:
    with pytest.raises(BpfUsageError, match="host bits set"):
        requests.parse_network("10.2.0.1/16")
    with pytest.raises(BpfUsageError, match="expected an address, got 'x'"):
        requests.add_route(ipaddress.ip_network("10.2.0.0/16"), via="x")
    for name in ("", "sixteen-letters-", "a/b", "a b", ".", "a:b"):
        with pytest.raises(BpfUsageError, match="is not a valid name of an interface"):
            requests.Device(name, MAC).check()
    assert NEAR.check() is NEAR
