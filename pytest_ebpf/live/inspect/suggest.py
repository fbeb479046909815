"""What is there instead: who holds an interface, and the names most like one that does not exist."""

from __future__ import annotations

import struct
import sys
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Data, Info, InfoByFd, ListDir, Made, ObjById, ReadFile, Ref, Try
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.live.net.netlink import attributes, messages, netlink_op, request
from pytest_ebpf.live.net.resolve import Interface
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.btf.parse import Btf

__all__ = [
    "nearest_functions",
    "nearest_paths",
    "nearest_raw_tracepoints",
    "nearest_tracepoints",
    "program_name",
    "xdp_holder",
    "xdp_on",
]

_RTM_GETLINK = 18  # include/uapi/linux/rtnetlink.h, if_link.h
_IFINFO = struct.Struct("=BxHiII")
_IFLA_XDP, _XDP_ATTACHED, _XDP_PROG_ID = 43, 2, 4
_MODES = {1: "native", 2: "mode skb", 3: "offloaded"}  # XDP_ATTACHED_*
_NAME = slice(64, 80)  # of struct bpf_prog_info
_ENTRY = "btf_trace_"


def xdp_holder(session: Session, place: Interface) -> str:
    """ "program 'firewall' (id 12, native)" on an interface, "" when there is none or nobody says."""
    found = xdp_on(session, place)
    if found is None:
        return ""
    number, mode = found
    return f"program {program_name(session, number)!r} (id {number}{', ' + mode if mode else ''})"


def xdp_on(session: Session, place: Interface) -> tuple[int, str] | None:
    """(program id, mode) of what runs on an interface."""
    message = request(_RTM_GETLINK, _IFINFO.pack(0, 0, place.index, 0, 0))
    answer = session.attempt(netlink_op(message, netns=place.netns), Data)
    for _, body in messages(answer.data) if isinstance(answer, Data) else ():
        xdp = attributes(attributes(body[_IFINFO.size :]).get(_IFLA_XDP, b""))
        number = int.from_bytes(xdp.get(_XDP_PROG_ID, b""), sys.byteorder)
        if number:
            return number, _MODES.get(xdp.get(_XDP_ATTACHED, b"\0")[0], "")
    return None


def program_name(session: Session, number: int) -> str:
    """Up to 15 characters of a program's name, "?" when it is gone."""
    results = session.run([Try(ObjById("prog", number)), Try(InfoByFd(Ref(0)))])
    if isinstance(results[0], Made) and isinstance(results[1], Info):
        return results[1].data[_NAME].partition(b"\0")[0].decode(errors="replace")
    return "?"


def nearest_tracepoints(session: Session, event: str, *, tracefs: str) -> str:
    """ "did you mean sched/sched_process_exec?", or "" where nothing is like it."""
    read = session.attempt(ReadFile(f"{tracefs}/available_events"), Data)
    if not isinstance(read, Data):
        return ""
    events = [line.replace(":", "/", 1) for line in read.data.decode(errors="replace").split()]
    name = event.rpartition("/")[2]
    same = [found for found in events if found.rpartition("/")[2] == name]
    return _meant(same or get_close_matches(event, events, n=3, cutoff=0.7))


def nearest_functions(btf: Btf | None, name: str) -> str:
    """As ``nearest_tracepoints``, for functions of the kernel. Of some 60,000 only those of about the same length and
    the same first letter are compared."""
    return _meant(_like(btf, name, prefix="", kind=Kind.FUNC))


def nearest_raw_tracepoints(btf: Btf | None, name: str) -> str:
    """As ``nearest_tracepoints``, for raw tracepoints."""
    return _meant(_like(btf, name, prefix=_ENTRY, kind=Kind.TYPEDEF))


def nearest_paths(session: Session, path: str) -> str:
    """As ``nearest_tracepoints``, for a path: what is in the last directory of it that exists."""
    whole = PurePosixPath(path)
    for parent in whole.parents:
        listed = session.attempt(ListDir(str(parent)), Data)
        if isinstance(listed, Data):
            names = [name for name in listed.data.decode(errors="replace").split("\0") if name]
            missing = whole.relative_to(parent).parts[0]
            close = get_close_matches(missing, names, n=3, cutoff=0.6)
            return _meant([str(parent / name) for name in close]) or f"{parent} is there, {missing!r} in it is not"
    return ""


def _like(btf: Btf | None, name: str, *, prefix: str, kind: Kind) -> list[str]:
    if btf is None or not name:
        return []
    start, length = prefix + name[0], len(prefix + name)
    names = {
        found.removeprefix(prefix)
        for type_id in btf.ids()
        if btf.kind(type_id) == kind and abs(len(found := btf.name(type_id)) - length) < 4 and found.startswith(start)
    }
    return get_close_matches(name, sorted(names), n=3, cutoff=0.7)


def _meant(close: list[str]) -> str:
    return f"did you mean {' or '.join(close)}?" if close else ""
