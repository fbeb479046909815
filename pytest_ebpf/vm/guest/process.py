"""A running QEMU and the thread that watches it.

The thread starts QEMU, so that ``PR_SET_PDEATHSIG`` (which the kernel ties to the thread that forked) means: QEMU lives
no longer than this process, whatever ends it, and no shorter when ``boot`` was called in a thread that has ended.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.outcome import Outcome
from pytest_ebpf.vm.guest.console import find_complaint, find_death, find_last_words, read_from
from pytest_ebpf.vm.guest.rundir import RunDir

__all__ = ["End", "QemuProcess", "describe_end"]

# util/main-loop.c or system/runstate.c of QEMU: "terminating on signal 15 from pid 4242 (kill)"
_ENDED = re.compile(r"terminating on signal (?P<signal>\d+)(?: from pid (?P<pid>\d+))?")


@dataclass(frozen=True, slots=True)
class End:
    """How QEMU ended: in words, and whose doing it was (PANIC, INFRASTRUCTURE, or FAILED: the guest's own)."""

    reason: str
    outcome: Outcome


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
        self._end: End | None = None
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

    def end(self) -> End | None:
        """How it ended; None while it runs."""
        return self._end if self._ended.is_set() else None

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
            self._end = End(f"QEMU could not be started: {error}", Outcome.INFRASTRUCTURE)
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
        status = process.wait()
        if self._stopped:
            self._end = End("it was stopped", Outcome.INFRASTRUCTURE)
        else:
            console, messages = (read_from(path, 0) for path in (self._rundir.console, self._rundir.messages))
            self._end = describe_end(status, console=console, messages=messages)


def describe_end(status: int, *, console: str, messages: str) -> End:
    """Why QEMU ended by itself, from its wait status, the guest's console and QEMU's messages.

    A kernel that panics resets the machine, and QEMU ends with status 0 (``panic=-1``, ``-no-reboot``). Any process of
    the guest can write "Kernel panic" to the console (/dev/kmsg): that alone is no end.
    """
    if status != 0:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        said = find_complaint(messages)
        return End(f"QEMU {how}" + (f": {said}" if said else ""), Outcome.INFRASTRUCTURE)
    if ended := _ENDED.search(messages):  # QEMU's answer to SIGTERM, SIGINT and SIGHUP: an orderly end, status 0
        name = signal.Signals(int(ended["signal"])).name
        return End(f"QEMU was ended from outside, by {name} from process {ended['pid']}", Outcome.INFRASTRUCTURE)
    if death := find_death(console):
        return End(death, Outcome.PANIC)
    words = find_last_words(console)
    return End("the guest turned itself off" + (f": {words}" if words else ""), Outcome.FAILED)
