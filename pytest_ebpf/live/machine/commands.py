"""Commands on the machine of the kernel under test: run to their end, or started beside the test."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypedDict, Unpack

from pytest_ebpf.agent.ops import Data, Exited, Failed, ListDir, Made, Op, Spawn, Start
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.inspect.suggest import nearest_paths
from pytest_ebpf.live.machine.capabilities import capability_bits
from pytest_ebpf.live.machine.process import Background
from pytest_ebpf.live.machine.results import CommandTimeoutError, Completed
from pytest_ebpf.live.session import Session
from pytest_ebpf.suggest import did_you_mean

__all__ = ["Commands", "RunOptions", "StartOptions", "User"]


@dataclass(frozen=True, slots=True)
class User:
    """The user that a command runs as. ``name``: a user's name or number, "" for root. ``capabilities``: exactly those
    that it has ("CAP_BPF", "net_admin"); None for those of the user (root all, others none)."""

    name: str = ""
    capabilities: tuple[str, ...] | None = None


class StartOptions(TypedDict, total=False):
    """How a command runs. ``stdin``: what it reads first. ``env`` is added to the environment. ``netns``: a network
    namespace (``bpf_netns``, or a path); ``user``: a name, a number or a ``User``; ``cgroup``: a group or its path."""

    stdin: bytes | str
    env: Mapping[str, str] | None
    cwd: str | os.PathLike[str] | None
    netns: object
    user: str | int | User | None
    cgroup: object


class RunOptions(TypedDict, total=False):
    """``StartOptions``, and: ``timeout`` in seconds, longer where the CPU is emulated; ``check``: raise
    ``AssertionError`` for a status other than 0."""

    stdin: bytes | str
    env: Mapping[str, str] | None
    cwd: str | os.PathLike[str] | None
    netns: object
    user: str | int | User | None
    cgroup: object
    timeout: float
    check: bool


class Commands:
    """Runs commands with ``options``, which a call may override. ``wrap`` puts each op into its mount namespace."""

    def __init__(
        self, session: Session, *, options: StartOptions | None = None, wrap: Callable[[Op], Op] = lambda op: op
    ) -> None:
        self._session = session
        self._options = options or StartOptions()
        self._wrap = wrap

    def run(self, argv: Sequence[str | os.PathLike[str]], **options: Unpack[RunOptions]) -> Completed:
        """Run a command to its end. Errors: see ``BpfVm.run``."""
        given: RunOptions = {**self._options, **options}
        timeout = given.get("timeout", 30.0)
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
            raise BpfUsageError(f"timeout= must be a number of seconds above 0, got {timeout!r}")
        scaled = timeout * self._session.target.time_scale
        command = replace(self.command(argv, given), timeout=scaled)
        op = self._wrap(command)
        result = self._session.attempt(op, Exited, timeout=scaled + 30)
        if isinstance(result, Failed):
            raise self._refused(op, result, command=command)
        if result.timed_out:
            message = f"{' '.join(command.argv)} did not end within {scaled:g} s on kernel {self._session.target.name}"
            raise CommandTimeoutError(message, stdout=result.stdout, stderr=result.stderr)
        completed = Completed(command.argv, result.returncode, result.stdout, result.stderr)
        return completed.check() if given.get("check") else completed

    def start(self, argv: Sequence[str | os.PathLike[str]], **options: Unpack[StartOptions]) -> Background:
        """Start a command and leave it running, until it is killed or the test ends."""
        command = self.command(argv, {**self._options, **options})
        op = self._wrap(Start(command))
        made = self._session.attempt(op, Made)
        if isinstance(made, Failed):
            raise self._refused(op, made, command=command)
        return Background(self._session, handle=made.handle, argv=command.argv)

    def command(self, argv: Sequence[str | os.PathLike[str]], options: StartOptions | RunOptions) -> Spawn:
        """The op for a command. ``BpfUsageError`` for an argument of the wrong type."""
        stdin, env, cwd = options.get("stdin") or b"", options.get("env"), options.get("cwd")
        data = stdin.encode() if isinstance(stdin, str) else stdin
        if not isinstance(data, bytes | bytearray | memoryview):
            raise BpfUsageError(f"stdin= expects bytes or text, got {stdin!r}")
        if env is not None and not isinstance(env, Mapping):
            raise BpfUsageError(f"env= expects a dict of names and values, got {env!r}")
        user = _user(options.get("user"))
        netns, group = options.get("netns"), options.get("cgroup")
        path = getattr(group, "path", group)
        if path is not None and not isinstance(path, str):
            raise BpfUsageError(f"cgroup= expects a cgroup from bpf_vm.cgroup() or its path, got {group!r}")
        return Spawn(
            _argv(argv),
            stdin=bytes(data),
            env=None if env is None else tuple((str(name), str(value)) for name, value in env.items()),
            cwd=None if cwd is None else os.fspath(cwd),
            netns=None if netns is None else netns_handle(self._session, netns),
            cgroup=path,
            user=user.name,
            caps=-1 if user.capabilities is None else capability_bits(user.capabilities),
        )

    def _refused(self, op: Op, failed: Failed, *, command: Spawn) -> KernelCallError:
        """The error of a command that did not start; for a missing program with similar names as the hint."""
        try:
            self._session.checked(op, failed, kind=Exited)
        except KernelCallError as error:
            if failed.errno == errno.ENOENT and failed.text.startswith(f"{command.argv[0]}:"):
                error.hint = self._near(command.argv[0])
            return error
        raise AssertionError(f"{failed} was accepted as a result")

    def _near(self, program: str) -> str:
        where = f"on kernel {self._session.target.name}"
        if "/" in program:
            return nearest_paths(self._session, program) or f"This program does not exist {where}."
        found: set[str] = set()
        for folder in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin"):
            found |= set(_names(self._session, folder))
        otherwise = f"No program of that name is in the PATH {where}."
        return did_you_mean(program, sorted(found), cutoff=0.7, otherwise=otherwise)


def _names(session: Session, folder: str) -> Iterable[str]:
    listed = session.attempt(ListDir(folder), Data)
    return () if isinstance(listed, Failed) else listed.data.decode(errors="replace").split("\0")


def _argv(argv: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    if isinstance(argv, str | bytes) or not isinstance(argv, Sequence) or not argv:
        raise BpfUsageError(
            f"a command must be a list of words, got {argv!r}", hint="For a shell: ['sh', '-c', '...']."
        )
    return tuple(map(str, argv))


def _user(user: object) -> User:
    if user is None or isinstance(user, User):
        return user or User()
    if isinstance(user, str) or (isinstance(user, int) and not isinstance(user, bool) and user >= 0):
        return User(str(user))
    raise BpfUsageError(f"user= expects a name, a number or a User, got {user!r}")
