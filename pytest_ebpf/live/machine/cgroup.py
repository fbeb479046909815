"""Control groups of a test."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Unpack

from pytest_ebpf.agent.ops import Data, Done, Failed, Handle, ListDir, MakeDir, Mount, ReadFile, WriteFile
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.machine.commands import Commands, RunOptions, StartOptions
from pytest_ebpf.live.machine.process import Background
from pytest_ebpf.live.machine.results import Completed
from pytest_ebpf.live.session import Session

__all__ = ["Cgroup", "cgroup_root", "make_cgroup"]

_MOUNT_POINT = "/sys/fs/cgroup"


class Cgroup:
    """A cgroup2 directory of the test, removed with it; what runs in it is killed then."""

    def __init__(self, session: Session, *, path: str, handle: Handle, commands: Commands | None = None) -> None:
        self._session = session
        self.path = path
        self.handle = handle
        self._commands = commands or Commands(session)

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
            raise BpfUsageError(f"{name!r} cannot name a control group")
        path = f"{self.path}/{name}"
        made = self._session.make(MakeDir(path))
        return Cgroup(self._session, path=path, handle=made, commands=self._commands)

    @property
    def procs(self) -> list[int]:
        """The numbers of the processes in it."""
        return [int(word) for word in self.read("cgroup.procs").split()]

    @property
    def controllers(self) -> list[str]:
        """The controllers that its files are of: "memory", "pids"."""
        return self.read("cgroup.controllers").split()

    @property
    def id(self) -> int:
        """What ``bpf_get_current_cgroup_id`` gives for it: the inode of its directory."""
        return int(self._commands.run(["stat", "-c", "%i", self.path], check=True).stdout)

    def enable(self, *names: str) -> Cgroup:
        """Let groups below have these controllers. ``BpfUsageError`` when the group has none such. Returns itself."""
        have = self.controllers
        if missing := [name for name in names if name not in have]:
            words = ", ".join(have) or "none"
            raise BpfUsageError(
                f"control group {self.path} has no controller {missing[0]!r}; it has {words}",
                hint="What has a version 1 hierarchy of its own (mount -t cgroup) is not to be had in cgroup2.",
            )
        self.write("cgroup.subtree_control", " ".join(f"+{name}" for name in names))
        return self

    def add(self, process: Background | int) -> None:
        """Move a process into it."""
        self.write("cgroup.procs", str(process if isinstance(process, int) else process.pid))

    def read(self, file: str) -> str:
        """One of its files: ``group.read("memory.current")``."""
        return self._session.one(ReadFile(f"{self.path}/{file}"), Data).data.decode(errors="replace")

    def write(self, file: str, value: str | int) -> None:
        """Set one of its files: ``group.write("pids.max", 5)``. ``BpfUsageError`` names the files that there are."""
        path = f"{self.path}/{file}"
        if isinstance(self._session.attempt(ReadFile(path, limit=1), Data), Failed) and not self._has(file):
            raise BpfUsageError(
                f"control group {self.path} has no file {file!r}",
                hint=f"Its controllers: {', '.join(self.controllers) or 'none'}; enable() more of them in its parent.",
            )
        self._session.one(WriteFile(path, str(value).encode()), Done)

    def _has(self, file: str) -> bool:
        return file.encode() in self._session.one(ListDir(self.path), Data).data.split(b"\0")

    def __repr__(self) -> str:
        return f"<Cgroup {self.path}>"


def make_cgroup(
    session: Session, *, name: str = "", controllers: Iterable[str] = (), commands: Commands | None = None
) -> Cgroup:
    """A new cgroup under the cgroup2 root of the kernel under test, with ``controllers`` enabled for it."""
    root = cgroup_root(session)
    if "/" in name:
        raise BpfUsageError(f"{name!r} cannot name a control group", hint="A group in a group: group.child(name).")
    if wanted := list(controllers):
        top = Cgroup(session, path=root, handle=Handle(0, "", "dir", root), commands=commands)
        top.enable(*wanted)
    path = f"{root}/{name or f'pytest-ebpf-{os.urandom(4).hex()}'}"
    return Cgroup(session, path=path, handle=session.make(MakeDir(path)), commands=commands)


def cgroup_root(session: Session) -> str:
    """Where cgroup2 is mounted; where nothing is, it is mounted now."""
    mounts = session.one(ReadFile("/proc/mounts"), Data).data.decode(errors="replace")
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            return point
    session.one(Mount("none", _MOUNT_POINT, "cgroup2"), Done)
    return _MOUNT_POINT
