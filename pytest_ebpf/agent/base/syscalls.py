"""The system calls that Python has no function for. The only file that calls libc.

Every function raises ``OSError`` with the kernel's errno (524 ENOTSUPP included), except ``bpf_errno``, which returns
it: loops over map entries end in errors that are answers.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EAGAIN, EMFILE, EPERM
from functools import partial
from itertools import compress, repeat
from typing import Any

from pytest_ebpf.uapi import numbers
from pytest_ebpf.uapi.enums import Cmd

__all__ = [
    "BpfRow",
    "Memory",
    "address_of",
    "address_of_buffer",
    "bpf",
    "bpf_at",
    "bpf_errno",
    "bpf_prepared",
    "capset",
    "delete_module",
    "detached_mount",
    "error_text",
    "fanotify",
    "finit_module",
    "last_errno",
    "map_shared",
    "mount",
    "open_files",
    "perf_event_open",
    "perf_ioctl",
    "prctl",
    "raise_memlock",
    "raise_open_files",
    "setns",
    "signals_held_back",
    "umount",
    "unmap",
    "unshare",
]

_BIG = 1 << 20
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_LOAD_ATTEMPTS = 4
_MANY_FILES = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)
_machine = os.uname().machine
_numbers = numbers.SYSCALLS.get(_machine, numbers.SYSCALLS["generic"])
_BPF = _numbers["bpf"]
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
# The variadic syscall(2) takes longs. Six are always passed: argtypes keep 64-bit addresses whole.
_syscall.argtypes = [ctypes.c_long] * 7
# The same function for bpf(2), which has three arguments: each that is passed is converted.
_bpf = _libc["syscall"]
_bpf.restype = ctypes.c_long
_bpf.argtypes = [ctypes.c_long] * 4
# The same function for arguments that are C values already: no conversion, half the time of a short system call.
_prepared = _libc["syscall"]
_prepared.restype = ctypes.c_long
# And once more without an errno kept per thread, which takes as long as a third of a short system call.
_quick = ctypes.CDLL(None)["syscall"]
_quick.restype = ctypes.c_long
_get_errno = ctypes.get_errno
_long = ctypes.c_long.from_param  # an argument, which a call takes as it is; of a c_long it would make one each time
_Char = ctypes.c_char
_CharPointer = ctypes.c_char_p
_VoidPointer = ctypes.c_void_p


def error_text(errno: int) -> str:
    """The text of an errno."""
    if errno == EMFILE:
        return f"{os.strerror(errno)}: this process may have {open_files()} (RLIMIT_NOFILE)"
    return "not supported by this kernel" if errno == numbers.ENOTSUPP else os.strerror(errno)


def open_files() -> int:
    """How many descriptors this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_open_files() -> bool:
    """Raise the limit of open files as far as this process may, the first time that it is reached; whether it rose.
    Every object of a test is a descriptor here, and the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, _MANY_FILES), hard):  # above the hard limit: root
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        except (ValueError, OSError):
            continue
        return most > soft
    return False


def _fail() -> OSError:
    errno = _get_errno()
    return OSError(errno, error_text(errno))


class Memory:
    """Zeroed memory whose address the kernel may be given. From 1 MiB on the pages come when first touched. A slice of
    ``array`` is bytes, at half the cost of ``bytes(view[...])``."""

    __slots__ = ("address", "array", "size", "view")

    def __init__(self, size: int) -> None:
        kind = ctypes.c_char * max(size, 1)
        self.array: Any = kind() if size < _BIG else kind.from_buffer(mmap.mmap(-1, size, flags=_PRIVATE))
        self.address = ctypes.addressof(self.array)
        self.view = memoryview(self.array).cast("B")
        self.size = size

    def text(self) -> bytes:
        """The bytes before the first NUL."""
        text: bytes = self.array.value
        return text

    def clear(self, length: int) -> None:
        """Zeroes in the place of the first bytes."""
        self.view[:length] = bytes(length)


_libc.mmap.restype = _VoidPointer
_libc.mmap.argtypes = (_VoidPointer, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_MAP_FAILED = _VoidPointer(-1).value


def address_of(data: bytes) -> int:
    """Where ``data`` lies; 0 for none. For the kernel to read only, and while the caller holds ``data``."""
    if not data:
        return 0
    return _VoidPointer.from_buffer(_CharPointer(data)).value or 0  # half the time of a cast


def address_of_buffer(data: bytearray | memoryview[int]) -> int:
    """Likewise, for the kernel to write too; ``data`` must not change its size meanwhile."""
    return ctypes.addressof(_Char.from_buffer(data)) if data else 0


def bpf_at(cmd: int, address: int, *, size: int) -> int:
    """bpf(2) on the attribute at ``address``: what the call returned, or -errno."""
    result: int = _bpf(_BPF, cmd, address, size)
    return result if result >= 0 else -_get_errno()


# Kernels write some answers wherever they belong in union bpf_attr, even behind an attribute as short as this caller's
# (kernel/bpf/mprog.c: bpf_mprog_query() writes the revision at byte 56). What comes there is not read.
_ROOM = bytes(256)


def bpf_prepared(cmd: int, attr: Memory) -> Callable[[], int]:
    """bpf(2) on an attribute that stays where it is, for being called again and again: what the call returned, or -1
    with the errno left for ``last_errno``. ``attr`` has to be kept by the caller."""
    return partial(_prepared, _long(_BPF), _long(cmd), ctypes.byref(attr.array), _long(attr.size))


class BpfRow:
    """bpf(2) on attributes of ``size`` bytes that lie one behind the other in ``attrs``. The row has to be kept by the
    caller. No line of Python runs between two calls, which would take as long as a short system call."""

    __slots__ = ("_call", "_each", "_quick", "_size")

    def __init__(self, cmd: int, attrs: Memory, *, size: int) -> None:
        self._call, self._quick = (partial(call, _long(_BPF), _long(cmd)) for call in (_prepared, _quick))
        self._each = [ctypes.byref(attrs.array, at) for at in range(0, attrs.size, size)]
        self._size = _long(size)

    def one(self, index: int) -> Callable[[], int]:
        """A single call, as of ``bpf_prepared``."""
        return partial(self._call, self._each[index], self._size)

    def run(self, first: int, last: int) -> int:
        """The calls from ``first`` on, up to the first that fails: its index. ``last`` when none fails before. Nobody
        keeps the errno: ``one`` asks for it again."""
        each = self._each if last - first == len(self._each) else self._each[first:last]
        return next(compress(range(first, last), map(self._quick, each, repeat(self._size))), last)


def last_errno() -> int:
    """The errno of this thread's last failed call."""
    return _get_errno()


