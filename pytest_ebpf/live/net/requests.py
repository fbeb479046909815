"""rtnetlink requests of networks: devices, addresses, routes, neighbours. Pure: values to bytes."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.net.netlink import CREATE, EXCL, REPLACE, Attr, nested, request

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
    "configure",
    "parse_interface_address",
    "parse_network",
    "remove_link",
    "route_to",
    "set_link",
]

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAIN_TABLE, _STATIC, _UNIVERSE, _LINK_SCOPE, _UNICAST = 254, 4, 0, 253, 1  # linux/rtnetlink.h
_IFF_UP = 1
_ADDR_GEN_NONE = 1  # enum in6_addr_gen_mode
_IFA_F_NODAD = 2
_NUD_PERMANENT = 0x80
_NAME_SIZE = 15  # IFNAMSIZ without the NUL
_MTU = range(68, 65536)
_QUEUES = range(1, 4097)

HINTS: Mapping[int, str] = MappingProxyType(
    {  # what to do about a refusal, by errno
        errno.EEXIST: "It exists already.",
        errno.ENETUNREACH: "The next hop is in none of its networks: give an interface an address there first.",
        errno.ENODEV: "The interface does not exist any more.",
        errno.EADDRNOTAVAIL: "IPv6 is off here, or the address cannot be one of an interface.",
        errno.EPERM: "This needs root in the kernel that runs the test.",
        errno.EINVAL: "The value is not valid: an MTU beyond the limits of the device, or an unusable address.",
    }
)


@dataclass(frozen=True, slots=True)
class Device:
    """One end of a new pair. ``mtu`` and ``queues`` 0: the kernel chooses."""

    name: str
    mac: bytes
    mtu: int = 0
    queues: int = 0

    def check(self) -> Device:
        """Itself; ``BpfUsageError`` for a name, MTU or number of queues that is not valid."""
        if not 0 < len(self.name.encode()) <= _NAME_SIZE or set(self.name) & set("/: \t\n") or self.name in (".", ".."):
            rule = f"A name has 1 to {_NAME_SIZE} characters, without slash, colon and space."
            raise BpfUsageError(f"{self.name!r} is not a valid name of an interface", hint=rule)
        if self.mtu and self.mtu not in _MTU:
            raise BpfUsageError(f"mtu= must be between {_MTU[0]} and {_MTU[-1]}, got {self.mtu}")
        if self.queues and self.queues not in _QUEUES:
            raise BpfUsageError(f"queues= must be between {_QUEUES[0]} and {_QUEUES[-1]}, got {self.queues}")
        return self

    def attributes(self) -> list[Attr]:
        """As rtnetlink has them."""
        sizes: list[Attr] = [("IFLA_MTU", self.mtu)] if self.mtu else []
        if self.queues:
            sizes += [("IFLA_NUM_TX_QUEUES", self.queues), ("IFLA_NUM_RX_QUEUES", self.queues)]
        return [("IFLA_IFNAME", self.name), ("IFLA_ADDRESS", self.mac.hex(":")), *sizes]


def add_veth(near: Device, far: Device, *, namespace: int) -> bytes:
    """A pair, both ends down. ``namespace`` stands for the fd of the far end's namespace."""
    peer = nested(*far.attributes(), ("IFLA_NET_NS_FD", namespace))
    info = nested(("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", nested(("VETH_INFO_PEER", peer))))
    return request("RTM_NEWLINK", {}, attrs=[*near.attributes(), ("IFLA_LINKINFO", info)], flags=CREATE | EXCL)


def ask_link(name: str) -> bytes:
    """Everything about an interface."""
    return request("RTM_GETLINK", {}, attrs=[("IFLA_IFNAME", name)])


