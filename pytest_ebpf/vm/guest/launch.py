"""What every start of a guest has in common: what is needed for it, QEMU started, the agent greeted."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.vm.guest.accel import Accel, choose_accel
from pytest_ebpf.vm.guest.bundle import OPTIONS, Agent, find_python, make_agent
from pytest_ebpf.vm.guest.command import (
    AGENT_PORT,
    FILES_TAG,
    Composition,
    Guest,
    MemoryFile,
    guest_cmdline,
    joined,
    qemu_argv,
    supervised,
)
from pytest_ebpf.vm.guest.compose import compose
from pytest_ebpf.vm.guest.config import BootConfig, Image, architecture_of, rooted_of
from pytest_ebpf.vm.guest.console import console_tail, last_line
from pytest_ebpf.vm.guest.foreign import compose_foreign, make_foreign_agent
from pytest_ebpf.vm.guest.initramfs import AGENT_PATH
from pytest_ebpf.vm.guest.pace import kept_pace
from pytest_ebpf.vm.guest.platforms import PLATFORMS, SHARE_TAG, platform_cmdline
from pytest_ebpf.vm.guest.probe import kvm_problem
from pytest_ebpf.vm.guest.process import QemuProcess
from pytest_ebpf.vm.guest.rundir import RunDir, close_rundir, open_rundir
from pytest_ebpf.vm.guest.spare import check_room, spare_place, unusable
from pytest_ebpf.vm.guest.stream import Stream
from pytest_ebpf.vm.guest.tools import Tools, find_foreign_tools, find_tools
from pytest_ebpf.vm.guest.virtiofs import FileServer, find_daemon, lacks_9p, serve_files
from pytest_ebpf.vm.images.architecture import NATIVE

__all__ = [
    "CLOCK_ATTEMPTS",
    "Launch",
    "Parts",
    "Saved",
    "clock_agrees",
    "end_reason",
    "failed",
    "greet",
    "prepare",
    "read_line",
    "start",
    "wrong_clock",
]

_REPORT_EVERY = 1.0
CLOCK_ATTEMPTS = 3
_CLOCK_SLACK = 1.2  # seen: 2.5 to 17 times too fast
_CLOCK_GRACE = 0.5
_PARK = "park"  # agent.protocol.init knows it


@dataclass(frozen=True, slots=True)
class Launch:
    """All that is known before QEMU is started. ``problem``: why it is not made in the cache, "" where it is.
    ``daemon``: virtiofsd, for a kernel without 9p, else ""."""

    image: Image
    config: BootConfig
    tools: Tools
    agent: Agent
    composition: Composition
    accel: Accel
    problem: str = ""
    daemon: str = ""

    @property
    def timeout(self) -> float:
        """Seconds until a boot has failed."""
        return self.config.boot_timeout * self.accel.factor

    @property
    def stock(self) -> bool:
        """Whether virtme-ng's process 1 starts the agent."""
        return self.config.boot == "stock"

    def guest(self, *, park: bool) -> Guest:
        """The guest, without descriptors and files. ``park``: one whose state is saved, or comes from there."""
        init = [self.agent.python, *OPTIONS, AGENT_PATH, AGENT_PORT, *([_PARK] if park else [])]
        cpus = self.config.cpus or (1 if self.accel.kind == "tcg" else 2)
        made = Guest(self.accel.kind, "", memory=self.config.memory, cpus=cpus, extra=self.config.qemu_args)
        if self.stock:
            return made
        platform = PLATFORMS.get(architecture_of(self.image))
        if platform is None:
            cmdline = guest_cmdline(self.accel.kind, init=init, extra=self.config.kernel_args)
            return replace(made, cmdline=cmdline, firmware=self.tools.qboot)
        words = platform_cmdline(platform, init=init, extra=self.config.kernel_args)
        return replace(made, cmdline=joined(words), cpu=platform.cpu)


@dataclass(frozen=True, slots=True)
class Saved:
    """A machine whose memory is a file; ``state`` is the descriptor of what else was saved, None while it is made."""

    memory: MemoryFile
    state: int | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a running machine. ``monitor`` is QEMU's. ``started`` is a time of the monotonic clock."""

    qemu: QemuProcess
    stream: Stream
    monitor: Stream
    rundir: RunDir
    owner: int
    started: float
    beside: FileServer | None = None

    def take_apart(self) -> None:
        """End it and leave nothing."""
        if os.getpid() != self.owner:
            return  # a forked copy of this process ends: the guest is not its
        self.qemu.kill()
        if self.beside is not None:
            self.beside.end()
        self.stream.close()
        self.monitor.close()
        close_rundir(self.rundir)


