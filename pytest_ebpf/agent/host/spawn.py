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
from pytest_ebpf.agent.base.handles import Refused
from pytest_ebpf.agent.base.leaks import mark_scope
from pytest_ebpf.agent.base.syscalls import error_text
from pytest_ebpf.agent.base.sysfs import in_guest
from pytest_ebpf.agent.host.netns import in_thread, inside
from pytest_ebpf.agent.host.privileges import find_user, limit_capabilities
from pytest_ebpf.agent.ops import Exited, Failed, Result, Spawn

__all__ = ["Running", "launch", "spawn"]

_CHUNK = 1 << 16
_LOOK_EVERY, _READ_EVERY = 0.05, 0.005  # seconds between two looks at the command, and at the perf buffers
_MAX_OUTPUT = 256 << 20  # bytes kept of each stream; the rest is read and dropped
_AFTER_EXIT = 0.2  # seconds to read on after the command's end, when a child of it still holds the pipes


def spawn(op: Spawn, batch: Batch) -> Result:
    """The command gets a separate process group, which is killed when time is up and when the command ends: nothing
    that it started stays behind."""
    process = launch(op, batch, by="Spawn")
    if isinstance(process, Failed):
        return process
    running = Running(process, stdin=op.stdin, meanwhile=_readers(batch))
    try:
        timed_out = not running.finish(op.timeout)
    finally:
        running.kill()
    return Exited(process.wait(), bytes(running.stdout), bytes(running.stderr), timed_out)


def _readers(batch: Batch) -> list[Callable[[], None]]:
    """What makes room in the perf buffers that are open: a command may cause more records than fit."""
    found = (getattr(entry.state, "keep_up", None) for entry in batch.table)
    return [keep_up for keep_up in found if keep_up is not None]


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


class Running:
    """A started command and its output so far. ``heard`` is called after new output, each of ``meanwhile`` every few
    milliseconds until it is over."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        stdin: bytes,
        heard: Callable[[], None] = lambda: None,
        meanwhile: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._process = process
        self._heard = heard
        self._meanwhile = meanwhile
        self._slice = _READ_EVERY if meanwhile else _LOOK_EVERY
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
        while self._selector.get_map():
            now = time.monotonic()
            if grace is None and self._exited():
                grace = now + _AFTER_EXIT
            until = deadline if grace is None else grace
            if now >= until:
                return grace is not None
            for key, _ in self._selector.select(min(until - now, self._slice)):
                self._serve(key)
            for read in self._meanwhile:
                read()
        return self._wait(deadline)

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
            for read in self._meanwhile:
                read()
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
