"""What process 1 of a guest does to make a usable machine of a bare kernel, step by step.

It begins in the initramfs, which holds Python, the agent and the modules that reach the host's files
(``vm/guest/initramfs.py``): nothing there comes from the host while the guest runs. ``enter_host`` then makes the
host's root the guest's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from pytest_ebpf.agent.base import syscalls
from pytest_ebpf.agent.base.sysfs import AUTOLOADED
from pytest_ebpf.uapi.numbers import MS_BIND, MS_MOVE, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY

__all__ = [
    "HOME",
    "Wishes",
    "bring_up",
    "enter_host",
    "first_mounts",
    "free_initramfs",
    "load_modules",
    "settle",
    "write",
]

HOME = "/pytest-ebpf"  # in the initramfs: the agent and its modules
_PLAIN = MS_NOSUID | MS_NODEV
_TIGHT = _PLAIN | MS_NOEXEC
# Full, they leave memory for everything else.
_FRESH = {"/run": "mode=755,size=10%", "/var/tmp": "mode=1777,size=15%", "/tmp": "mode=1777,size=40%"}
_PROGRAMS, _HOSTS = ".root", ".host"  # where the two shares of a guest of another architecture are mounted
_9P = "trans=virtio,version=9p2000.L,access=any,msize=524288"  # as virtme-ng mounts it

# (file system, where, flags, options)
_FIRST_MOUNTS = (
    ("proc", "/proc", _TIGHT, ""),
    ("sysfs", "/sys", _TIGHT, ""),
    ("devtmpfs", "/dev", MS_NOSUID, ""),
)
_KERNEL_MOUNTS = (
    ("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=620"),
    ("tmpfs", "/dev/shm", _PLAIN, "mode=1777,size=15%"),
    ("securityfs", "/sys/kernel/security", _TIGHT, ""),
    ("debugfs", "/sys/kernel/debug", _TIGHT, ""),
    ("tracefs", "/sys/kernel/tracing", _TIGHT, ""),
    ("bpf", "/sys/fs/bpf", _TIGHT, "mode=700"),
    ("cgroup2", "/sys/fs/cgroup", _TIGHT, ""),
)
_LINKS = (("/proc/self/fd", "/dev/fd"), ("fd/0", "/dev/stdin"), ("fd/1", "/dev/stdout"), ("fd/2", "/dev/stderr"))


class Wishes(NamedTuple):
    """What the host wants. ``modules`` is the directory lib/modules/<release> or empty; ``keep`` names directories
    that must stay visible below ``/run``, ``/var/tmp`` and ``/tmp``; ``now`` is the host's time in seconds, ``seed``
    random bytes in hexadecimal; ``shell`` a directory for people's shells, "" for a guest that nobody enters; ``host``
    the tag of the share with the host's files, where the root is not the host's (another architecture); ``virtiofs``
    that of the host's root, where it does not come over 9p."""

    hostname: str = "guest"
    modules: str = ""
    keep: tuple[str, ...] = ()
    now: float = 0.0
    seed: str = ""
    shell: str = ""
    host: str = ""
    virtiofs: str = ""


def first_mounts() -> None:
    """What everything else needs."""
    for fstype, target, flags, data in _FIRST_MOUNTS:
        _mount(fstype, target, flags=flags, data=data)


def load_modules(folder: str = f"{HOME}/modules") -> None:
    """The modules of the initramfs, in the order of their names."""
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        fd = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.finit_module(fd)
        except OSError as error:
            if error.errno != errno.EEXIST:  # built in, or loaded by the kernel itself
                print(f"pytest-ebpf: module {name}: {error.strerror}", flush=True)
        finally:
            os.close(fd)


def bring_up() -> list[str]:
    """What needs nothing of the host; the failures, as text."""
    jobs: list[Callable[[], None]] = [
        partial(_mount, fstype, target, flags=flags, data=data) for fstype, target, flags, data in _KERNEL_MOUNTS
    ]
    return _run([*jobs, _loopback_up, _links])


def settle(wishes: Wishes) -> list[str]:
    """What the host's files and wishes are needed for; the failures, as text."""
    jobs: list[Callable[[], None]] = [partial(_fresh_directories, wishes.keep), partial(_find_modules, wishes.modules)]
    return _run([*jobs, partial(write, "/proc/sys/kernel/hostname", wishes.hostname), _read_ahead])


