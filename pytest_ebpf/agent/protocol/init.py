"""Process 1 of a guest: makes a usable machine of a bare kernel, runs the agent on a virtio port, reaps the dead.

The host says what it wants in one line of JSON on the port (``Wishes``), before anything else; the answer, once the
agent is about to listen, is one line of JSON too: ``{"release", "python", "uptime": {stage: s}, "problems": [text]}``.
From then on the port belongs to ``serve``. When the agent ends, or the host closes the port, the machine ends.

Nothing here may raise past ``main``: the end of process 1 is a kernel panic, which would hide what went wrong.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from pytest_ebpf.agent.base import syscalls
from pytest_ebpf.uapi.numbers import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID

__all__ = ["Wishes", "find_port", "main", "read_wishes"]

_PLAIN = MS_NOSUID | MS_NODEV
_TIGHT = _PLAIN | MS_NOEXEC
_PORTS = "/sys/class/virtio-ports"
_FRESH = ("/run", "/var/tmp", "/tmp")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# (file system, where, flags, options)
_FIRST_MOUNTS = (
    ("proc", "/proc", _TIGHT, ""),
    ("sysfs", "/sys", _TIGHT, ""),
    ("devtmpfs", "/dev", MS_NOSUID, ""),
)
_KERNEL_MOUNTS = (
    ("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=620"),
    ("tmpfs", "/dev/shm", _PLAIN, "mode=1777"),
    ("securityfs", "/sys/kernel/security", _TIGHT, ""),
    ("debugfs", "/sys/kernel/debug", _TIGHT, ""),
    ("tracefs", "/sys/kernel/tracing", _TIGHT, ""),
    ("bpf", "/sys/fs/bpf", _TIGHT, "mode=700"),
    ("cgroup2", "/sys/fs/cgroup", _TIGHT, ""),
)
_LINKS = (("/proc/self/fd", "/dev/fd"), ("fd/0", "/dev/stdin"), ("fd/1", "/dev/stdout"), ("fd/2", "/dev/stderr"))


class Wishes(NamedTuple):
    """What the host wants. ``modules`` is the directory lib/modules/<release> or empty; ``keep`` names directories
    that must stay visible below ``/run``, ``/var/tmp`` and ``/tmp``."""

    hostname: str = "guest"
    modules: str = ""
    keep: tuple[str, ...] = ()


def main(argv: list[str]) -> int:
    """``argv``: the name of the agent's port. Returns only when this is not process 1 (in the agent's process)."""
    os.environ.update(PATH=_PATH, HOME="/tmp", LANG="C.UTF-8", TERM="dumb")
    stages = {"python": _uptime()}
    try:
        for fstype, target, flags, data in _FIRST_MOUNTS:
            _mount(fstype, target, flags=flags, data=data)
        port = os.open(find_port(argv[0]), os.O_RDWR | os.O_CLOEXEC)
        wishes = read_wishes(port)
        problems = _set_up(wishes)
        stages["machine"] = _uptime()
        child = os.fork()
        if child == 0:
            return _agent(port, stages=stages, problems=problems)
        os.close(port)
        _reap(child)
    except BaseException as error:
        print(f"pytest-ebpf: process 1: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    _power_off()
    return 1


def find_port(name: str, *, ports: str = _PORTS, patience: float = 10.0) -> str:
    """The device of the virtio port ``name``. Ports appear a moment after their driver."""
    deadline = time.monotonic() + patience
    while True:
        for device in os.listdir(ports) if os.path.isdir(ports) else ():
            with open(f"{ports}/{device}/name", encoding="ascii") as file:
                if file.read().strip() == name:
                    return f"/dev/{device}"
        if time.monotonic() > deadline:
            raise FileNotFoundError(f"no virtio port is called {name}")
        time.sleep(0.01)


def read_wishes(port: int) -> Wishes:
    """The host's line, waiting for it. Byte by byte: what follows the line belongs to the agent."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(port, 1)
        if not byte:
            raise EOFError("the host closed the port")
        line += byte
    known = json.loads(line)
    return Wishes(known["hostname"], known["modules"], tuple(known["keep"]))


