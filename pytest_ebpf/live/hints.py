"""What to try when a kernel call fails: (operation, errno) -> advice.

Rows are tried in order; ``op`` is the class name of the op. Sources: the man pages of bpf(2) and perf_event_open(2),
and the kernel file named in a row's comment.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pytest_ebpf.agent.ops import Op, Try
from pytest_ebpf.errors import KernelCallError

__all__ = ["HINTS", "Hint", "hint_for", "with_hint"]


@dataclass(frozen=True, slots=True)
class Hint:
    """``op`` "*" stands for every op; ``text`` is one sentence saying what to do."""

    op: str
    errno: int
    text: str


HINTS: tuple[Hint, ...] = (
    Hint("MapSet", errno.E2BIG, "The map is full, or the index is beyond its last element: raise max_entries."),
    Hint("MapSet", errno.EPERM, "The map is frozen or read-only for user space (.rodata is after loading)."),
    Hint("MapSet", errno.EINVAL, "A key or value of this shape is not for this map type, or its flags forbid it."),
    Hint("MapDelete", errno.EINVAL, "Elements of array maps cannot be deleted: set them to zero."),
    Hint("MapDelete", errno.EPERM, "The map is frozen or read-only for user space."),
    Hint("MapGet", errno.EPERM, "The map is write-only for user space (BPF_F_WRONLY)."),
    Hint("MapGet", 524, "This map type has no lookup from user space; use its own access (events(), push/pop)."),
    Hint("MapDump", 524, "This map type cannot be walked from user space."),
    Hint(
        "MapCreate", errno.EPERM, "Creating maps needs CAP_BPF (root), or the memlock limit is used up (Linux < 5.11)."
    ),
    Hint("MapCreate", errno.E2BIG, "max_entries or the value size is beyond what this kernel allows."),
    Hint("MapCreate", errno.ENOMEM, "The kernel has no memory for a map of this size: lower max_entries."),
    # net/bpf/test_run.c
    Hint(
        "ProgRun",
        errno.EINVAL,
        "The kernel refused the input: too short (an Ethernet header is 14 bytes, and Linux 5.18 to 6.1 want a byte "
        "more), longer than a page (unless the section is xdp.frags), or a context that it does not take (such as "
        "xdp_md before Linux 5.14).",
    ),
    Hint("ProgRun", 524, "This kernel cannot test_run programs of this type: attach it instead."),
    Hint("ProgRun", errno.ENOSPC, "The program grew the packet beyond the output buffer."),
    Hint("LinkCreate", errno.EBUSY, "Something is attached there already; detach it first."),
    Hint("LinkCreate", errno.EEXIST, "Something is attached there already; detach it first."),
    Hint("LinkCreate", 524, "The driver or kernel does not support this kind of attachment; try mode='skb' for XDP."),
    Hint(
        "LinkCreate", errno.EOPNOTSUPP, "The driver does not support this kind of attachment; try mode='skb' for XDP."
    ),
    Hint("LinkCreate", errno.EPERM, "Attaching needs root (CAP_BPF with CAP_NET_ADMIN or CAP_PERFMON)."),
    Hint("RawTracepointOpen", errno.ENOENT, "This kernel has no tracepoint of that name."),
    # kernel/bpf/trampoline.c: no ftrace, or the function is not traceable
    Hint(
        "RawTracepointOpen", 524, "This kernel cannot trace through trampolines; mark the test bpf_feature('fentry')."
    ),
    Hint("RawTracepointOpen", errno.EBUSY, "The function is traced already in a way that allows no second."),
    Hint("PerfEventOpen", errno.ENOENT, "The kernel does not know this event or function (see /proc/kallsyms)."),
    Hint(
        "PerfEventOpen",
        errno.EINVAL,
        "The kernel refused the event: a function that may not be probed, or no such PMU.",
    ),
    Hint(
        "PerfEventOpen",
        errno.EACCES,
        "perf_event_paranoid forbids it: run as root or lower kernel.perf_event_paranoid.",
    ),
    Hint("*", errno.EPERM, "This needs root in the kernel that runs the test."),
)


def hint_for(op: str, errno_: int) -> str:
    """The advice for a failed op, "" where there is none."""
    return next((hint.text for hint in HINTS if hint.errno == errno_ and hint.op in (op, "*")), "")


@contextmanager
def with_hint(op: Op) -> Iterator[None]:
    """Give a ``KernelCallError`` raised inside the hint of ``op``, unless it has one."""
    try:
        yield
    except KernelCallError as error:
        name = type(op.op if isinstance(op, Try) else op).__name__
        error.hint = error.hint or hint_for(name, error.errno)
        raise
