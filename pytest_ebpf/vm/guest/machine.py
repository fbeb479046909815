"""A guest: booted, watched, ended."""

from __future__ import annotations

import contextlib
import time
import weakref
from pathlib import Path
from typing import Any

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.vm.guest.accel import Accel
from pytest_ebpf.vm.guest.compose import discard
from pytest_ebpf.vm.guest.config import BootConfig, Image
from pytest_ebpf.vm.guest.console import console_size, console_tail
from pytest_ebpf.vm.guest.launch import CLOCK_ATTEMPTS, Launch, Parts, clock_agrees, greet, prepare, start, wrong_clock
from pytest_ebpf.vm.guest.pace import keep_pace, pace_of
from pytest_ebpf.vm.guest.process import End
from pytest_ebpf.vm.guest.qmp import interrupt
from pytest_ebpf.vm.guest.snapshot import Unusable, restore
from pytest_ebpf.vm.guest.stream import Stream

__all__ = ["Machine", "Way", "boot"]

_STACK = 3.0  # seconds for a panic to print the stack under emulation


@dataclass(frozen=True, slots=True)
class Way:
    """How a guest was started: ``warm`` or ``cold``, and why it was not as wished."""

    name: str
    reason: str = ""


class Machine:
    """A guest with its agent listening on ``stream``. Make one with ``boot``; end it with ``kill`` or ``close``.

    ``hello`` is what the guest reported: release, python, uptime (seconds by stage), problems (texts).
    """

    def __init__(
        self, parts: Parts, *, name: str, accel: Accel, hello: dict[str, Any], boot_seconds: float, way: Way
    ) -> None:
        self.name = name
        self.accel = accel
        self.hello = hello
        self.boot_seconds = boot_seconds
        self.way = way
        self._parts = parts
        self._mark = 0
        # Also runs at exit, so an interrupted session leaves no directory. (QEMU would go anyway.)
        self._close = weakref.finalize(self, parts.take_apart)

    @property
    def stream(self) -> Stream:
        """To the agent. End of file when the guest has ended."""
        return self._parts.stream

    @property
    def pid(self) -> int:
        """Of QEMU."""
        return self._parts.qemu.pid

    @property
    def console_path(self) -> Path:
        """The whole console output; ``close`` removes the file."""
        return self._parts.rundir.console

    def mark_console(self) -> None:
        """``console_tail`` begins here from now on: a test begins."""
        self._mark = console_size(self.console_path)

    def console_tail(self, lines: int = 40) -> str:
        """The last lines of the console since ``mark_console``; empty after ``close``."""
        return console_tail(self.console_path, lines=lines, since=self._mark)

    def alive(self) -> bool:
        """Whether QEMU runs. A guest that hangs is alive."""
        return self._parts.qemu.alive()

    def ended(self, patience: float = 0.0) -> End | None:
        """How the guest ended; None while it runs. Waits up to ``patience`` seconds for the end: the stream's
        end of file comes a moment before QEMU's exit status."""
        self._parts.qemu.wait(patience)
        return self._parts.qemu.end()

    def show_stack(self) -> None:
        """Ask a guest that hangs for its stack, which ends it: it panics at an NMI, and its console tells. Of a guest
        that cannot even do that, nothing comes."""
        with contextlib.suppress(OSError):
            interrupt(self._parts.monitor)
            self._parts.qemu.wait(_STACK)

    @property
    def shell_path(self) -> Path:
        """The socket of a shell, of a guest that can be entered."""
        return self._parts.rundir.shell

    @property
    def gdb_path(self) -> Path:
        """The socket of QEMU's stub for debuggers, of a guest that has one."""
        return self._parts.rundir.gdb

    def let_stay(self) -> None:
        """Do not end the guest with this process, nor by ``close``."""
        self._close.detach()

    def kill(self) -> None:
        """End the guest now; console and exit reason remain. Idempotent."""
        self._parts.qemu.kill()

    def close(self) -> None:
        """End the guest and remove its files. Idempotent."""
        self._close()


def boot(image: Image, *, config: BootConfig | None = None) -> Machine:
    """Start ``image`` up to an agent that listens: from its saved state (``config.boot`` warm), else from nothing.

    BootFailed when a program is missing, KVM is required and does not work, the guest dies on the way, or the
    deadline passes; it carries the console's tail.
    """
    began = time.monotonic()
    launch = prepare(image, config or BootConfig())
    parts, hello, way = _start(launch)
    now = time.monotonic()
    pace = pace_of((now - parts.started) / launch.accel.expected, kind=launch.accel.kind, way=way.name)
    keep_pace(launch.config.cache.resolve(), pace, kind=launch.accel.kind)
    seconds, accel = now - began, replace(launch.accel, pace=max(pace, launch.accel.pace))
    return Machine(parts, name=image.spec, accel=accel, hello=hello, boot_seconds=seconds, way=way)


def _start(launch: Launch) -> tuple[Parts, dict[str, Any], Way]:
    why = launch.problem
    if launch.config.boot == "warm" and not launch.config.enter and not launch.config.gdb:
        try:
            return *restore(launch), Way("warm")
        except Unusable as reason:
            why = str(reason)
    launch.config.on_progress(f"booting {launch.image.spec} under {launch.accel.label}")
    for _ in range(CLOCK_ATTEMPTS):
        parts = start(launch)
        try:
            hello = greet(parts, launch, timeout=launch.timeout)
        except BootFailed:
            parts.take_apart()
            discard(launch.composition.path)  # it may be what is damaged, and is soon made again
            raise
        except BaseException:
            parts.take_apart()
            raise
        if clock_agrees(parts, uptime=hello["uptime"].get("agent", 0.0)):
            return parts, hello, Way("stock" if launch.stock else "cold", why)
        parts.take_apart()
    raise wrong_clock(launch)
