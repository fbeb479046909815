"""The error for a program that the verifier rejected: it carries the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_ebpf.errors import EbpfError, errno_name
from pytest_ebpf.verifier.log.values import SourceLine

if TYPE_CHECKING:  # catching it does not load what reads logs
    from pytest_ebpf.verifier.verifier_log import VerifierLog

__all__ = ["ProgramRejected"]


class ProgramRejected(EbpfError):
    """A program that the verifier rejected. ``log`` is the parsed verifier log; ``log.text`` is all of it."""

    __module__ = "pytest_ebpf"  # where users import it from; what pytest prints

    def __init__(self, message: str, *, program: str, errno: int, log: VerifierLog, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.program = program
        self.errno = errno
        self.log = log

    @property
    def errno_name(self) -> str:
        return errno_name(self.errno)

    @property
    def source_line(self) -> SourceLine | None:
        """The C source line at which the verifier stopped: ``text``, ``file``, ``line``. None if it is not known."""
        return self.log.source_line
