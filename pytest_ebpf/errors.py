"""Every exception of the package, split by whose fault it is.

    EbpfError
    +-- BpfUsageError         wrong use of pytest-ebpf: an unknown kernel spec, marker or option
    +-- ObjectError           your object file: what is wrong, where, what to try
    +-- PlanError             this kernel cannot do what the object or the test asks for
    +-- ProgramRejected       the verifier rejected a program; carries the whole log (verifier/program_rejected.py)
    +-- KernelCallError       a kernel operation failed: which, errno, hint; an OSError too
    +-- HarnessError          the machinery around the test
        +-- GuestLost         a running guest died or stopped answering
        +-- BootFailed        a guest did not boot, or its agent did not answer
        +-- ImageError        a kernel image could not be found, fetched, verified or unpacked
            +-- MirrorUnreachable   the archive does not answer; cached kernels still work
            +-- PackageGone         the archive lists a file that it no longer has

``str()`` of each is the one useful line (a second line may say what to do). A ``HarnessError`` makes a test *error*;
the others make it *fail*.
"""

from __future__ import annotations

import errno as _errno

from pytest_ebpf.outcome import Outcome
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = [
    "BootFailed",
    "EbpfError",
    "GuestLost",
    "HarnessError",
    "ImageError",
    "KernelCallError",
    "MirrorUnreachable",
    "ObjectError",
    "PackageGone",
    "PlanError",
    "BpfUsageError",
    "errno_name",
]


def errno_name(number: int) -> str:
    """The symbol of an errno: 13 -> "EACCES". Unknown numbers come back as "errno N"."""
    if number == ENOTSUPP:
        return "ENOTSUPP"
    if number == _errno.EOPNOTSUPP:  # Python's table has the other name of this number
        return "EOPNOTSUPP"
    return _errno.errorcode.get(number, f"errno {number}")


class EbpfError(Exception):
    """Base of all. ``hint`` is what to do about it; it is the last line of ``str()``."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class BpfUsageError(EbpfError):
    """pytest-ebpf was called with something that does not exist."""


class ObjectError(EbpfError):
    """The object file is not what it should be.

    ``path`` names the file, ``section`` the ELF section and ``offset`` the byte in it, where they are known;
    ``reason`` is the message without the place.
    """

    def __init__(
        self, message: str, *, path: str = "", section: str = "", offset: int | None = None, hint: str = ""
    ) -> None:
        where = path
        if section:
            where += f"[{section}]" if where else section
        if offset is not None:
            where += f"+{offset:#x}"
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.reason = message
        self.path = path
        self.section = section
        self.offset = offset


class PlanError(EbpfError):
    """This kernel lacks something. ``feature`` names it, ``since`` is the first release that has it. ``target``: what a
    program is to be attached to ("function 'do_exit'"), where that is what is missing."""

    def __init__(self, message: str, *, feature: str = "", since: str = "", hint: str = "", target: str = "") -> None:
        super().__init__(message, hint=hint)
        self.feature = feature
        self.since = since
        self.target = target


class KernelCallError(EbpfError, OSError):
    """An operation failed. ``op`` is its name, ``errno`` the kernel's number (0: refused before the kernel),
    ``strerror`` the message. An ``OSError``, so that ``except OSError as error: error.errno`` works as for any other
    system call."""

    errno: int

    def __init__(self, message: str, *, op: str, errno: int, hint: str = "", log: str = "") -> None:
        super().__init__(message, hint=hint)
        self.op = op
        self.errno = errno
        self.strerror = message
        self.log = log


class HarnessError(EbpfError):
    """The machinery failed, not the program under test. ``console`` is the tail of the guest's console. ``outcome``
    says whose fault it is: of most, that of the infrastructure."""

    def __init__(
        self, message: str, *, hint: str = "", console: str = "", outcome: Outcome = Outcome.INFRASTRUCTURE
    ) -> None:
        super().__init__(message, hint=hint)
        self.console = console
        self.outcome = outcome


class GuestLost(HarnessError):
    """A running guest was lost. ``outcome``: PANIC; HANG (silence); INFRASTRUCTURE (QEMU ended from outside); FAILED
    (the guest turned itself off, or its agent ended)."""


class BootFailed(HarnessError):
    """A guest did not reach its agent."""


class ImageError(HarnessError):
    """A kernel image could not be found, fetched, verified or unpacked."""


class MirrorUnreachable(ImageError):
    """The archive does not answer."""


class PackageGone(ImageError):
    """A file that the index lists is no longer in the archive's pool."""