def bpf_errno(cmd: int, attr: bytearray) -> int:
    """bpf(2): what it returned, or -errno. The kernel may write to ``attr``.

    PROG_LOAD answers EAGAIN when a signal arrives during verification; it is tried again, at last with signals held
    back, for a profiler may send them faster than a large program is verified.
    """
    size = len(attr)
    attr.extend(_ROOM)
    address = ctypes.addressof(_Char.from_buffer(attr))
    result = bpf_at(cmd, address, size=size)
    if result == -EMFILE and raise_open_files():
        result = bpf_at(cmd, address, size=size)
    attempts = 1
    while result == -EAGAIN and cmd == Cmd.PROG_LOAD and attempts < _LOAD_ATTEMPTS:
        result = bpf_at(cmd, address, size=size)
        attempts += 1
    if result == -EAGAIN and cmd == Cmd.PROG_LOAD:
        with signals_held_back():
            result = bpf_at(cmd, address, size=size)
    del attr[size:]
    return result


@contextmanager
def signals_held_back() -> Iterator[None]:
    """No signal interrupts a system call of this thread meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def bpf(cmd: int, attr: bytearray) -> int:
    """bpf(2): what it returned. Raises ``OSError``."""
    result = bpf_errno(cmd, attr)
    if result < 0:
        raise OSError(-result, error_text(-result))
    return result


def raise_memlock(call: Callable[[], int]) -> int:
    """``call`` (answering like ``bpf_errno``), once more with RLIMIT_MEMLOCK lifted when it says EPERM: until Linux
    5.11 (commit d5299b67dd59) maps and programs counted against that limit, whose default is 64 KiB."""
    result = call()
    if result != -EPERM:
        return result
    try:
        if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
            return result
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        return result
    return call()


def perf_event_open(attr: bytearray, *, pid: int, cpu: int, flags: int) -> int:
    """perf_event_open(2) -> fd."""
    address = ctypes.addressof((ctypes.c_char * len(attr)).from_buffer(attr))
    fd: int = _syscall(_numbers["perf_event_open"], address, pid, cpu, -1, flags, 0)
    if fd < 0:
        raise _fail()
    return fd


def perf_ioctl(fd: int, request: int, *, value: int = 0) -> None:
    """An ioctl of a perf event that takes a number."""
    fcntl.ioctl(fd, request, value)


def unshare(flags: int) -> None:
    """unshare(2), for the calling thread."""
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        raise _fail()


def setns(fd: int, kind: int) -> None:
    """setns(2), for the calling thread."""
    if _libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)) != 0:
        raise _fail()


def prctl(option: int, value: int, *, more: int = 0) -> int:
    """prctl(2), for the calling thread."""
    result: int = _libc.prctl(ctypes.c_int(option), *map(ctypes.c_ulong, (value, more, 0, 0)))
    if result < 0:
        raise _fail()
    return result


def capset(*, effective: int, permitted: int, inheritable: int) -> None:
    """capset(2), for the calling thread; each set as a number with a bit per capability."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    sets = (effective, permitted, inheritable)
    data = (ctypes.c_uint32 * 6)(*(one & 0xFFFFFFFF for one in sets), *(one >> 32 for one in sets))
    if _libc.capset(header, data) != 0:
        raise _fail()


