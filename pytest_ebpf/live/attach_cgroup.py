"""Control groups: making one, running commands in it, attaching programs to it."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Data, Done, Exited, Handle, LinkCreate, MakeDir, Mount, OpenFile, ReadFile, Spawn
from pytest_ebpf.errors import KernelCallError, UsageError
from pytest_ebpf.live.links import Link
from pytest_ebpf.live.nearby import nearest_paths
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.program import Program

__all__ = ["Cgroup", "attach_cgroup", "make_cgroup"]

_MOUNT_POINT = "/sys/fs/cgroup"


class Cgroup:
    """A cgroup2 directory of the test, removed with it."""

    def __init__(self, session: Session, *, path: str, handle: Handle) -> None:
        self._session = session
        self.path = path
        self.handle = handle

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0) -> Exited:
        """Run a command in the group to its end: an object with ``returncode``, ``stdout`` and ``stderr`` (bytes)."""
        scaled = timeout * self._session.target.time_scale
        op = Spawn(tuple(argv), stdin=stdin, timeout=scaled, cgroup=self.path)
        return self._session.one(op, Exited, timeout=scaled + 30)

    def __repr__(self) -> str:
        return f"<Cgroup {self.path}>"


def make_cgroup(session: Session, *, name: str) -> Cgroup:
    """A new cgroup under the cgroup2 root of the kernel under test."""
    path = f"{_cgroup2_root(session)}/{name}"
    return Cgroup(session, path=path, handle=session.make(MakeDir(path)))


def attach_cgroup(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """A cgroup link (Linux 5.7)."""
    group = named["cgroup"]
    if isinstance(group, Cgroup):
        path, target = group.path, group.handle
    elif isinstance(group, str):
        path, target = group, _open(session, program, path=group)
    else:
        raise UsageError(f"{program.name}: cgroup= is a group from bpf.cgroup() or a path, not {group!r}")
    assert program.definition.spec is not None
    op = LinkCreate(program.handle, program.definition.spec.attach_type, target=target)
    return Link(session, program=program, where=path, way="cgroup link", handles=(session.make(op),))


def _open(session: Session, program: Program, *, path: str) -> Handle:
    try:
        return session.make(OpenFile(path))
    except KernelCallError as error:
        if error.errno == errno.ENOENT:
            close = nearest_paths(session, path)
            error.hint = f"{program.name}: there is no cgroup {path}; {close or 'bpf.cgroup() makes one'}"
        raise


def _cgroup2_root(session: Session) -> str:
    """Where cgroup2 is mounted; where nothing is, it is mounted now."""
    mounts = session.one(ReadFile("/proc/mounts"), Data).data.decode(errors="replace")
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            return point
    session.one(Mount("none", _MOUNT_POINT, "cgroup2"), Done)
    return _MOUNT_POINT