def prepare(image: Image, config: BootConfig) -> Launch:
    """BootFailed when a program is missing, KVM is required and does not work, or there is no place to write to. Where
    that is only the cache, the guest is made elsewhere, and boots cold."""
    cache = config.cache.resolve()
    try:
        check_room(cache)
        return _prepare(image, config)
    except OSError as error:
        spare = spare_place(error)
        if spare is None:
            raise unusable(cache, error) from error
        problem = f"{unusable(cache, error).message}; it runs without"
    boot = "cold" if config.boot == "warm" else config.boot
    try:
        return replace(_prepare(image, replace(config, cache=spare, boot=boot)), problem=problem)
    except OSError as error:
        raise unusable(spare, error) from error


def _prepare(image: Image, config: BootConfig) -> Launch:
    cache = config.cache.resolve()
    native = architecture_of(image) == NATIVE
    tools = find_tools() if native else find_foreign_tools(architecture_of(image))
    if not native:
        return _prepare_foreign(image, config, tools=tools, cache=cache)
    daemon = find_daemon(image.spec) if lacks_9p(image) else ""
    if daemon and config.boot == "stock":
        config = replace(config, boot="cold")  # virtme-ng's own process 1 would mount the root over 9p
    agent = make_agent(cache, python=find_python())
    composition = compose(image, tools=tools, agent=agent, cache=cache, stock=config.boot == "stock")
    known = partial(kvm_problem, composition, tools, cache=cache, on_progress=config.on_progress)
    accel = choose_accel(config.accel, require_kvm=config.require_kvm, problem=known)
    accel = replace(accel, pace=kept_pace(cache, kind=accel.kind))
    return Launch(image, config, tools, agent, composition, accel, daemon=daemon)


def _prepare_foreign(image: Image, config: BootConfig, *, tools: Tools, cache: Path) -> Launch:
    """For another architecture: there is only emulation, and virtme-ng's own process 1 is not there."""
    name = architecture_of(image)
    if config.require_kvm or config.accel == "kvm":
        raise BootFailed(
            f"kernel {image.spec}: KVM runs no kernel of {name} here", hint="run it without the demand for KVM"
        )
    agent = make_foreign_agent(rooted_of(image), name, cache=cache)
    composition = compose_foreign(image, qemu=tools.qemu, agent=agent, cache=cache)
    accel = Accel("tcg", f"{name} is emulated", PLATFORMS[name].slowness)
    wanted = replace(config, boot="cold") if config.boot == "stock" else config
    return Launch(image, wanted, tools, agent, composition, accel)


def start(launch: Launch, *, saved: Saved | None = None) -> Parts:
    """Start QEMU."""
    began = time.monotonic()
    config = launch.config
    rundir = open_rundir(config.cache.resolve() / "running", launch.composition.path.name)
    with ExitStack() as stack:
        stream, channel = _pair(stack)
        monitor, control = _pair(stack)
        shell = _listen(rundir.shell, stack) if config.enter else None
        gdb = _listen(rundir.gdb, stack) if config.gdb else None
        guest = replace(launch.guest(park=saved is not None), channel=channel, monitor=control, shell=shell, gdb=gdb)
        if saved is not None:
            guest = replace(guest, memory_file=saved.memory, incoming=saved.state is not None)
        files = _connected(stack) if launch.daemon else None
        guest = replace(guest, files=files[0] if files else None)
        argv = qemu_argv(launch.composition.argv, guest)
        if not config.enter:
            argv = supervised(argv, setpriv=launch.tools.setpriv)

        def ended() -> None:
            stream.fail()
            monitor.fail()

        # A guest that stays holds the lock of its directory.
        state = saved.state if saved is not None else None
        given = (channel, control, state, shell, gdb, guest.files, rundir.lock if config.enter else None)
        fds = tuple(fd for fd in given if fd is not None)
        qemu = QemuProcess(argv, rundir=rundir, on_end=ended, pass_fds=fds)
        beside = serve_files(launch.daemon, listening=files[1], messages=rundir.messages) if files else None
    return Parts(qemu, stream, monitor, rundir, os.getpid(), began, beside)


def _pair(stack: ExitStack) -> tuple[Stream, int]:
    """A stream, and the descriptor of its other end, which is closed with the stack."""
    ours, theirs = socket.socketpair()
    stack.enter_context(theirs)
    return Stream(ours), theirs.fileno()


def _connected(stack: ExitStack) -> tuple[int, int]:
    """Descriptors, which are closed with the stack: a connection, and the listening socket that it waits at. Without
    a name in any file system."""
    listening, ours = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
    listening.bind("")  # Linux chooses an abstract name
    listening.listen(1)
    ours.connect(listening.getsockname())
    return ours.fileno(), listening.fileno()


