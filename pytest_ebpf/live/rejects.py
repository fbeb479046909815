"""Expecting a rejection, and telling one that came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from pytest_ebpf.errors import ProgramRejected, UsageError, errno_name

if TYPE_CHECKING:
    from pytest_ebpf.agent.ops import ProgRejected
    from pytest_ebpf.obj.object import LineInfo

__all__ = ["Rejects", "rejection"]


class Rejects:
    """``with bpf.rejects(pattern, errno="EACCES") as r: bpf.load(...)``; afterwards ``r.value`` is the rejection."""

    def __init__(self, pattern: str, *, errno: str | int | None) -> None:
        self.pattern = pattern
        self._errno = errno_name(errno) if isinstance(errno, int) else errno
        self._value: ProgramRejected | None = None

    @property
    def value(self) -> ProgramRejected:
        """The rejection. ``UsageError`` inside the block, before it came."""
        if self._value is None:
            raise UsageError("nothing was rejected yet: look at .value after the with block")
        return self._value

    def __enter__(self) -> Rejects:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            raise AssertionError(f"the kernel accepted what should be rejected with {self.pattern!r}")
        if not isinstance(error, ProgramRejected):
            return False
        self._value = error
        self._check(error)
        return True

    def _check(self, error: ProgramRejected) -> None:
        from pytest_ebpf.verifier.expect import Miss, match

        if self._errno is not None and error.errno_name != self._errno:
            raise AssertionError(f"rejected with {error.errno_name}, expected {self._errno}: {error}") from None
        found = match(error.log.text or error.message, self.pattern)
        if isinstance(found, Miss):
            raise AssertionError(f"{error.program} was rejected for another reason: {found}") from None


def rejection(
    result: ProgRejected,
    *,
    program: str,
    lines: Sequence[LineInfo],
    notes: dict[int, str],
) -> ProgramRejected:
    """The kernel's refusal as an exception: its first line has the program, the reason, the C source and the errno."""
    from pytest_ebpf.verifier.log import locate, parse_log
    from pytest_ebpf.verifier.poison import poison_note

    log = parse_log(result.log.decode(errors="replace"), log_level=result.log_level)
    log = replace(log, source_line=locate(log, lines), line_info=tuple(lines))
    name = errno_name(result.errno)
    unresolved, _, advice = poison_note(log, notes).rpartition("; ")  # "what is missing (where); what to do"
    why = unresolved or log.error or (log.notes[-1] if log.notes else "")
    message = f"{program}: {why or 'the kernel refused it without a word'}"
    if log.source_line is not None and not unresolved:
        message += f", at {log.source_line}"
    hint = advice[:1].upper() + advice[1:] if unresolved else ""
    return ProgramRejected(f"{message} ({name})", program=program, errno=result.errno, log=log, hint=hint)
