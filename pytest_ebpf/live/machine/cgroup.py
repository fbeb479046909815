"""Control groups of a test."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Unpack

from pytest_ebpf.agent.ops import Close, Data, Done, Failed, Handle, ListDir, MakeDir, Mount, ReadFile, WriteFile
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.handles import close_after
from pytest_ebpf.live.machine.commands import Commands, RunOptions, StartOptions
from pytest_ebpf.live.machine.process import Background
from pytest_ebpf.live.machine.results import Completed
from pytest_ebpf.live.session import Session

__all__ = ["Cgroup", "cgroup_root", "make_cgroup"]

_MOUNT_POINT = "/sys/fs/cgroup"


class Cgroup:
    """A cgroup2 directory of the test. It is removed, and what runs in it is killed, by ``close()``, at the end of a
    ``with`` block, or at the end of the test."""

    def __init__(self, session: Session, *, path: str, handle: Handle, commands: Commands | None = None) -> None:
        self._session = session
        self.path = path
        self.handle = handle
        self._commands = commands or Commands(session)
        self._open = True

    def run(self, argv: Sequence[str], **options: Unpack[RunOptions]) -> Completed:
        """Run a command in the group to its end; options and errors as of ``bpf_vm.run``."""
        options.setdefault("cgroup", self.path)
        return self._commands.run(argv, **options)

    def start(self, argv: Sequence[str], **options: Unpack[StartOptions]) -> Background:
        """Start a command in the group; options and errors as of ``bpf_vm.start``."""
        options.setdefault("cgroup", self.path)
        return self._commands.start(argv, **options)

    def child(self, name: str) -> Cgroup:
        """A new group below this one."""
        if not name or "/" in name:
            raise BpfUsageError(f"{name!r} is not a valid name of a control group")
        path = f"{self.path}/{name}"
        made = self._session.make(MakeDir(path))
        return Cgroup(self._session, path=path, handle=made, commands=self._commands)

    @property
    def procs(self) -> list[int]:
        """The pids of the processes in it."""
        return [int(word) for word in self.read("cgroup.procs").split()]

    @property
    def controllers(self) -> list[str]:
        """The controllers that it has: "memory", "pids"."""
        return self.read("cgroup.controllers").split()

    @property
    def id(self) -> int:
        """What ``bpf_get_current_cgroup_id`` returns for it: the inode of its directory."""
        return int(self._commands.run(["stat", "-c", "%i", self.path], check=True).stdout)

    def enable(self, *names: str) -> Cgroup:
        """Enable these controllers for groups below. ``BpfUsageError``: the group does not have one. Returns itself."""
        have = self.controllers
        if missing := [name for name in names if name not in have]:
            shown = ", ".join(have) or "none"
            raise BpfUsageError(
                f"control group {self.path} has no controller {missing[0]!r}; it has {shown}",
                hint="A controller that is mounted as cgroup version 1 (mount -t cgroup) is not available in cgroup2.",
            )
        self.write("cgroup.subtree_control", " ".join(f"+{name}" for name in names))
        return self

    def add(self, process: Background | int) -> None:
        """Move a process into it."""
        self.write("cgroup.procs", str(process if isinstance(process, int) else process.pid))

    def read(self, file: str) -> str:
        """Read one of its files: ``group.read("memory.current")``."""
        return self._session.one(ReadFile(f"{self.path}/{file}"), Data).data.decode(errors="replace")

    def write(self, file: str, value: str | int) -> None:
        """Write one of its files: ``group.write("pids.max", 5)``. ``BpfUsageError``: it has no such file."""
        path = f"{self.path}/{file}"
        if isinstance(self._session.attempt(ReadFile(path, limit=1), Data), Failed) and not self._has(file):
            raise BpfUsageError(
                f"control group {self.path} has no file {file!r}",
                hint=f"Its controllers: {', '.join(self.controllers) or 'none'}; enable() more of them in its parent.",
            )
        self._session.one(WriteFile(path, str(value).encode()), Done)

    def _has(self, file: str) -> bool:
        return file.encode() in self._session.one(ListDir(self.path), Data).data.split(b"\0")

    def close(self) -> None:
        """Kill the processes in it and remove it now. Twice is harmless."""
        if self._open:
            self._open = False
            self._session.one(Close(self.handle), Done)

    def __enter__(self) -> Cgroup:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)

    def __repr__(self) -> str:
        return f"<Cgroup {self.path}>"


def make_cgroup(
    session: Session, *, name: str = "", controllers: Iterable[str] = (), commands: Commands | None = None
) -> Cgroup:
    """A new cgroup under the cgroup2 root of the kernel under test, with ``controllers`` enabled for it."""
    root = cgroup_root(session)
    if "/" in name:
        raise BpfUsageError(
            f"{name!r} is not a valid name of a control group", hint="A group in a group: group.child(name)."
        )
    if wanted := list(controllers):
        top = Cgroup(session, path=root, handle=Handle(0, "", "dir", root), commands=commands)
        top.enable(*wanted)
    path = f"{root}/{name or f'pytest-ebpf-{os.urandom(4).hex()}'}"
    return Cgroup(session, path=path, handle=session.make(MakeDir(path)), commands=commands)


def cgroup_root(session: Session) -> str:
    """Where cgroup2 is mounted; it is mounted now if it is not."""
    mounts = session.one(ReadFile("/proc/mounts"), Data).data.decode(errors="replace")
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            return point
    session.one(Mount("none", _MOUNT_POINT, "cgroup2"), Done)
    return _MOUNT_POINT
