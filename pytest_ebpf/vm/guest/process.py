"""A running QEMU and the thread that watches it.

The thread starts QEMU, so that ``PR_SET_PDEATHSIG`` (which the kernel ties to the thread that forked) means: QEMU lives
no longer than this process, whatever ends it, and no shorter when ``boot`` was called in a thread that has ended.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from pytest_ebpf.vm.guest.console import find_complaint, find_death, find_last_words, read_from
from pytest_ebpf.vm.guest.rundir import RunDir

__all__ = ["QemuProcess", "describe_exit"]

_TICK = 0.1
_PANIC_GRACE = 0.5  # from a panic line to the end of QEMU; past it QEMU is killed


class QemuProcess:
    """QEMU, started by the constructor. ``on_end`` is called once, in the watching thread, when it has ended."""

    def __init__(
        self, argv: Sequence[str], *, rundir: RunDir, on_end: Callable[[], None], pass_fds: tuple[int, ...] = ()
    ) -> None:
        self._argv = tuple(argv)
        self._rundir = rundir
        self._on_end = on_end
        self._pass_fds = pass_fds
        self._process: subprocess.Popen[bytes] | None = None
        self._reason = ""
        self._stopped = False
        self._started = threading.Event()
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="pytest-ebpf-qemu", daemon=True).start()
        self._started.wait()

    @property
    def pid(self) -> int:
        """Of QEMU; 0 if it could not be started."""
        return self._process.pid if self._process is not None else 0

    def alive(self) -> bool:
        return not self._ended.is_set()

    def reason(self) -> str:
        """Why it ended; empty while it runs."""
        return self._reason if self._ended.is_set() else ""

    def wait(self, timeout: float) -> bool:
        """Wait for its end; whether it came."""
        return self._ended.wait(timeout)

    def kill(self) -> None:
        """End it and wait until it is reaped. Idempotent."""
        self._stopped = True
        if self._process is not None and self.alive():
            self._process.kill()
        self._ended.wait(10)

    def _run(self) -> None:
        try:
            self._process = self._start()
        except OSError as error:
            self._reason = f"QEMU could not be started: {error}"
        finally:
            self._started.set()
        if self._process is not None:
            self._watch(self._process)
        self._ended.set()
        self._on_end()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._rundir.console.open("wb") as console, self._rundir.messages.open("wb") as messages:
            return subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=messages,
                pass_fds=self._pass_fds,
                start_new_session=True,  # Ctrl-C is for pytest; it decides what becomes of its guests
            )

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        ended = os.pidfd_open(process.pid)
        read, doomed = 0, 0.0
        try:
            while not select.select([ended], [], [], _TICK)[0]:
                fresh = read_from(self._rundir.console, max(0, read - 200))
                read = self._rundir.console.stat().st_size
                if not doomed and find_death(fresh):
                    doomed = time.monotonic() + _PANIC_GRACE
                if doomed and time.monotonic() > doomed:
                    process.kill()
        finally:
            os.close(ended)
            status = process.wait()
        self._reason = "it was stopped" if self._stopped else describe_exit(self._rundir, status=status)


def describe_exit(rundir: RunDir, *, status: int) -> str:
    """Why QEMU ended by itself, from its wait status, the guest's console and QEMU's messages."""
    if death := find_death(read_from(rundir.console, 0)):
        return death
    if status != 0:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        said = find_complaint(read_from(rundir.messages, 0))
        return f"QEMU {how}" + (f": {said}" if said else "")
    words = find_last_words(read_from(rundir.console, 0))
    return "the guest powered off" + (f": {words}" if words else "")
