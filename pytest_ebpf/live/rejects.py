"""Expecting a rejection, and telling one that came."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from pytest_ebpf.errors import BpfUsageError, errno_name
from pytest_ebpf.suggest import close_names
from pytest_ebpf.verifier.log.expect import Wanted, expected, require
from pytest_ebpf.verifier.program_rejected import ProgramRejected
from pytest_ebpf.verifier.rejection.classes import CLASSES

__all__ = ["Rejects"]


class Rejects:
    """``with bpf.rejects(pattern, errno="EACCES") as r: bpf.load(...)``; afterwards ``r.value`` is the rejection."""

    def __init__(
        self,
        patterns: Sequence[str | Wanted],
        *,
        errno: str | int | None = None,
        reason: str | None = None,
        absent: str | Sequence[str] = (),
    ) -> None:
        self._patterns = expected(patterns)
        self._absent = absent
        self._errno = errno_name(errno) if isinstance(errno, int) else errno
        self._reason = _known_class(reason) if reason is not None else None
        self._value: ProgramRejected | None = None

    @property
    def value(self) -> ProgramRejected:
        """The rejection. ``BpfUsageError`` inside the block, before it came."""
        if self._value is None:
            raise BpfUsageError("nothing was rejected yet: look at .value after the with block")
        return self._value

    def __enter__(self) -> Rejects:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            raise AssertionError(f"the kernel accepted what should be rejected{self._wanted()}")
        if not isinstance(error, ProgramRejected):
            return False
        self._value = error
        self._check(error)
        return True

    def _check(self, error: ProgramRejected) -> None:
        if self._errno is not None and error.errno_name != self._errno:
            raise AssertionError(f"rejected with {error.errno_name}, expected {self._errno}: {error}") from None
        text = error.log.text if error.log.text.strip() else error.message
        checked = require(text, self._patterns, not_=self._absent)
        if not checked.ok:
            raise AssertionError(f"{error.program} was rejected for another reason: {checked}") from None
        found = error.log.rejection
        if self._reason is not None and (found is None or found.class_id != self._reason):
            what = f"{found.class_id!r} ({found.headline})" if found is not None else "unknown"
            raise AssertionError(f"rejected as {what}, expected class {self._reason!r}: {error}") from None

    def _wanted(self) -> str:
        first = next((one.pattern for one in self._patterns if not one.absent), "")
        what = [repr(first)] if first else []
        what += [f"class {self._reason!r}"] if self._reason else []
        what += [self._errno] if self._errno else []
        return f" with {', '.join(what)}" if what else ""


def _known_class(cls: str) -> str:
    if cls in CLASSES:
        return cls
    close = close_names(cls, CLASSES, most=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(CLASSES)}."
    raise BpfUsageError(f"there is no class of rejections {cls!r}", hint=hint)
