"""Network interfaces by name, in the namespace of the test or another one."""

from __future__ import annotations

import struct

from pytest_ebpf.agent.ops import Data, Failed, Handle, ReadFile
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.net.netlink import DUMP, attributes, messages, netlink_op, request
from pytest_ebpf.live.session import Session
from pytest_ebpf.suggest import did_you_mean

__all__ = ["Interface", "all_interfaces", "find_interface"]

_RTM_NEWLINK = 16
_IFINFO = struct.Struct("=BxHiII")  # struct ifinfomsg
_IFLA_IFNAME = 3


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface. ``netns``: its namespace, None for the one in which the system calls are made."""

    name: str
    index: int
    netns: Handle | None


def find_interface(session: Session, interface: object, *, netns: object = None) -> Interface:
    """An interface given by name, by index, or by an object with an ``index`` and maybe a ``netns`` (``veth.b``).
    ``BpfUsageError`` if the name does not exist."""
    if netns is None and not isinstance(interface, str):
        netns = getattr(interface, "netns", None)
    place = None if netns is None else netns_handle(session, netns)
    index = interface if isinstance(interface, int) else getattr(interface, "index", None)
    if isinstance(index, int) and not isinstance(interface, str):
        return Interface(str(getattr(interface, "name", interface)), index, place)
    if not isinstance(interface, str):
        raise BpfUsageError(f"interface= expects the name or the index of a network interface, got {interface!r}")
    return Interface(interface, _index(session, interface, netns=place), place)


def _index(session: Session, name: str, *, netns: Handle | None) -> int:
    if netns is None:
        read = session.attempt(ReadFile(f"/sys/class/net/{name}/ifindex"), Data)
        if not isinstance(read, Failed):
            return int(read.data)
    known = all_interfaces(session, netns=netns)
    if name in known:
        return known[name]
    near = did_you_mean(name, known, most=2, otherwise="")
    raise BpfUsageError(
        f"kernel {session.target.name} has no network interface {name!r}{' in that namespace' if netns else ''}",
        hint=f"{near}{' ' if near else ''}It has {', '.join(sorted(known)) or 'none'}.",
    )


def all_interfaces(session: Session, *, netns: Handle | None) -> dict[str, int]:
    """Name -> index; empty where the kernel does not report them."""
    answer = session.attempt(netlink_op(request("RTM_GETLINK", {}, flags=DUMP), netns=netns), Data)
    found: dict[str, int] = {}
    for kind, body in messages(answer.data) if isinstance(answer, Data) else ():
        if kind == _RTM_NEWLINK:
            name = attributes(body[_IFINFO.size :]).get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
            found[name] = _IFINFO.unpack_from(body)[2]
    return found
