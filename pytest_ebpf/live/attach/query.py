"""The programs attached to an interface, a cgroup, …, also those of other processes: ``bpf.attached(...)``."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pytest_ebpf.agent.ops import Failed, Handle, OpenFile, ProgQuery, Queried, Result, Try
from pytest_ebpf.errors import BpfUsageError, PlanError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.attach.cgroup import open_cgroup
from pytest_ebpf.live.attach.clsact import PARENTS, filters_on
from pytest_ebpf.live.attach.xdp import xdp_on
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.inspect.query import program_name
from pytest_ebpf.live.kernel_objects import Inventory, KernelProgram
from pytest_ebpf.live.net.resolve import Interface, find_interface
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType
from pytest_ebpf.uapi.flags import AttachFlag
from pytest_ebpf.uapi.links import QueryFlag
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["Attached", "find_attached"]

_CGROUP = tuple(each for each in AttachType if each.name.startswith("CGROUP_") or each is AttachType.LSM_CGROUP)
_NETNS = (AttachType.FLOW_DISSECTOR, AttachType.SK_LOOKUP)
_SOCKMAP = (
    AttachType.SK_SKB_STREAM_PARSER,
    AttachType.SK_SKB_STREAM_VERDICT,
    AttachType.SK_SKB_VERDICT,
    AttachType.SK_MSG_VERDICT,
)
_BY_DIRECTION: Mapping[str, tuple[AttachType, ...]] = MappingProxyType(
    {
        "ingress": (AttachType.TCX_INGRESS, AttachType.NETKIT_PRIMARY),
        "egress": (AttachType.TCX_EGRESS, AttachType.NETKIT_PEER),
    }
)
# A kernel or a place that does not know an attach type; EBUSY: of a sockmap, where another excludes it.
_UNKNOWN = (errno.EINVAL, errno.EBUSY, errno.EOPNOTSUPP, errno.ENXIO, errno.EACCES, errno.ENODEV, ENOTSUPP)
_PLACES = ("interface", "cgroup", "netns", "map", "device")
_MORE: Mapping[str, tuple[str, ...]] = MappingProxyType({"interface": ("direction", "netns"), "cgroup": ("effective",)})


@dataclass(frozen=True, slots=True)
class Attached:
    """An attached program. ``hook``: the kernel's name of the attach type in small letters ("tcx_ingress",
    "cgroup_inet_egress"), or "xdp", "clsact ingress". ``link_id`` 0: without a link, or the kernel does not report it.
    ``detail``: the XDP mode, the priority of a filter, the mode of a control group."""

    hook: str
    name: str
    prog_id: int
    link_id: int = 0
    detail: str = ""
    _session: Session | None = None

    @property
    def program(self) -> KernelProgram:
        """The program, as the kernel reports it."""
        assert self._session is not None
        return Inventory(self._session).program(self.prog_id)

    def __repr__(self) -> str:
        detail = f", {self.detail}" if self.detail else ""
        return f"<{self.name} (id {self.prog_id}) at {self.hook}{detail}>"


def find_attached(session: Session, place: Mapping[str, object]) -> tuple[Attached, ...]:
    """See ``Bpf.attached``. ``BpfUsageError`` for an unknown place."""
    kinds = [name for name in _PLACES if place.get(name) is not None]
    kind = "interface" if "interface" in kinds else kinds[0] if kinds else ""
    unknown = [name for name in place if name not in (kind, *_MORE.get(kind, ()))]
    if not kind or unknown:
        raise BpfUsageError(
            f"attached() takes no {unknown[0]}= {'with ' + kind + '=' if kind else ''}" if unknown else
            "attached() needs a place",
            hint=f"Give one of {', '.join(name + '=' for name in _PLACES)}.",
        )  # fmt: skip
    return tuple(_FINDERS[kind](session, place))


def _on_interface(session: Session, place: Mapping[str, object]) -> list[Attached]:
    given = place.get("direction")
    if given is not None and given not in PARENTS:
        raise BpfUsageError(f"direction= must be one of {', '.join(PARENTS)}, got {given!r}")
    device = find_interface(session, place["interface"], netns=place.get("netns"))
    found: list[Attached] = []
    if given in (None, "ingress") and (xdp := xdp_on(session, device)) is not None:
        found.append(_attached(session, "xdp", prog_id=xdp[0], detail=xdp[1]))
    for direction in PARENTS if given is None else (str(given),):
        found += _asked(session, device.index, types=_BY_DIRECTION[direction], netns=device.netns)
        found += _filters(session, device, direction=direction)
    return found


def _filters(session: Session, device: Interface, *, direction: str) -> list[Attached]:
    filters = [(priority, id) for priority, id in filters_on(session, device, direction=direction) if id]
    return [
        _attached(session, f"clsact {direction}", prog_id=id, detail=f"priority {priority}")
        for priority, id in sorted(filters, key=lambda each: each[0])
    ]


def _on_cgroup(session: Session, place: Mapping[str, object]) -> list[Attached]:
    target, _ = open_cgroup(session, place["cgroup"], who="attached()")
    return _asked(session, target, types=_CGROUP, flags=QueryFlag.EFFECTIVE if place.get("effective") else 0)


def _on_netns(session: Session, place: Mapping[str, object]) -> list[Attached]:
    return _asked(session, netns_handle(session, place["netns"]), types=_NETNS)


def _on_map(session: Session, place: Mapping[str, object]) -> list[Attached]:
    handle = getattr(place["map"], "handle", None)
    if not isinstance(handle, Handle):
        raise BpfUsageError(f"map= expects a loaded sockmap or sockhash, got {place['map']!r}")
    asked = session.attempt(ProgQuery(handle, _SOCKMAP[-1]), Queried)
    if isinstance(asked, Failed) and asked.errno == errno.EINVAL:  # 748cd5729ac7
        raise PlanError(
            f"the programs of map {getattr(place['map'], 'name', '')!r} cannot be listed: {asked.text}",
            feature="query of maps of sockets",
            since="5.18",
            hint="The map has to be a sockmap or sockhash, and the kernel Linux 5.18 or newer.",
        )
    return _asked(session, handle, types=_SOCKMAP)


def _on_device(session: Session, place: Mapping[str, object]) -> list[Attached]:
    return _asked(session, session.make(OpenFile(str(place["device"]))), types=(AttachType.LIRC_MODE2,))


_FINDERS: Mapping[str, Callable[[Session, Mapping[str, object]], list[Attached]]] = {
    "interface": _on_interface,
    "cgroup": _on_cgroup,
    "netns": _on_netns,
    "map": _on_map,
    "device": _on_device,
}
_CGROUP_MODES: Mapping[int, str] = MappingProxyType(
    {0: "single", AttachFlag.ALLOW_OVERRIDE: "override", AttachFlag.ALLOW_MULTI: "multi"}
)


def _asked(
    session: Session, target: Handle | int, *, types: Sequence[int], flags: int = 0, netns: Handle | None = None
) -> list[Attached]:
    """All attach types in one round trip."""
    ops = [ProgQuery(target, number, flags, netns) for number in types]
    found: list[Attached] = []
    for op, result in zip(ops, session.run([Try(op) for op in ops]), strict=True):
        found += _read(session, op, result=result)
    return found


def _read(session: Session, op: ProgQuery, *, result: Result) -> list[Attached]:
    if isinstance(result, Failed) and result.errno in _UNKNOWN:
        return []
    asked = session.checked(op, result, kind=Queried)
    hook = AttachType(op.attach_type).name.lower()
    modes = hook.startswith("cgroup_") and not op.flags
    links = asked.links if len(asked.links) == len(asked.progs) else (0,) * len(asked.progs)
    return [
        _attached(session, hook, prog_id=prog, link_id=link, detail=_CGROUP_MODES.get(asked.flags, "") if modes else "")
        for prog, link in zip(asked.progs, links, strict=True)
    ]


def _attached(session: Session, hook: str, *, prog_id: int, link_id: int = 0, detail: str = "") -> Attached:
    return Attached(hook, program_name(session, prog_id), prog_id, link_id, detail, session)