def _listen(path: Path, stack: ExitStack) -> int:
    """The descriptor of a listening socket, which is closed with the stack. ``path`` may be longer than the address of
    a socket."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(f"/proc/self/fd/{folder}/{path.name}")
        listening.listen(1)
        return listening.fileno()
    finally:
        os.close(folder)


def greet(parts: Parts, launch: Launch, *, timeout: float) -> dict[str, Any]:
    """Tell the guest what is wanted and wait until its agent listens: what it says."""
    if launch.stock:
        _wait_readable(parts, launch, timeout=timeout)
        return {"release": launch.image.release, "python": "", "uptime": {}, "problems": []}
    here = _here()
    wishes = _wishes(launch.image, keep=(*here, *launch.config.keep), virtiofs=bool(launch.daemon))
    if launch.config.enter:
        wishes["shell"] = str(here[0]) if here else "/"
    try:
        parts.stream.write(json.dumps(wishes).encode() + b"\n", timeout)
    except OSError as error:
        parts.qemu.wait(2.0)
        raise failed(parts, launch.image.spec, why=end_reason(parts, otherwise=f"its port broke ({error})")) from error
    return read_line(parts, launch, timeout=timeout)


def read_line(parts: Parts, launch: Launch, *, timeout: float) -> dict[str, Any]:
    """A line of JSON from the guest's process 1. BootFailed when it does not come."""
    _wait_readable(parts, launch, timeout=timeout)
    name = launch.image.spec
    try:
        line = parts.stream.read_line(timeout)
        if line.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            return answer
    except (TimeoutError, ValueError) as error:
        raise failed(parts, name, why=f"its agent began with garbage ({error})") from error
    parts.qemu.wait(2.0)
    raise failed(parts, name, why=end_reason(parts, otherwise="its agent ended"))


def _wait_readable(parts: Parts, launch: Launch, *, timeout: float) -> None:
    name, console = launch.image.spec, parts.rundir.console
    began = time.monotonic()
    report = began + _REPORT_EVERY
    while not parts.stream.wait_readable(0.2):
        now = time.monotonic()
        if now - began > timeout:
            raise failed(parts, name, why=f"its agent did not answer within {timeout:.0f} s")
        if now > report:
            launch.config.on_progress(f"booting {name}: {now - began:.0f} s: {last_line(console)}")
            report = now + _REPORT_EVERY


def end_reason(parts: Parts, *, otherwise: str) -> str:
    """Why QEMU ended; ``otherwise`` if it runs."""
    end = parts.qemu.end()
    return end.reason if end is not None else otherwise


def clock_agrees(parts: Parts, *, uptime: float) -> bool:
    """Whether the guest has run no longer than its QEMU: on a busy machine an emulated kernel may measure its time
    stamp counter wrongly, and then trusts it for ever."""
    return uptime <= (time.monotonic() - parts.started) * _CLOCK_SLACK + _CLOCK_GRACE


def wrong_clock(launch: Launch) -> BootFailed:
    """The error of a guest whose clock is wrong in each attempt."""
    why = f"its clock ran faster than this machine's in each of {CLOCK_ATTEMPTS} boots"
    return BootFailed(f"kernel {launch.image.spec} did not come up: {why}", hint="is this machine overloaded?")


def failed(parts: Parts, name: str, *, why: str) -> BootFailed:
    """The error of a boot, with the console."""
    console = console_tail(parts.rundir.console)
    return BootFailed(f"kernel {name} did not come up: {why}", console=console, hint=_last_lines(console))


def _last_lines(console: str) -> str:
    if not console:
        return "its console is empty"
    return "its console ends:\n" + "\n".join(f"  {line}" for line in console.splitlines()[-8:])


def _here() -> tuple[Path, ...]:
    try:
        return (Path.cwd(),)
    except OSError:  # it was removed
        return ()


def _wishes(image: Image, *, keep: tuple[Path, ...], virtiofs: bool) -> dict[str, Any]:
    """The arguments of process 1; see ``pytest_ebpf.agent.protocol.setup.Wishes``."""
    modules = ""
    if image.modules_root is not None:
        keep = (*keep, image.modules_root)
        modules = str(image.modules_root.resolve() / "lib/modules" / image.release)
    hostname = "".join(c if c.isalnum() else "-" for c in f"guest-{image.release}")
    return {
        "hostname": hostname[:64],
        "modules": modules,
        "keep": [str(path.resolve()) for path in keep],
        "seed": os.urandom(32).hex(),
        "now": time.time(),
        "host": "" if architecture_of(image) == NATIVE else SHARE_TAG,
        "virtiofs": FILES_TAG if virtiofs else "",
    }
