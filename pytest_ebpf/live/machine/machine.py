"""The machine of the kernel under test: commands, functions, files, users, control groups, mounts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar, Unpack

from pytest_ebpf.agent import ops
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.machine.archive import pack_tree, unpack_tree
from pytest_ebpf.live.machine.cgroup import Cgroup, make_cgroup
from pytest_ebpf.live.machine.commands import Commands, RunOptions, StartOptions, User
from pytest_ebpf.live.machine.process import Background
from pytest_ebpf.live.machine.remote_function import make_job, read_answer
from pytest_ebpf.live.machine.results import Completed
from pytest_ebpf.live.machine.suites import SuiteFormat, run_suite
from pytest_ebpf.live.session import Session
from pytest_ebpf.suites.case import SuiteRun

__all__ = ["Around", "AsUser", "BpfVm"]

R = TypeVar("R")
FilePath = str | os.PathLike[str]


class Around(Protocol):
    """Facts about a machine, as ``BpfVm`` shows them. ``shared``: other processes use it too (it is the host)."""

    @property
    def id(self) -> str: ...
    @property
    def console(self) -> str: ...
    @property
    def accel(self) -> str: ...
    @property
    def boot_seconds(self) -> float: ...
    @property
    def shared(self) -> bool: ...


class BpfVm:
    """The machine of a kernel: a guest, or for ``host`` this one. Everything that a test starts, makes or mounts with
    it is removed when the test ends."""

    def __init__(
        self, kernel: Around, *, session: Session, on_suite: Callable[[SuiteRun], None] = lambda run: None
    ) -> None:
        self.kernel = kernel
        self._on_suite = on_suite
        self._session = session
        self._mounts: ops.Handle | None = None
        self._watching = kernel.shared
        self._commands = Commands(session, wrap=self._wrap)

    def run(self, argv: Sequence[FilePath], **options: Unpack[RunOptions]) -> Completed:
        """Run a command to its end: ``run(["ip", "link"], timeout=5, check=True)``.

        Options: ``stdin`` (bytes or text), ``timeout`` (seconds, longer where the CPU is emulated), ``env``
        (added to the environment), ``cwd``, ``netns`` (``bpf_netns``), ``user`` (name, number or ``User``), ``cgroup``,
        ``check`` (raise ``AssertionError`` for a status other than 0).

        ``CommandTimeoutError`` (a ``TimeoutError``) has the output so far; ``KernelCallError``: the program, directory
        or user does not exist; ``BpfUsageError``: not a command.
        """
        self._watch()
        return self._commands.run(argv, **options)

    def start(self, argv: Sequence[FilePath], **options: Unpack[StartOptions]) -> Background:
        """Start a command and leave it running: ``poll``, ``wait``, ``kill``, ``signal``, ``write``, ``read_line``. It
        is killed at the end of the test. Options and errors as of ``run``, without ``timeout`` and ``check``."""
        self._watch()
        return self._commands.start(argv, **options)

    def run_tests(self, argv: Sequence[str], *, format: SuiteFormat = "", **options: Unpack[RunOptions]) -> SuiteRun:
        """Run a test program of another language: a ``cargo test`` or ``go test`` binary, or one that prints TAP. Each
        of its tests is in pytest's results and in the matrix.

        ``format``: "libtest" (text or JSON), "go" (``-test.v`` or JSON) or "tap"; seen from the output where it is not
        given. Options as of ``run``; ``timeout`` is 60 seconds, and what hangs or crashes costs the test that ran.
        ``AssertionError`` names the tests that failed, unless ``check=False``; ``BpfUsageError``: an unknown format.
        """
        self._watch()
        check = options.pop("check", True)
        run = run_suite(self._commands, argv, format=format, options=options)
        self._on_suite(run)
        return run.check() if check else run

    def call(self, function: Callable[..., R], *args: object, **options: Unpack[RunOptions]) -> R:
        """Run a function of the test in the machine's Python and return its result.

        Arguments and result are plain data. The function may use modules of the standard library, functions and
        constants of its own module. What it raises is raised here, with its traceback as the cause. Options as of
        ``run``; arguments by name go through ``functools.partial``.
        """
        whole = partial(function, *args)
        python = self._session.target.described.python
        job = make_job(whole.func, whole.args, kwargs=whole.keywords, python=python)
        if "stdin" in options or "check" in options:
            raise BpfUsageError(
                "bpf_vm.call takes no stdin= and check=: the function is sent over standard input, and what it raises "
                "is raised here"
            )
        options["stdin"] = job.stdin
        done = self.run(job.argv, **options)
        result: R = read_answer(job, done.stdout, stderr=done.stderr, returncode=done.returncode)
        return result

    def user(self, name: str | int = "", *, capabilities: Iterable[str] | None = None) -> AsUser:
        """Commands as another user: ``bpf_vm.user("nobody").run([...])``. ``capabilities``: see ``User``."""
        kept = (
            None
            if capabilities is None
            else tuple(capabilities)
            if not isinstance(capabilities, str)
            else (capabilities,)
        )
        return AsUser(self, user=User(str(name), None if kept is None else tuple(kept)))

    def cgroup(self, name: str = "", *, controllers: Iterable[str] = ()) -> Cgroup:
        """A new control group (cgroup2); ``controllers`` are enabled for it: ``cgroup(controllers=["pids"])``."""
        return make_cgroup(self._session, name=name, controllers=controllers, commands=self._commands)

    def mount(self, fstype: str, path: FilePath = "", *, source: str = "none", options: str = "") -> PurePosixPath:
        """Mount a file system (tmpfs, bpf, ...), in a new directory unless ``path`` names one; returns the path.

        On the host it is mounted in a namespace that only this fixture's commands and files see; in a guest
        the mount is visible to everything that uses the kernel (``bpf.load(pin_path=)``).
        """
        if self.kernel.shared and self._mounts is None:
            self._mounts = self._session.make(ops.MountNs())
        target = PurePosixPath(path) if path else self.mkdir(self.tmp_path / f"{fstype}-{os.urandom(3).hex()}")
        self._one(ops.Mount(source, str(target), fstype, data=options), ops.Done)
        return target

    @cached_property
    def tmp_path(self) -> PurePosixPath:
        """A temporary directory on the machine, as pytest's ``tmp_path`` is one on the host."""
        path = PurePosixPath(f"/tmp/pytest-ebpf-{os.urandom(5).hex()}")
        self._session.one(ops.MakeDir(str(path)), object)
        return path

    def mkdir(self, path: FilePath) -> PurePosixPath:
        """A new directory, removed with its contents at the end of the test."""
        self._one(ops.MakeDir(os.fspath(path)), object)
        return PurePosixPath(path)

    def read_file(self, path: FilePath) -> bytes:
        """The contents of a file."""
        return self._one(ops.ReadFile(os.fspath(path)), ops.Data).data

    def write_file(self, path: FilePath, data: bytes | str, *, mode: int = 0o644, append: bool = False) -> None:
        """Create, replace or append to a file. A file that did not exist is removed at the end of the test."""
        self._watch()
        raw = data.encode() if isinstance(data, str) else bytes(data)
        self._one(ops.WriteFile(os.fspath(path), raw, append, mode), ops.Done)

    def modprobe(self, name: str, *parameters: str) -> None:
        """Load a module of the kernel, with its ``parameters`` ("size=4"); it is unloaded at the end of the test, if it
        was not there before. ``AssertionError`` with modprobe's words if that fails."""
        before = self._one(ops.ReadFile("/proc/modules"), ops.Data).data.split()
        self.run(["modprobe", name, *parameters], check=True)
        if name.replace("-", "_").encode() not in before:
            self._session.later(lambda: self._unload(name))

    def _unload(self, name: str) -> None:
        self.run(["modprobe", "-r", name])

    def list_dir(self, path: FilePath) -> list[str]:
        """The names in a directory, sorted."""
        listed = self._one(ops.ListDir(os.fspath(path)), ops.Data).data
        return [os.fsdecode(name) for name in listed.split(b"\0") if name]

    def copy_in(self, source: FilePath, target: FilePath) -> PurePosixPath:
        """Copy a file or a directory of the host into the machine, where it is called ``target``. It is removed at the
        end of the test. Returns the path."""
        to = PurePosixPath(target)
        self._one(ops.WriteTree(str(to.parent), pack_tree(Path(source), name=to.name)), ops.Done)
        return to

    def copy_out(self, source: FilePath, target: FilePath) -> Path:
        """Copy a file or a directory of the machine to the host, where it is called ``target``."""
        return unpack_tree(self._one(ops.ReadTree(os.fspath(source)), ops.Data).data, Path(target))

    def dmesg(self) -> list[str]:
        """The whole kernel log."""
        return list(self._session.one(ops.KmsgSince(0), ops.Kmsg).lines)

    @property
    def console(self) -> str:
        """The tail of the guest's console, "" for the host."""
        return self.kernel.console

    @property
    def accel(self) -> str:
        """KVM or TCG; for the host, how it is reached."""
        return self.kernel.accel

    @property
    def boot_seconds(self) -> float:
        """How long the last boot took, 0 for the host."""
        return self.kernel.boot_seconds

    def _one(self, op: ops.Op, kind: type[R]) -> R:
        wrapped = self._wrap(op)
        return self._session.checked(op, self._session.attempt(wrapped, object), kind=kind)  # type: ignore[arg-type]

    def _wrap(self, op: ops.Op) -> ops.Op:
        return op if self._mounts is None else ops.In(self._mounts, op)

    def _watch(self) -> None:
        """From the first command on, on a machine that no other process changes meanwhile."""
        if not self._watching:
            self._watching = True
            self._session.one(ops.WatchAround(), ops.Done)

    def __repr__(self) -> str:
        return f"<BpfVm {self.kernel.id}>"


class AsUser:
    """``BpfVm.run``, ``start`` and ``call`` as another user."""

    def __init__(self, vm: BpfVm, *, user: User) -> None:
        self._vm = vm
        self._user = user

    def run(self, argv: Sequence[FilePath], **options: Unpack[RunOptions]) -> Completed:
        """See ``BpfVm.run``."""
        options.setdefault("user", self._user)
        return self._vm.run(argv, **options)

    def start(self, argv: Sequence[FilePath], **options: Unpack[StartOptions]) -> Background:
        """See ``BpfVm.start``."""
        options.setdefault("user", self._user)
        return self._vm.start(argv, **options)

    def call(self, function: Callable[..., R], *args: object, **options: Unpack[RunOptions]) -> R:
        """See ``BpfVm.call``."""
        options.setdefault("user", self._user)
        return self._vm.call(function, *args, **options)

    def __repr__(self) -> str:
        return f"<{self._vm!r} as {self._user}>"
