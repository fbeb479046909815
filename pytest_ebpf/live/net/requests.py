"""rtnetlink requests of networks: devices, addresses, routes, neighbours. Pure: values to bytes.

include/uapi/linux/if_link.h, if_addr.h, rtnetlink.h, neighbour.h, veth.h.
"""

from __future__ import annotations

import errno
import ipaddress
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.net.netlink import CREATE, EXCL, REPLACE, blob, nest, number, request, text

__all__ = [
    "HINTS",
    "Address",
    "Device",
    "Network",
    "add_address",
    "add_neighbour",
    "add_route",
    "add_veth",
    "ask_link",
    "parse_interface_address",
    "parse_network",
    "remove_link",
    "set_link",
]

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEWLINK, _DELLINK, _GETLINK, _SETLINK, _NEWADDR, _NEWROUTE, _NEWNEIGH = 16, 17, 18, 19, 20, 24, 28
_IFINFO, _IFADDR = struct.Struct("=BxHiII"), struct.Struct("=BBBBI")
_RTMSG, _NDMSG = struct.Struct("=BBBBBBBBI"), struct.Struct("=BxxxiHBB")
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 1, 3, 4, 18, 26, 28
_IFLA_TX_QUEUES, _IFLA_RX_QUEUES = 31, 32
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 8, 1
_IFF_UP = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _IFA_F_NODAD = 1, 2, 8, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_MAIN_TABLE, _STATIC, _UNIVERSE, _LINK_SCOPE, _UNICAST = 254, 4, 0, 253, 1
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80
_NAME_SIZE = 15  # IFNAMSIZ without the NUL
_MTU = range(68, 65536)
_QUEUES = range(1, 4097)

HINTS: Mapping[int, str] = MappingProxyType(
    {  # what to do about a refusal, by errno
        errno.EEXIST: "It is there already.",
        errno.ENETUNREACH: "The next hop is in none of its networks: give an interface an address there first.",
        errno.ENODEV: "The interface is gone.",
        errno.EADDRNOTAVAIL: "IPv6 is off here, or the address cannot be one of an interface.",
        errno.EPERM: "This needs root in the kernel that runs the test.",
        errno.EINVAL: "The value is not valid: an MTU beyond the limits of the device, or an unusable address.",
    }
)


@dataclass(frozen=True, slots=True)
class Device:
    """One end of a pair to be. ``mtu`` and ``queues`` 0: the kernel's choice."""

    name: str
    mac: bytes
    mtu: int = 0
    queues: int = 0

    def check(self) -> Device:
        """Itself; ``BpfUsageError`` says what no device can have."""
        if not 0 < len(self.name.encode()) <= _NAME_SIZE or set(self.name) & set("/: \t\n") or self.name in (".", ".."):
            rule = f"A name has 1 to {_NAME_SIZE} characters, without slash, colon and space."
            raise BpfUsageError(f"{self.name!r} cannot name an interface", hint=rule)
        if self.mtu and self.mtu not in _MTU:
            raise BpfUsageError(f"mtu={self.mtu} is not between {_MTU[0]} and {_MTU[-1]}")
        if self.queues and self.queues not in _QUEUES:
            raise BpfUsageError(f"queues={self.queues} is not between {_QUEUES[0]} and {_QUEUES[-1]}")
        return self

    def attributes(self) -> list[bytes]:
        """As rtnetlink has them."""
        return [
            text(_IFLA_IFNAME, self.name),
            blob(_IFLA_ADDRESS, self.mac),
            *([number(_IFLA_MTU, self.mtu)] if self.mtu else []),
            *([number(_IFLA_TX_QUEUES, self.queues), number(_IFLA_RX_QUEUES, self.queues)] if self.queues else []),
        ]


def add_veth(near: Device, far: Device, *, namespace: int) -> bytes:
    """A pair, both ends down. ``namespace`` stands where the fd of the far end's namespace goes."""
    peer = _IFINFO.pack(0, 0, 0, 0, 0) + b"".join(far.attributes()) + number(_IFLA_NET_NS_FD, namespace)
    info = nest(_IFLA_LINKINFO, text(_INFO_KIND, "veth"), nest(_INFO_DATA, blob(_VETH_PEER, peer)))
    body = _IFINFO.pack(0, 0, 0, 0, 0) + b"".join(near.attributes()) + info
    return request(_NEWLINK, body, flags=CREATE | EXCL)