def map_shared(fd: int, size: int, *, address: int = 0) -> int:
    """mmap(2) of all of ``fd``, readable and writable, at ``address`` (0: wherever) -> the address."""
    flags = mmap.MAP_SHARED | (numbers.MAP_FIXED_NOREPLACE if address else 0)
    result: int | None = _libc.mmap(_VoidPointer(address), size, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, 0)
    if result is None or result == _MAP_FAILED:
        raise _fail()
    return result


def unmap(address: int, size: int) -> None:
    """munmap(2)."""
    if _libc.munmap(_VoidPointer(address), ctypes.c_size_t(size)) != 0:
        raise _fail()


def mount(source: str, target: str, *, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    texts = [_CharPointer(os.fsencode(text)) if text else None for text in (source, target, fstype, data)]
    if _libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]) != 0:
        raise _fail()


def umount(target: str, *, flags: int = numbers.MNT_DETACH) -> None:
    """umount2(2)."""
    if _libc.umount2(_CharPointer(os.fsencode(target)), ctypes.c_int(flags)) != 0:
        raise _fail()


def finit_module(fd: int) -> None:
    """finit_module(2), without parameters."""
    if _syscall(_numbers["finit_module"], fd, address_of(b"\0"), 0, 0, 0, 0) < 0:
        raise _fail()


def delete_module(name: str) -> None:
    """delete_module(2), without waiting for its users."""
    text = os.fsencode(name) + b"\0"
    if _syscall(_numbers["delete_module"], address_of(text), os.O_NONBLOCK, 0, 0, 0, 0) < 0:
        raise _fail()


def fanotify(path: str) -> int:
    """A descriptor that tells, without waiting, of writes to any file of the file system of ``path`` (Linux 4.20)."""
    group: int = _syscall(
        _numbers["fanotify_init"], numbers.FAN_CLOEXEC | numbers.FAN_NONBLOCK, os.O_RDONLY | os.O_CLOEXEC, 0, 0, 0, 0
    )
    if group < 0:
        raise _fail()
    name = os.fsencode(path) + b"\0"
    flags = numbers.FAN_MARK_ADD | numbers.FAN_MARK_FILESYSTEM
    if _syscall(_numbers["fanotify_mark"], group, flags, numbers.FAN_MODIFY, -100, address_of(name), 0) < 0:  # AT_FDCWD
        error = _fail()
        os.close(group)
        raise error
    return group


def detached_mount(fstype: str) -> int:
    """A file system mounted nowhere (fsopen, fsconfig, fsmount; Linux 5.2) -> fd of its root directory."""
    name = fstype.encode()
    context: int = _syscall(_numbers["fsopen"], address_of(name), 1, 0, 0, 0, 0)
    if context < 0:
        raise _fail()
    try:
        if _syscall(_numbers["fsconfig"], context, numbers.FSCONFIG_CMD_CREATE, 0, 0, 0, 0) < 0:
            raise _fail()
        fd: int = _syscall(_numbers["fsmount"], context, 1, 0, 0, 0, 0)
        if fd < 0:
            raise _fail()
        return fd
    finally:
        os.close(context)
