"""Commands where the kernel under test is: to their end, or beside the test."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TypedDict, Unpack

from pytest_ebpf.agent.ops import Data, Exited, Failed, ListDir, Made, Op, Spawn, Start
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.inspect.suggest import nearest_paths
from pytest_ebpf.live.machine.capabilities import capability_bits
from pytest_ebpf.live.machine.process import Background
from pytest_ebpf.live.machine.results import CommandTimeoutError, Completed
from pytest_ebpf.live.session import Session

__all__ = ["Commands", "RunOptions", "StartOptions", "User"]


@dataclass(frozen=True, slots=True)
class User:
    """Whom a command runs as. ``name``: a user's name or number, "" for root. ``capabilities``: those it may have
    ("CAP_BPF", "net_admin"), whatever the user is; None for those that the user has (root all, others none)."""

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
    """``StartOptions``, and: ``timeout`` in seconds, stretched where the processor is emulated; ``check``: a status
    other than 0 is an ``AssertionError``."""

    stdin: bytes | str
    env: Mapping[str, str] | None
    cwd: str | os.PathLike[str] | None
    netns: object
    user: str | int | User | None
    cgroup: object
    timeout: float
    check: bool


class Commands:
    """Runs commands with ``options`` unless a call says otherwise. ``wrap`` puts each op where it belongs."""

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
            raise BpfUsageError(f"timeout= is a number of seconds, not {timeout!r}")
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
        """The op for a command. ``BpfUsageError`` for what cannot be one."""
        stdin, env, cwd = options.get("stdin") or b"", options.get("env"), options.get("cwd")
        data = stdin.encode() if isinstance(stdin, str) else stdin
        if not isinstance(data, bytes | bytearray | memoryview):
            raise BpfUsageError(f"stdin= is bytes or text, not {stdin!r}")
        if env is not None and not isinstance(env, Mapping):
            raise BpfUsageError(f"env= is a dict of names and values, not {env!r}")
        user = _user(options.get("user"))
        netns, group = options.get("netns"), options.get("cgroup")
        path = getattr(group, "path", group)
        if path is not None and not isinstance(path, str):
            raise BpfUsageError(f"cgroup= is a group (bpf_vm.cgroup()) or a path, not {group!r}")
        return Spawn(
            _words(argv),
            stdin=bytes(data),
            env=None if env is None else tuple((str(name), str(value)) for name, value in env.items()),
            cwd=None if cwd is None else os.fspath(cwd),
            netns=None if netns is None else netns_handle(self._session, netns),
            cgroup=path,
            user=user.name,
            caps=-1 if user.capabilities is None else capability_bits(user.capabilities),
        )

    def _refused(self, op: Op, failed: Failed, *, command: Spawn) -> KernelCallError:
        """A command that did not start. A program that is not there: with the names that are near."""
        try:
            self._session.checked(op, failed, kind=Exited)
        except KernelCallError as error:
            if failed.errno == errno.ENOENT and failed.text.startswith(f"{command.argv[0]}:"):
                error.hint = self._near(command.argv[0])
            return error
        raise AssertionError("a failure is no result")

    def _near(self, program: str) -> str:
        where = f"on kernel {self._session.target.name}"
        if "/" in program:
            return nearest_paths(self._session, program) or f"There is no such program {where}."
        found: set[str] = set()
        for folder in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin"):
            found |= set(_names(self._session, folder))
        close = get_close_matches(program, sorted(found), n=3, cutoff=0.7)
        return f"Did you mean {' or '.join(close)}?" if close else f"No program of that name is in its PATH {where}."


def _names(session: Session, folder: str) -> Iterable[str]:
    listed = session.attempt(ListDir(folder), Data)
    return () if isinstance(listed, Failed) else listed.data.decode(errors="replace").split("\0")


def _words(argv: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    if isinstance(argv, str | bytes) or not isinstance(argv, Sequence) or not argv:
        raise BpfUsageError(f"a command is a list of words, not {argv!r}", hint="For a shell: ['sh', '-c', '...'].")
    return tuple(map(str, argv))


def _user(user: object) -> User:
    if user is None or isinstance(user, User):
        return user or User()
    if isinstance(user, str) or (isinstance(user, int) and not isinstance(user, bool) and user >= 0):
        return User(str(user))
    raise BpfUsageError(f"user= is a name, a number or a User, not {user!r}")
