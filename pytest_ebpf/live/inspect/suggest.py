"""Suggestions for error messages: the existing names most like one that does not exist."""

from __future__ import annotations

from pathlib import PurePosixPath

from pytest_ebpf.agent.ops import Data, ListDir, ReadFile
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.live.session import Session
from pytest_ebpf.suggest import close_names, suggestion

__all__ = [
    "nearest_functions",
    "nearest_paths",
    "nearest_raw_tracepoints",
    "nearest_tracepoints",
]

_ENTRY = "btf_trace_"


def nearest_tracepoints(session: Session, event: str, *, tracefs: str) -> str:
    """Suggest tracepoints with a similar name ("did you mean sched/sched_process_exec?"); "" for none."""
    read = session.attempt(ReadFile(f"{tracefs}/available_events"), Data)
    if not isinstance(read, Data):
        return ""
    events = [line.replace(":", "/", 1) for line in read.data.decode(errors="replace").split()]
    name = event.rpartition("/")[2]
    same = [found for found in events if found.rpartition("/")[2] == name]
    return suggestion(same or close_names(event, events, cutoff=0.7))


def nearest_functions(btf: Btf | None, name: str) -> str:
    """Suggest kernel functions with a similar name. Of about 60,000 only those with the same first letter and about the
    same length are compared."""
    return suggestion(_like(btf, name, prefix="", kind=Kind.FUNC))


def nearest_raw_tracepoints(btf: Btf | None, name: str) -> str:
    """Suggest raw tracepoints with a similar name."""
    return suggestion(_like(btf, name, prefix=_ENTRY, kind=Kind.TYPEDEF))


def nearest_paths(session: Session, path: str) -> str:
    """Suggest names in the deepest directory of the path that exists."""
    whole = PurePosixPath(path)
    for parent in whole.parents:
        listed = session.attempt(ListDir(str(parent)), Data)
        if isinstance(listed, Data):
            names = [name for name in listed.data.decode(errors="replace").split("\0") if name]
            missing = whole.relative_to(parent).parts[0]
            near = suggestion(str(parent / name) for name in close_names(missing, names))
            return near or f"{parent} exists, but {missing!r} in it does not"
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
    return close_names(name, sorted(names), cutoff=0.7)
