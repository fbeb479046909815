"""A guest: booted, watched, ended."""

from __future__ import annotations

import json
import os
import socket
import time
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest.accel import Accel, choose_accel
from pytest_ebpf.vm.guest.bundle import find_python, make_agent
from pytest_ebpf.vm.guest.command import AGENT_PORT, Guest, guest_cmdline, qemu_argv, supervised
from pytest_ebpf.vm.guest.compose import Composition, compose
from pytest_ebpf.vm.guest.config import BootConfig, Image
from pytest_ebpf.vm.guest.console import console_size, console_tail, last_line
from pytest_ebpf.vm.guest.probe import kvm_problem
from pytest_ebpf.vm.guest.process import End, QemuProcess
from pytest_ebpf.vm.guest.rundir import RunDir, close_rundir, open_rundir
from pytest_ebpf.vm.guest.stream import Stream
from pytest_ebpf.vm.guest.tools import Tools, find_tools

__all__ = ["Machine", "boot"]

_REPORT_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a machine, so that they can be closed when the machine is no longer referenced."""

    qemu: QemuProcess
    stream: Stream
    rundir: RunDir
    owner: int

    def take_apart(self) -> None:
        if os.getpid() != self.owner:
            return  # a forked copy of this process ends: the guest is not its
        self.qemu.kill()
        self.stream.close()
        close_rundir(self.rundir)


class Machine:
    """A guest with its agent listening on ``stream``. Make one with ``boot``; end it with ``kill`` or ``close``.

    ``hello`` is what the guest reported: release, python, uptime (seconds by stage), problems (texts).
    """

    def __init__(self, parts: _Parts, *, name: str, accel: Accel, hello: dict[str, Any], boot_seconds: float) -> None:
        self.name = name
        self.accel = accel
        self.hello = hello
        self.boot_seconds = boot_seconds
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

    def kill(self) -> None:
        """End the guest now; console and exit reason remain. Idempotent."""
        self._parts.qemu.kill()

    def close(self) -> None:
        """End the guest and remove its files. Idempotent."""
        self._close()


def boot(image: Image, *, config: BootConfig | None = None) -> Machine:
    """Boot ``image`` up to an agent that listens.

    BootFailed when a program is missing, KVM is required and does not work, the guest dies on the way, or the
    deadline passes; it carries the console's tail.
    """
    config = config or BootConfig()
    cache = config.cache.resolve()
    began = time.monotonic()
    tools = find_tools()
    composition = compose(image, tools=tools, cache=cache)
    known = partial(kvm_problem, composition, tools, cache=cache, on_progress=config.on_progress)
    accel = choose_accel(config.accel, require_kvm=config.require_kvm, problem=known)
    agent = make_agent(cache, python=find_python())
    cmdline = guest_cmdline(accel.kind, init=[*agent.argv, AGENT_PORT], extra=config.kernel_args)
    wishes = _wishes(image, keep=(agent.bundle.parent, *_here(), *config.keep))
    config.on_progress(f"booting {image.spec} under {accel.label}")
    parts = _start(composition, tools, accel=accel, cmdline=cmdline, config=config)
    try:
        hello = _greet(parts, wishes, name=image.spec, timeout=config.boot_timeout * accel.factor, config=config)
    except BaseException:
        parts.take_apart()
        raise
    return Machine(parts, name=image.spec, accel=accel, hello=hello, boot_seconds=time.monotonic() - began)


def _start(composition: Composition, tools: Tools, *, accel: Accel, cmdline: str, config: BootConfig) -> _Parts:
    ours, theirs = socket.socketpair()
    stream = Stream(ours)
    cpus = config.cpus or (1 if accel.kind == "tcg" else 2)
    guest = Guest(accel.kind, cmdline, memory=config.memory, cpus=cpus, channel=theirs.fileno(), extra=config.qemu_args)
    argv = supervised(qemu_argv(composition.argv, guest), setpriv=tools.setpriv)
    rundir = open_rundir(config.cache.resolve() / "running", composition.path.name)
    with theirs:
        qemu = QemuProcess(argv, rundir=rundir, on_end=stream.fail, pass_fds=(theirs.fileno(),))
    return _Parts(qemu, stream, rundir, os.getpid())


def _here() -> tuple[Path, ...]:
    try:
        return (Path.cwd(),)
    except OSError:  # it was removed
        return ()


def _wishes(image: Image, *, keep: tuple[Path, ...]) -> dict[str, Any]:
    """The arguments of process 1; see ``pytest_ebpf.agent.protocol.init``."""
    modules = ""
    if image.modules_root is not None:
        keep = (*keep, image.modules_root)
        modules = str(image.modules_root.resolve() / "lib/modules" / image.release)
    hostname = "".join(c if c.isalnum() else "-" for c in f"guest-{image.release}")
    return {"hostname": hostname[:64], "modules": modules, "keep": [str(path.resolve()) for path in keep]}


def _greet(parts: _Parts, wishes: dict[str, Any], *, name: str, timeout: float, config: BootConfig) -> dict[str, Any]:
    """Tell the guest what is wanted and wait until its agent listens."""
    began = time.monotonic()
    report = began + _REPORT_EVERY
    parts.stream.write(json.dumps(wishes).encode() + b"\n")
    while not parts.stream.wait_readable(0.2):
        now = time.monotonic()
        if now - began > timeout:
            raise _failed(parts, name, why=f"its agent did not answer within {timeout:.0f} s")
        if now > report:
            config.on_progress(f"booting {name}: {now - began:.0f} s: {last_line(parts.rundir.console)}")
            report = now + _REPORT_EVERY
    line = parts.stream.read_line(timeout)
    if not line.endswith(b"\n"):
        parts.qemu.wait(2.0)
        end = parts.qemu.end()
        raise _failed(parts, name, why=end.reason if end is not None else "its agent ended")
    hello: dict[str, Any] = json.loads(line)
    return hello


def _failed(parts: _Parts, name: str, *, why: str) -> BootFailed:
    console = console_tail(parts.rundir.console)
    return BootFailed(f"kernel {name} did not come up: {why}", console=console, hint=_last_lines(console))


def _last_lines(console: str) -> str:
    if not console:
        return "its console is empty"
    return "its console ends:\n" + "\n".join(f"  {line}" for line in console.splitlines()[-8:])