def set_link(index: int, *, up: bool | None = None, mtu: int = 0, quiet: bool = False) -> bytes:
    """Change an interface. ``quiet``: the kernel gives it no IPv6 address, which would cause traffic."""
    attrs: list[Attr] = [("IFLA_MTU", mtu)] if mtu else []
    if quiet:
        family = nested(("AF_INET6", nested(("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_NONE))))
        attrs.append(("IFLA_AF_SPEC", family))
    fields = {"index": index, "flags": _IFF_UP if up else 0, "change": 0 if up is None else _IFF_UP}
    return request("RTM_SETLINK", fields, attrs=attrs)


def remove_link(index: int) -> bytes:
    """Delete an interface; of a pair both ends."""
    return request("RTM_DELLINK", {"index": index})


def add_address(index: int, address: Address) -> bytes:
    """An address that can be used at once, without duplicate address detection."""
    fields = {"family": _family(address), "prefixlen": address.network.prefixlen, "index": index}
    plain = str(address.ip)
    attrs = [("IFA_LOCAL", plain), ("IFA_ADDRESS", plain), ("IFA_FLAGS", _IFA_F_NODAD)]
    return request("RTM_NEWADDR", fields, attrs=attrs, flags=CREATE | EXCL)


def add_route(network: Network, *, index: int = 0, via: str = "") -> bytes:
    """A route over an interface, a next hop, or both."""
    fields, attrs = route_to(network, index=index, via=str(_plain(via)) if via else "")
    return request("RTM_NEWROUTE", fields, attrs=attrs, flags=CREATE | EXCL)


def route_to(network: Network, *, index: int, via: str) -> tuple[dict[str, int], list[Attr]]:
    """The fields and attributes of a route."""
    fields = {
        "family": _family(network),
        "dst_len": network.prefixlen,
        "table": _MAIN_TABLE,
        "proto": _STATIC,
        "scope": _UNIVERSE if via or network.version == 6 else _LINK_SCOPE,
        "type": _UNICAST,
    }
    attrs: list[Attr] = [("RTA_DST", str(network.network_address))] if network.prefixlen else []
    attrs += [("RTA_GATEWAY", via)] if via else []
    return fields, attrs + ([("RTA_OIF", index)] if index else [])


def add_neighbour(index: int, address: str, *, mac: bytes) -> bytes:
    """A permanent neighbour entry, so that no ARP or ND is needed."""
    plain = _plain(address)
    fields = {"family": _family(plain), "ifindex": index, "state": _NUD_PERMANENT}
    attrs = [("NDA_DST", str(plain)), ("NDA_LLADDR", mac.hex(":"))]
    return request("RTM_NEWNEIGH", fields, attrs=attrs, flags=CREATE | REPLACE)


def configure(index: int, *, own: Sequence[Address], known: Sequence[Address], mac: str) -> list[bytes]:
    """Set one end of a pair up, with its addresses, and neighbour entries for those of the other end (``mac``)."""
    raw = bytes.fromhex(mac.replace(":", ""))
    return [
        set_link(index, quiet=True),
        set_link(index, up=True),
        *(add_address(index, address) for address in own),
        *(add_neighbour(index, str(address.ip), mac=raw) for address in known),
    ]


def parse_interface_address(address: object) -> Address:
    """Parse "10.0.0.1/24". ``BpfUsageError`` for anything else, also for an address without a prefix length."""
    try:
        if "/" not in str(address):
            raise ValueError("the prefix length is missing")
        return ipaddress.ip_interface(str(address))
    except ValueError as error:
        raise BpfUsageError(
            f"expected an address with a prefix length, got {address!r}: {error}",
            hint='Write "10.0.0.1/24" or "fd00::1/64".',
        ) from None


def parse_network(network: object) -> Network:
    """Parse "10.1.0.0/16", "default" (IPv4) or "default6"."""
    names = {"default": "0.0.0.0/0", "default6": "::/0"}
    try:
        return ipaddress.ip_network(names.get(str(network), str(network)))
    except ValueError as error:
        raise BpfUsageError(
            f"expected a network, got {network!r}: {error}", hint='Write "10.1.0.0/16" or "default".'
        ) from None


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(str(address))
    except ValueError as error:
        raise BpfUsageError(f"expected an address, got {address!r}: {error}") from None


def _family(address: object) -> int:
    return 2 if getattr(address, "version", 4) == 4 else 10
