"""The types of what ``attach`` takes: one ``TypedDict`` of all options, and a check of targets at run time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Literal, Protocol, TypedDict

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.machine.cgroup import Cgroup
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.net.sockets import Socket

__all__ = ["AttachOptions", "AttachTarget", "HasHandle", "HasIndex", "check_targets"]


class HasIndex(Protocol):
    """A network interface of the test, such as ``veth.b``."""

    @property
    def index(self) -> int: ...


class HasHandle(Protocol):
    """A network namespace of the test: ``bpf_netns``."""

    @property
    def handle(self) -> Handle: ...


InterfaceArg = str | int | HasIndex
NetnsArg = str | os.PathLike[str] | Handle | HasHandle
CgroupArg = Cgroup | str
RouteArg = str | IPv4Network | IPv6Network
AddressArg = str | IPv4Address | IPv6Address
FunctionArg = str | int | Sequence[str | int]
EventArg = str | tuple[int, int]
BeforeArg = AttachableProgram | Link | Literal["all"]
AttachTarget = InterfaceArg | NetnsArg | Cgroup | Socket | Map | FunctionArg | AttachableProgram

Direction = Literal["ingress", "egress"]
XdpMode = Literal["skb", "generic", "native", "driver", "offload", "hardware"]
CgroupMode = Literal["single", "override", "multi"]
EtherProtocol = Literal["all", "ip", "ipv6", "arp"]
Family = Literal["ipv4", "ipv6"]
Hook = Literal["prerouting", "input", "forward", "output", "postrouting"]
Role = Literal["stream_parser", "stream_verdict", "verdict"]
IterOrder = Literal["self", "descendants", "descendants last first", "ancestors", "children"]


class AttachOptions(TypedDict, total=False):
    """Every option of ``Program.attach``. The program type decides which of them it takes: docs/attaching.md and
    docs/attaching-tracing.md have the tables. None is the same as leaving an option out."""

    after: BeforeArg | None
    before: BeforeArg | None
    binary: str | None
    cgroup: CgroupArg | None
    classid: int | None
    cookie: int | None
    cookies: Sequence[int] | None
    counter: int | None
    cpu: int | None
    defrag: bool
    device: str | None
    direction: Direction | None
    event: EventArg | None
    family: Family | None
    frequency: int | None
    function: FunctionArg | None
    handle: int | None
    headroom: int | None
    hook: Hook | None
    inherit: bool
    interface: InterfaceArg | None
    map: Map | None
    mechanism: Literal["link", "netlink", "tcx", "clsact", "attach"] | None
    mode: XdpMode | CgroupMode | None
    name: str | None
    netns: NetnsArg | None
    offset: int | Sequence[int] | None
    order: IterOrder | None
    period: int | None
    pid: int | None
    priority: int | None
    protocol: EtherProtocol | int | None
    provider: str | None
    reuseport: bool
    role: Role | None
    route: RouteArg | None
    socket: Socket | None
    symbol: str | Sequence[str] | None
    target: AttachableProgram | None
    tid: int | None
    via: AddressArg | None


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _has_handle(value: object) -> bool:
    return isinstance(value, Handle) or isinstance(getattr(value, "handle", None), Handle)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


_TARGETS: Mapping[str, tuple[str, Callable[[object], bool]]] = MappingProxyType(
    {
        "interface": (
            "a network interface: its name, its index, or an object such as veth.b",
            lambda value: _is_text(value) or _is_int(value) or _is_int(getattr(value, "index", None)),
        ),
        "netns": (
            "a network namespace: bpf_netns, or the path of one",
            lambda value: _has_handle(value) or isinstance(value, str | os.PathLike),
        ),
        "cgroup": (
            "a cgroup from bpf.cgroup() or its path",
            lambda value: isinstance(value, Cgroup) or _is_text(value),
        ),
        "socket": (
            "a socket from bpf.socket(...), as one of the test itself may be on another kernel than the program",
            lambda value: isinstance(value, Socket),
        ),
        "map": ("a loaded map, such as obj.maps['counts']", lambda value: isinstance(value, Map)),
        "binary": ("a path, or the name of a program or library", _is_text),
        "symbol": (
            "the name of a function, a pattern, or a list of them",
            lambda value: (
                _is_text(value) or (isinstance(value, Sequence) and bool(value) and all(map(_is_text, value)))
            ),
        ),
        "provider": ("the provider of a USDT probe as text", _is_text),
        "name": ("the name of a USDT probe as text", _is_text),
        "device": ('the path of a device, such as "/dev/lirc0"', _is_text),
    }
)


def check_targets(program: AttachableProgram, given: Mapping[str, object]) -> None:
    """``BpfUsageError`` for a target of the wrong Python type."""
    for name, value in given.items():
        expected, accepts = _TARGETS.get(name, ("", lambda value: True))
        if not accepts(value):
            raise BpfUsageError(
                f"{program.name} is a {program.type} program: {name}= expects {expected}; "
                f"got {value!r} ({type(value).__name__})"
            )