def ask_link(name: str) -> bytes:
    """All about an interface."""
    return request(_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0) + text(_IFLA_IFNAME, name))


def set_link(index: int, *, up: bool | None = None, mtu: int = 0, quiet: bool = False) -> bytes:
    """Change an interface. ``quiet``: no IPv6 address of its own making, and so no traffic about that."""
    spec = nest(_IFLA_AF_SPEC, nest(10, blob(_INET6_ADDR_GEN_MODE, bytes([_ADDR_GEN_NONE])))) if quiet else b""
    flags, mask = (_IFF_UP if up else 0), 0 if up is None else _IFF_UP
    body = _IFINFO.pack(0, 0, index, flags, mask) + (number(_IFLA_MTU, mtu) if mtu else b"") + spec
    return request(_SETLINK, body)


def remove_link(index: int) -> bytes:
    """An interface goes; of a pair both ends."""
    return request(_DELLINK, _IFINFO.pack(0, 0, index, 0, 0))


def add_address(index: int, address: Address) -> bytes:
    """An address is there at once: nobody looks for duplicates first."""
    family = _family(address)
    body = _IFADDR.pack(family, address.network.prefixlen, 0, _UNIVERSE, index)
    packed = address.ip.packed
    return request(
        _NEWADDR,
        body + blob(_IFA_LOCAL, packed) + blob(_IFA_ADDRESS, packed) + number(_IFA_FLAGS, _IFA_F_NODAD),
        flags=CREATE | EXCL,
    )


def add_route(network: Network, *, index: int = 0, via: str = "") -> bytes:
    """A route over an interface, a next hop, or both."""
    gateway = blob(_RTA_GATEWAY, _plain(via).packed) if via else b""
    scope = _UNIVERSE if gateway or network.version == 6 else _LINK_SCOPE
    head = _RTMSG.pack(_family(network), network.prefixlen, 0, 0, _MAIN_TABLE, _STATIC, scope, _UNICAST, 0)
    target = blob(_RTA_DST, network.network_address.packed) if network.prefixlen else b""
    out = number(_RTA_OIF, index) if index else b""
    return request(_NEWROUTE, head + target + gateway + out, flags=CREATE | EXCL)


def add_neighbour(index: int, address: str, *, mac: bytes) -> bytes:
    """Who has an address, known for ever: nobody needs to be asked."""
    plain = _plain(address)
    body = _NDMSG.pack(_family(plain), index, _NUD_PERMANENT, 0, 0)
    return request(_NEWNEIGH, body + blob(_NDA_DST, plain.packed) + blob(_NDA_LLADDR, mac), flags=CREATE | REPLACE)


def parse_interface_address(address: object) -> Address:
    """ "10.0.0.1/24". ``BpfUsageError`` for what is none, and for one without a prefix length."""
    try:
        if "/" not in str(address):
            raise ValueError("the prefix length is missing")
        return ipaddress.ip_interface(str(address))
    except ValueError as error:
        raise BpfUsageError(
            f"{address!r} is no address: {error}", hint='Write "10.0.0.1/24" or "fd00::1/64".'
        ) from None


def parse_network(network: object) -> Network:
    """ "10.1.0.0/16", "default" (IPv4) or "default6"."""
    words = {"default": "0.0.0.0/0", "default6": "::/0"}
    try:
        return ipaddress.ip_network(words.get(str(network), str(network)))
    except ValueError as error:
        raise BpfUsageError(f"{network!r} is no network: {error}", hint='Write "10.1.0.0/16" or "default".') from None


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(str(address))
    except ValueError as error:
        raise BpfUsageError(f"{address!r} is no address: {error}") from None


def _family(address: object) -> int:
    return 2 if getattr(address, "version", 4) == 4 else 10
