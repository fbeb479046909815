"""The error number of a refused load: its name, and what it may mean where there is no log."""

from __future__ import annotations

import errno
import os
import re

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["ERRNOS", "Errno", "errno_name"]

# ENOTSUPP is internal to the kernel: no C library knows it.
_NAMES = dict(errno.errorcode) | {ENOTSUPP: "ENOTSUPP", errno.EOPNOTSUPP: "EOPNOTSUPP"}
_TEXTS = {os.strerror(number).lower(): name for number, name in _NAMES.items() if number != ENOTSUPP}
_NUMBER = re.compile(r"(?:^|[( =])-?(\d{1,3})\)?$")
_NAME = re.compile(r"\bE[A-Z0-9]{2,}\b")


@dataclass(frozen=True, slots=True)
class Errno:
    """What an error number alone says about a load: a ``headline``, an ``advice`` and a class."""

    name: str
    headline: str
    advice: str
    cls: str = "no-verdict"


ERRNOS: dict[str, Errno] = {
    row.name: row
    for row in (
        Errno(
            "E2BIG",
            "E2BIG (argument list too long), without the verifier's log",
            "E2BIG has three causes. The verifier walked 1,000,000 instructions and gave up (shorten loops, "
            "bpf_loop(), split "
            "the program); a program has more instructions than are allowed (4096 without privileges and before "
            "5.2); or a "
            "map is too large (a per-CPU value over 32 KiB). Print the log (log level 1 or 2) to see which.",
        ),
        Errno(
            "EACCES",
            "EACCES (permission denied), without the verifier's log",
            "The verifier found an access that is not safe; its log says which. Print it: libbpf prints it on "
            "failure, "
            "cilium/ebpf with %+v, Aya in the error's source; else load at log level 1.",
        ),
        Errno(
            "EPERM",
            "EPERM (operation not permitted)",
            "The loader lacks privileges: CAP_BPF and CAP_PERFMON (before 5.8 CAP_SYS_ADMIN), also in containers and "
            "with "
            "kernel lockdown; before 5.11 RLIMIT_MEMLOCK counts too.",
            "privilege",
        ),
        Errno(
            "EINVAL",
            "EINVAL (invalid argument), without the verifier's log",
            "Either the verifier refused the program (its log says why: print it at log level 1), or the kernel does "
            "not know a flag, program type, attach type or map type that is newer than it. Before 5.0 a kprobe program "
            "also needs the version of the running kernel (kern_version).",
        ),
        Errno(
            "ENOENT",
            "ENOENT (no such file or directory), without a log",
            "Something that the program names does not exist on this kernel: a function to attach to, a kernel "
            "symbol, a "
            "kernel function of a module, or the object file itself.",
        ),
        Errno(
            "ESRCH",
            "ESRCH (no such process), without a log",
            "The loader found no such type or function in the kernel's BTF: the attach target does not exist here, "
            "or the "
            "kernel has no BTF (CONFIG_DEBUG_INFO_BTF).",
        ),
        Errno(
            "ENOMEM",
            "ENOMEM (cannot allocate memory)",
            "There is no memory for a map, the log or the JIT's code: look at RLIMIT_MEMLOCK (before 5.11), the "
            "memory limit "
            "of the cgroup, and the sizes of the maps.",
        ),
        Errno(
            "ENOSPC",
            "ENOSPC (no space left on device): the log did not fit into the loader's buffer",
            "The verdict is not known. Load again with a bigger buffer, or at log level 4, which prints the error "
            "without the "
            "trace.",
        ),
        Errno(
            "EFAULT",
            "EFAULT (bad address), without the verifier's log",
            "Often an ordinary limit: more than 8192 branches wait to be walked. Also a bad pointer from the loader. "
            "Print the "
            "log at log level 1.",
        ),
        Errno(
            "EBADF",
            "EBADF (bad file descriptor)",
            "The loader gave the kernel a file descriptor that is closed or not a map, a BTF or a program: create "
            "the maps "
            "first and keep their descriptors open until the program is loaded.",
        ),
        Errno(
            "ENOTSUPP",
            "ENOTSUPP (524): the kernel or its JIT does not support this",
            "The JIT of this architecture or this kernel lacks a feature that the program uses (kernel functions, "
            "atomics, "
            "trampolines); a newer kernel may have it.",
        ),
        Errno(
            "EOPNOTSUPP",
            "EOPNOTSUPP (operation not supported)",
            "This kernel, its configuration or the driver does not support the program type or its attach mode.",
        ),
        Errno(
            "EBUSY",
            "EBUSY (device or resource busy)",
            "Something is attached there already: detach it first, or replace it. The program itself was loaded.",
        ),
    )
}


def errno_name(text: str) -> str:
    """The name of the error number in a loader's words (``Permission denied``, ``-22``, ``-EINVAL``, ``(os error 7)``);
    "" where there is none."""
    if named := _NAME.search(text):
        return named[0]
    lower = text.lower()
    for words, name in _TEXTS.items():
        if words in lower:
            return name
    number = _NUMBER.search(text.strip())
    return _NAMES.get(int(number[1]), "") if number else ""
