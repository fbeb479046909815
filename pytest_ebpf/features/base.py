"""A feature, its answer, and how errnos of bpf(2) answer "do you know this?"."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Literal

from pytest_ebpf.agent.ops import Failed, Made, NotRun, Op, ProgLoaded, ProgRejected, Result
from pytest_ebpf.errors import errno_name
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["Answer", "Feature", "refusal", "refused", "said"]

_DENIALS = (errno.EPERM, errno.EACCES)
_STATISTICS = ("processed ", "verification time ", "stack depth ")


@dataclass(frozen=True, slots=True)
class Answer:
    """``supported`` None: the probe could not tell. ``message``: what the kernel said, for a skip reason.

    ``since``: the first release that has it, "" where that is not documented. ``cause``: "" what the kernel is;
    "denied" it answers EPERM to a caller who may do everything else, which is a policy of this machine and says nothing
    about its kernel; "off" it is switched off until the next boot; "module" it comes and goes with a kernel module.
    """

    supported: bool | None
    message: str
    since: str = ""
    cause: Literal["", "denied", "off", "module"] = ""

    @property
    def conclusive(self) -> bool:
        """Whether this kernel image will always answer so, whoever asks and however it was booted."""
        return self.supported is not None and not self.cause


@dataclass(frozen=True, slots=True)
class Feature:
    """One row: how to ask, and what is documented.

    ``since``: the first release that has it (on x86-64, configured in), "" where that is not documented. ``source``:
    the commit of torvalds/linux that brought it. ``config``: options without which it is missing. ``machines``: first
    releases elsewhere, by ``uname -m``; where it is not empty, a machine that it does not name has no documented one.
    """

    name: str
    since: str
    ops: Callable[[Facts], list[Op]]
    read: Callable[[Sequence[Result], Facts], Answer]
    source: str = ""
    config: tuple[str, ...] = ()
    machines: tuple[tuple[str, str], ...] = ()
    group: str = ""


def said(result: Result) -> str:
    """What came back, in message: "EPERM, and no verifier log" or the last line of the log."""
    if isinstance(result, Made | ProgLoaded):
        return "works"
    if isinstance(result, NotRun):
        return "not tried"
    if not isinstance(result, Failed | ProgRejected):
        return f"unexpected answer {type(result).__name__}"
    # Linux 7.3 explains itself at length after the line that all kernels end with
    text = result.log.decode(errors="replace").partition("\nVerification failed: ")[0]
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(_STATISTICS)]
    if lines:
        return f"{errno_name(result.errno)}: {lines[-1].strip()}"
    if isinstance(result, ProgRejected):
        return f"{errno_name(result.errno)}, and no verifier log"
    return errno_name(result.errno) if result.errno else result.text


def refused(result: Result, facts: Facts, *, message: str, since: str) -> Answer:
    """The answer that a failure is: "no", "denied", or nothing that tells."""
    supported = refusal(result, facts)
    return Answer(supported, message, since, "denied" if supported is False and _errno(result) in _DENIALS else "")


def refusal(result: Result, facts: Facts) -> bool | None:
    """Whether a failure is a "no" (False) or tells nothing (None).

    EINVAL, E2BIG (attribute unknown) and ENOTSUPP are how bpf(2) says that it does not know; EPERM is a "no" only to
    who may do everything else.
    """
    number = _errno(result)
    if number in (errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP, errno.ENOENT, errno.ESRCH, ENOTSUPP):
        return False
    if number in _DENIALS and (facts.described.euid == 0 or facts.described.cap_bpf):
        return False
    return None


def _errno(result: Result) -> int:
    return result.errno if isinstance(result, Failed | ProgRejected) else 0
