"""Ops that attach programs."""

from __future__ import annotations

from pytest_ebpf.agent.ops.base import FdAt, Obj
from pytest_ebpf.frozen import dataclass

__all__ = [
    "IterRead",
    "LinkCreate",
    "LinkDetach",
    "LinkUpdate",
    "ObjUnpin",
    "PerfAttach",
    "PerfEventOpen",
    "PointerAt",
    "ProgAttach",
    "ProgDetach",
    "ProgQuery",
    "RawTracepointOpen",
]


@dataclass(frozen=True, slots=True)
class PointerAt:
    """Write an address at byte ``offset`` of ``LinkCreate.extra``: of ``data``, in which ``fds`` are filled in first,
    or of an array of addresses of NUL-terminated ``texts``."""

    offset: int
    data: bytes = b""
    texts: tuple[str, ...] = ()
    fds: tuple[FdAt, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkCreate:
    """BPF_LINK_CREATE -> Made. ``target`` is an object (cgroup directory, perf event, netns), an ifindex, or 0.
    The kernel looks an ifindex up in the caller's network namespace: ``netns`` makes the call inside another one.
    ``extra``: the bytes behind the flags (the union of link_create in bpf_attr), instead of id and cookie;
    ``pointers`` puts addresses into them."""

    prog: Obj
    attach_type: int
    target: Obj | int = 0
    flags: int = 0
    target_btf_id: int = 0
    cookie: int = 0
    netns: Obj | None = None
    extra: bytes = b""
    site: str = ""
    pointers: tuple[PointerAt, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkUpdate:
    """BPF_LINK_UPDATE -> Done."""

    link: Obj
    prog: Obj
    old: Obj | None = None
    flags: int = 0


@dataclass(frozen=True, slots=True)
class IterRead:
    """BPF_ITER_CREATE on the link of an iterator (Linux 5.8), and all that it writes -> Data. Past ``limit`` bytes it
    is refused: nothing is cut off silently."""

    link: Obj
    limit: int = 1 << 28


@dataclass(frozen=True, slots=True)
class LinkDetach:
    """BPF_LINK_DETACH -> Done."""

    link: Obj


@dataclass(frozen=True, slots=True)
class ProgAttach:
    """BPF_PROG_ATTACH -> Done. ``replace``: the program whose place it takes (BPF_F_REPLACE in ``flags``).
    ``relative``: the id that BPF_F_BEFORE and BPF_F_AFTER are about, of a program or, with
    BPF_F_LINK, of a link (BPF_F_ID)."""

    prog: Obj
    target: Obj | int
    attach_type: int
    flags: int = 0
    netns: Obj | None = None
    replace: Obj | None = None
    relative: int = 0


@dataclass(frozen=True, slots=True)
class ProgDetach:
    """BPF_PROG_DETACH -> Done."""

    prog: Obj
    target: Obj | int
    attach_type: int
    netns: Obj | None = None


@dataclass(frozen=True, slots=True)
class ProgQuery:
    """BPF_PROG_QUERY -> Queried."""

    target: Obj | int
    attach_type: int
    flags: int = 0
    netns: Obj | None = None


@dataclass(frozen=True, slots=True)
class ObjUnpin:
    """Remove a pin -> Done. Refused for a path that is not a pin."""

    path: str


@dataclass(frozen=True, slots=True)
class RawTracepointOpen:
    """BPF_RAW_TRACEPOINT_OPEN -> Made. Also attaches tp_btf, fentry, fexit and LSM programs (``name`` empty)."""

    prog: Obj
    name: str = ""
    cookie: int = 0
    site: str = ""


@dataclass(frozen=True, slots=True)
class PerfEventOpen:
    """perf_event_open(2) -> Made. A text ``config1`` is passed as a pointer (kprobe function, uprobe path).
    ``bits``: the u64 of one-bit options behind read_format (2 inherit, 1024 sample_period is a frequency in Hz).
    ``breakpoint``: bp_type, how memory is accessed (1 read, 2 written, 4 executed)."""

    type: int
    config: int = 0
    config1: int | str = 0
    config2: int = 0
    pid: int = -1
    cpu: int = 0
    sample_period: int = 0
    flags: int = 0
    site: str = ""
    bits: int = 0
    breakpoint: int = 0


@dataclass(frozen=True, slots=True)
class PerfAttach:
    """PERF_EVENT_IOC_SET_BPF and ENABLE -> Done: how programs hang on perf events before links (Linux < 5.15)."""

    event: Obj
    prog: Obj