def _set_up(wishes: Wishes) -> list[str]:
    """Everything that a guest can do without when it fails; the failures, as text."""
    problems: list[str] = []
    jobs: list[Callable[[], None]] = [
        partial(_mount, fstype, target, flags=flags, data=data) for fstype, target, flags, data in _KERNEL_MOUNTS
    ]
    jobs += [partial(_fresh_directories, wishes.keep), partial(_find_modules, wishes.modules)]
    jobs += [partial(_write, "/proc/sys/kernel/hostname", wishes.hostname), _loopback_up, _links, _read_ahead]
    for job in jobs:
        try:
            job()
        except OSError as error:
            problems.append(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    return problems


def _mount(fstype: str, target: str, *, flags: int, data: str) -> None:
    try:
        if not os.path.isdir(target):
            os.mkdir(target)
        syscalls.mount(fstype, target, fstype=fstype, flags=flags, data=data)
    except OSError as error:
        if error.errno != errno.EBUSY:  # it is mounted there already
            raise OSError(error.errno, error.strerror, f"mount {fstype} on {target}") from error


def _fresh_directories(keep: tuple[str, ...]) -> None:
    """Writable file systems of the guest's own, with the host's directories that are to be kept bound back in."""
    hosts = {top: os.open(top, os.O_PATH | os.O_DIRECTORY) for top in _FRESH if os.path.isdir(top)}
    try:
        for top in hosts:
            _mount("tmpfs", top, flags=_PLAIN, data="mode=755" if top == "/run" else "mode=1777")
        for path in keep:
            top = next((top for top in hosts if path.startswith(top + "/")), "")
            if top:
                os.makedirs(path, exist_ok=True)
                syscalls.mount(f"/proc/self/fd/{hosts[top]}{path[len(top) :]}", path, fstype="", flags=MS_BIND)
    finally:
        for fd in hosts.values():
            os.close(fd)


def _find_modules(modules: str) -> None:
    """Let ``modprobe``, the kernel's own calls of it included, find the modules of this kernel."""
    here = f"/lib/modules/{os.uname().release}"
    if not modules or os.path.realpath(here) == modules:
        return
    if os.path.isdir("/lib/modules"):
        _mount("tmpfs", "/lib/modules", flags=_PLAIN, data="mode=755")
        os.symlink(modules, here)
        return
    # The host has no such directory and its root is read-only: tell modprobe instead.
    root = modules[: -len(here)]
    os.environ["MODPROBE_OPTIONS"] = f"-d {root}"
    script = "/run/modprobe"
    _write(script, f'#!/bin/sh\nexec modprobe -d "{root}" "$@"\n')
    os.chmod(script, 0o755)
    _write("/proc/sys/kernel/modprobe", script)


def _loopback_up() -> None:
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS


def _links() -> None:
    for target, link in _LINKS:
        if not os.path.lexists(link):
            os.symlink(target, link)


def _read_ahead() -> None:
    """Programs start from the host's files, page fault by page fault: read more than the one page that 9p sets."""
    for device in os.listdir("/sys/class/bdi"):
        if device.startswith("9p"):
            _write(f"/sys/class/bdi/{device}/read_ahead_kb", "128")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _agent(port: int, *, stages: dict[str, float], problems: list[str]) -> int:
    """The agent's process: say that it is there, then serve until the host closes the port."""
    from pytest_ebpf.agent.protocol.serve import serve

    os.setsid()
    stages["agent"] = _uptime()
    version = ".".join(str(part) for part in sys.version_info[:3])
    hello = {"release": os.uname().release, "python": version, "uptime": stages, "problems": problems}
    with open(port, "rb", buffering=0) as stream_in, open(os.dup(port), "wb", buffering=0) as stream_out:
        stream_out.write(json.dumps(hello).encode() + b"\n")
        serve(stream_in, stream_out)
    return 0


def _reap(child: int) -> None:
    """Wait for orphans until the agent's process is among the dead."""
    while True:
        pid, status = os.wait()
        if pid == child:
            if status:
                print(f"pytest-ebpf: the agent ended with wait status {status:#x}", file=sys.stderr, flush=True)
            return


def _power_off() -> None:
    """With QEMU's -no-reboot a restart is an end, and the quickest."""
    _write("/proc/sysrq-trigger", "b")
    while True:
        time.sleep(1)


def _uptime() -> float:
    return round(time.clock_gettime(time.CLOCK_BOOTTIME), 3)
