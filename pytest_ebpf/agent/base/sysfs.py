"""Facts about the machine that ops need: CPU sets, small files."""

from __future__ import annotations

import os

__all__ = ["AUTOLOADED", "in_guest", "cpu_set", "possible_cpus", "read_bytes", "read_text"]

AUTOLOADED = "/run/modprobe.log"  # of a guest: what the kernel itself asked modprobe for (protocol/setup.py)
_PAGE = 1 << 12
_CHUNK = 1 << 20


def read_bytes(path: str, *, limit: int = 0) -> bytes:
    """A file's content, at most ``limit`` bytes when that is not 0. Never waits: a FIFO or device with nothing to
    read ends there."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return _read(fd, limit=limit or 1 << 62)
    finally:
        os.close(fd)


def _read(fd: int, *, limit: int) -> bytes:
    """A setting in /proc/sys costs the kernel a cleared buffer as large as what is asked for (proc_sys_call_handler,
    Linux 5.10 to 7.3): milliseconds per megabyte where it is emulated. One that is longer than that is cut off, so what
    fills a page is read again with more."""
    part = _some(fd, min(_PAGE, limit))
    if len(part) == _PAGE < limit and _rewound(fd):
        part = _some(fd, min(_CHUNK, limit))
    parts, left = [part], limit - len(part)
    ask = _PAGE if len(part) < _PAGE // 2 else _CHUNK
    while part and left:
        part = _some(fd, min(ask, left))
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _some(fd: int, n: int) -> bytes:
    try:
        return os.read(fd, n)
    except BlockingIOError:
        return b""


def _rewound(fd: int) -> bool:
    """Whether it can be read again: a pipe cannot."""
    try:
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        return False
    return True


def read_text(path: str, *, default: str = "") -> str:
    """A small text file, stripped; ``default`` when it cannot be read."""
    try:
        return read_bytes(path).decode(errors="replace").strip()
    except OSError:
        return default


def cpu_set(text: str) -> tuple[int, ...]:
    """CPU numbers of a kernel list: "0,2-4" -> (0, 2, 3, 4)."""
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


def possible_cpus() -> int:
    """How many CPUs the kernel may ever see: the number of values in a per-CPU element."""
    return len(cpu_set(read_text("/sys/devices/system/cpu/possible", default="0")))


def in_guest() -> bool:
    """Whether this is the agent of a guest: process 1 there made it safe from the kernel when memory runs out."""
    return read_text("/proc/self/oom_score_adj").strip() == "-1000"