def _run(jobs: Iterable[Callable[[], None]]) -> list[str]:
    """Everything that a guest can do without when it fails."""
    problems: list[str] = []
    for job in jobs:
        try:
            job()
        except OSError as error:
            problems.append(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    return problems


def enter_host(wishes: Wishes) -> None:
    """The host's root, read-only, becomes ours, with what is mounted on /proc, /sys and /dev. Of another architecture,
    it is a root of its own, with the host's directories that are to be kept at their places."""
    root = "/newroot"
    os.makedirs(root, exist_ok=True)
    if wishes.host:
        _own_root(root, wishes)
    elif wishes.virtiofs:
        _mount_share(wishes.virtiofs, root, fstype="virtiofs")
    else:
        _mount_9p("/dev/root", root)
    for top in ("/proc", "/sys", "/dev"):
        syscalls.mount(top, root + top, fstype="", flags=MS_MOVE)
    os.chdir(root)
    syscalls.mount(".", "/", fstype="", flags=MS_MOVE)
    os.chroot(".")
    os.chdir("/")


def _mount_9p(tag: str, target: str) -> None:
    _mount_share(tag, target, fstype="9p", data=_9P)


def _mount_share(tag: str, target: str, *, fstype: str, data: str = "") -> None:
    try:
        syscalls.mount(tag, target, fstype=fstype, flags=MS_RDONLY, data=data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"mount the host's files ({tag}) over {fstype}") from error


def _own_root(root: str, wishes: Wishes) -> None:
    """A file system in memory; the programs are below /usr, read-only. Directories to keep are made in it, and nothing
    is written to them: they are the host's, read-only."""
    syscalls.mount("tmpfs", root, fstype="tmpfs", flags=_PLAIN, data="mode=755,size=5%")
    for name in ("proc", "sys", "dev", "run", "tmp", "var/tmp", "root", "etc", "usr", _PROGRAMS, _HOSTS):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    _mount_9p("/dev/root", f"{root}/{_PROGRAMS}")
    syscalls.mount(f"{root}/{_PROGRAMS}/usr", f"{root}/usr", fstype="", flags=MS_BIND)
    for name in os.listdir(f"{root}/{_PROGRAMS}/etc"):
        os.symlink(f"/{_PROGRAMS}/etc/{name}", f"{root}/etc/{name}")
    for name in ("bin", "sbin", "lib", "lib64"):
        os.symlink(f"usr/{name}", f"{root}/{name}")
    _mount_9p(wishes.host, f"{root}/{_HOSTS}")
    for path in wishes.keep:
        with suppress(OSError):  # it went away, or a file system of the guest's own comes there
            if os.path.isdir(f"{root}/{_HOSTS}{path}"):
                os.makedirs(root + path, exist_ok=True)
                syscalls.mount(f"{root}/{_HOSTS}{path}", root + path, fstype="", flags=MS_BIND)


def free_initramfs() -> None:
    """Give back the memory of what no process has mapped."""
    for top in ("usr", "lib", "lib64", HOME.strip("/")):
        for folder, _, names in os.walk(f"/{top}"):
            for name in names:
                with suppress(OSError):
                    os.unlink(f"{folder}/{name}")


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
            _mount("tmpfs", top, flags=_PLAIN, data=_FRESH[top])
        for path in keep:
            top = next((top for top in hosts if path.startswith(top + "/")), "")
            if top:
                os.makedirs(path, exist_ok=True)
                syscalls.mount(f"/proc/self/fd/{hosts[top]}{path[len(top) :]}", path, fstype="", flags=MS_BIND)
    finally:
        for fd in hosts.values():
            os.close(fd)


def _find_modules(modules: str) -> None:
    """Let ``modprobe`` find the modules of this kernel. Its own calls of it are written down: what they load is a part
    of what it does, and not left behind by a test."""
    here = f"/lib/modules/{os.uname().release}"
    where = ""
    if modules and os.path.realpath(here) != modules:
        if os.path.isdir("/lib/modules"):
            _mount("tmpfs", "/lib/modules", flags=_PLAIN, data="mode=755")
            os.symlink(modules, here)
        else:  # the host has no such directory and its root is read-only: tell modprobe instead
            root = modules[: -len(here)]
            os.environ["MODPROBE_OPTIONS"] = f"-d {_quoted(root)}"
            where = f"-d {_quoted(root)} "
    script = "/run/modprobe"
    # The kernel calls it with "-q -- NAME", and -q would silence -v, which prints a line for each module.
    write(script, f'#!/bin/sh\nshift\nexec modprobe -v {where}"$@" >>{AUTOLOADED} 2>/dev/null\n')
    os.chmod(script, 0o755)
    write("/proc/sys/kernel/modprobe", script)
    write(AUTOLOADED, "")


def _quoted(path: str) -> str:
    """For a shell, and for modprobe's own options."""
    return path if path.replace("/", "").isalnum() else "'" + path.replace("'", "'\\''") + "'"


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
            write(f"/sys/class/bdi/{device}/read_ahead_kb", "128")


def write(path: str, text: str) -> None:
    """A file of the kernel, or a small one of ours."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
