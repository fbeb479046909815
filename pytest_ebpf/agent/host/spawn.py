"""Starting commands, and running one to its end."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import IO

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import EventReader, Refused
from pytest_ebpf.agent.base.leaks import mark_scope
from pytest_ebpf.agent.base.syscalls import error_text
from pytest_ebpf.agent.base.sysfs import in_guest
from pytest_ebpf.agent.host.netns import in_thread, inside
from pytest_ebpf.agent.host.privileges import find_user, limit_capabilities
from pytest_ebpf.agent.ops import Exited, Failed, Result, Spawn

__all__ = ["READ_EVERY", "Running", "event_readers", "launch", "spawn"]

_CHUNK = 1 << 16
_LOOK_EVERY, READ_EVERY = 0.05, 0.005  # seconds between two looks at the command, and at event buffers
# After a look that found records only: a program that traces system calls sees those of this process, without end.
_PAUSE = 0.001
_MAX_OUTPUT = 256 << 20  # bytes kept of each stream; the rest is read and dropped
_AFTER_EXIT = 0.2  # seconds to read on after the command's end, when a child of it still holds the pipes


def spawn(op: Spawn, batch: Batch) -> Result:
    """The command gets a separate process group, which is killed when time is up and when the command ends: nothing
    that it started stays behind."""
    process = launch(op, batch, by="Spawn")
    if isinstance(process, Failed):
        return process
    running = Running(process, stdin=op.stdin, readers=event_readers(batch))
    try:
        timed_out = not running.finish(op.timeout)
    finally:
        running.kill()
    return Exited(process.wait(), bytes(running.stdout), bytes(running.stderr), timed_out)


def event_readers(batch: Batch) -> list[EventReader]:
    """What makes room in the buffers of maps: a command may cause more records than fit. A ring that is pinned may have
    a reader among the commands."""
    found = (entry.reader for entry in batch.table if entry.reader is not None and not entry.pins)
    return [reader() for reader in found]


def launch(op: Spawn, batch: Batch, *, by: str, pipe: bool = False) -> subprocess.Popen[bytes] | Failed:
    """Start the command. ``by``: the op that asked; ``pipe``: whether its standard input is one in any case."""
    if not op.argv:
        raise Refused("an empty command")
    env = {**os.environ, **dict(op.env or ()), **mark_scope(batch)}
    stdin = subprocess.PIPE if op.stdin or pipe else subprocess.DEVNULL

    def start() -> subprocess.Popen[bytes]:
        return in_thread(lambda: _limited(op, env=env, stdin=stdin)) if op.caps >= 0 else _start(op, env, stdin=stdin)

    try:
        return inside(batch, op.netns, call=start)
    except OSError as error:  # of the command, its directory or its cgroup: the error knows which
        subject = os.fsdecode(error.filename) if error.filename else op.argv[0]
        return Failed(by, error.errno or 0, f"{subject}: {error_text(error.errno or 0)}")
    except subprocess.SubprocessError:
        raise Refused(
            f"{op.argv[0]} could not join {op.cgroup}: only groups without controllers for children take processes"
        ) from None


def _limited(op: Spawn, *, env: dict[str, str], stdin: int) -> subprocess.Popen[bytes]:
    limit_capabilities(op.caps, uid=find_user(op.user)[0] if op.user else os.geteuid())
    return _start(op, env, stdin=stdin)


def _start(op: Spawn, env: dict[str, str], *, stdin: int) -> subprocess.Popen[bytes]:
    join = _joiner(f"{op.cgroup}/cgroup.procs") if op.cgroup else None
    uid, gid = find_user(op.user) if op.user else (None, None)
    try:
        process = subprocess.Popen(
            list(op.argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=op.cwd,
            user=uid,
            group=gid,
            extra_groups=None if gid is None else (),
            start_new_session=True,
            bufsize=0,
            preexec_fn=join[1] if join else None,
        )
        _expose(process.pid)
        return process
    finally:
        if join:
            os.close(join[0])


def _expose(pid: int) -> None:
    """The agent of a guest is safe from the kernel when memory runs out; what it starts is not."""
    if in_guest():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write("500")


def _joiner(path: str) -> tuple[int, Callable[[], int]]:
    """An open cgroup.procs, and what the child does with it: one write, nothing that could wait for a lock."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    return fd, lambda: os.write(fd, b"0")


class _Records:
    """Marks descriptors of event buffers among those of streams."""


class Running:
    """A started command and its output so far. ``heard`` is called after new output. ``readers`` read their records as
    they come until it is over."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        stdin: bytes,
        heard: Callable[[], None] = lambda: None,
        readers: Sequence[EventReader] = (),
    ) -> None:
        self._process = process
        self._heard = heard
        self._readers = readers
        self._slice = READ_EVERY if readers else _LOOK_EVERY
        self._input = memoryview(stdin)
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._selector = selectors.DefaultSelector()
        for stream, sink in ((process.stdout, self.stdout), (process.stderr, self.stderr)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, sink)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
        if process.stdin is not None and stdin:
            self._selector.register(process.stdin, selectors.EVENT_WRITE)

    def finish(self, timeout: float) -> bool:
        """Feed and read until the command is over. False: time was up first."""
        deadline = time.monotonic() + timeout
        grace: float | None = None
        self._watch()
        while self._streams:
            now = time.monotonic()
            if grace is None and self._exited():
                grace = now + _AFTER_EXIT
            until = deadline if grace is None else grace
            if now >= until:
                return grace is not None
            self._serve_all(self._selector.select(min(until - now, self._slice)))
        return self._wait(deadline)

    @property
    def _streams(self) -> bool:
        """Whether the command may still say something, or has not read all of its input."""
        return any(not isinstance(key.data, _Records) for key in self._selector.get_map().values())

    def _watch(self) -> None:
        for reader in self._readers:
            for fd in reader.fds:
                self._selector.register(fd, selectors.EVENT_READ, _Records())

    def _serve_all(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        streams = [key for key, _ in ready if not isinstance(key.data, _Records)]
        for key in streams:
            self._serve(key)
        self._read_events()
        if ready and not streams:
            time.sleep(_PAUSE)

    def _read_events(self) -> None:
        for reader in self._readers:
            reader.keep_up()

    def _serve(self, key: selectors.SelectorKey) -> None:
        stream = key.fileobj
        assert not isinstance(stream, int)
        if key.data is None:
            self._feed(stream)
            return
        try:
            data = os.read(key.fd, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(stream)
        elif len(key.data) < _MAX_OUTPUT:
            key.data.extend(data)
            self._heard()

    def _feed(self, stream: object) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BlockingIOError):
            try:
                self._input = self._input[os.write(stdin.fileno(), self._input[:_CHUNK]) :]
            except BrokenPipeError:
                self._input = self._input[:0]
            if not self._input:
                self._selector.unregister(stdin)
                stdin.close()

    def _exited(self) -> bool:
        """Over, but not reaped: until then the kernel does not reuse the number of its group."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def _wait(self, deadline: float) -> bool:
        pause = 0.0005
        while not self._exited():
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 2, self._slice)
            self._read_events()
        return True

    def kill(self) -> None:
        """End the group and close the pipes."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._selector.close()
        streams: list[IO[bytes] | None] = [self._process.stdin, self._process.stdout, self._process.stderr]
        for stream in filter(None, streams):
            with contextlib.suppress(OSError):
                stream.close()
