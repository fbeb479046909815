"""Suggestions for error messages: the existing names most like one that does not exist."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import PurePosixPath

from pytest_ebpf.agent.ops import Data, ListDir, ReadFile
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.live.session import Session

__all__ = [
    "nearest_functions",
    "nearest_paths",
    "nearest_raw_tracepoints",
    "nearest_tracepoints",
]

_ENTRY = "btf_trace_"


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
