"""Facts about the machine that ops need: CPU sets, small files."""

from __future__ import annotations

import os

__all__ = ["AUTOLOADED", "in_guest", "cpu_set", "possible_cpus", "read_bytes", "read_text"]

AUTOLOADED = "/run/modprobe.log"  # of a guest: what the kernel itself asked modprobe for (protocol/setup.py)
_CHUNK = 1 << 16


def read_bytes(path: str, *, limit: int = 0) -> bytes:
    """A file's content, at most ``limit`` bytes when that is not 0. Never waits: a FIFO or device with nothing to
    read ends there."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        parts: list[bytes] = []
        left = limit or 1 << 62
        while left:
            try:
                part = os.read(fd, min(_CHUNK if limit else _CHUNK * 16, left))
            except BlockingIOError:
                break
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


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
