"""A feature, its answer, and how errnos of bpf(2) answer "do you know this?"."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_ebpf.agent.ops import Failed, Made, NotRun, Op, ProgLoaded, ProgRejected, Result
from pytest_ebpf.errors import errno_name
from pytest_ebpf.plan.facts import Facts

__all__ = ["ENOTSUPP", "Answer", "Feature", "refusal", "said"]

ENOTSUPP = 524
_STATISTICS = ("processed ", "verification time ", "stack depth ")


@dataclass(frozen=True, slots=True)
class Answer:
    """``supported`` None: the probe could not tell. ``words``: what the kernel said, for a skip reason."""

    supported: bool | None
    words: str
    since: str = ""


@dataclass(frozen=True, slots=True)
class Feature:
    """``since``: the first release that has it (on x86-64, configured in), "" where unknown or before 4.x mattered."""

    name: str
    since: str
    ops: Callable[[Facts], list[Op]]
    read: Callable[[Sequence[Result], Facts], Answer]


def said(result: Result) -> str:
    """What came back, in words: "EPERM, and no verifier log" or the last line of the log."""
    if isinstance(result, Made | ProgLoaded):
        return "works"
    if isinstance(result, NotRun):
        return "not tried"
    if not isinstance(result, Failed | ProgRejected):
        return f"unexpected answer {type(result).__name__}"
    text = result.log.decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(_STATISTICS)]
    if lines:
        return f"{errno_name(result.errno)}: {lines[-1].strip()}"
    if isinstance(result, ProgRejected):
        return f"{errno_name(result.errno)}, and no verifier log"
    return errno_name(result.errno) if result.errno else result.text


def refusal(result: Result, facts: Facts) -> bool | None:
    """Whether a failure is a "no" (False) or tells nothing (None).

    EINVAL, E2BIG (attribute unknown) and ENOTSUPP are how bpf(2) says that it does not know; EPERM is a "no" only to
    who may do everything else.
    """
    number = result.errno if isinstance(result, Failed | ProgRejected) else 0
    if number in (errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP, errno.ENOENT, errno.ESRCH, ENOTSUPP):
        return False
    if number in (errno.EPERM, errno.EACCES) and (facts.described.euid == 0 or facts.described.cap_bpf):
        return False
    return None
