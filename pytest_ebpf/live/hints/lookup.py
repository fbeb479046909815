"""What to do when a kernel call fails: (operation, errno, condition) -> advice.

Rows are tried in order, the first that has something to say wins. The tables by subject are ``hints_maps``,
``hints_load``, ``hints_attach`` and ``hints_rights``; their rows may probe the kernel that refused. Sources: the man
pages of bpf(2) and perf_event_open(2), and the kernel file named in a row's comment.
"""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import In, Op, Try, Unprivileged
from pytest_ebpf.live.hints.attach import ATTACH_HINTS
from pytest_ebpf.live.hints.base import Case, Hint
from pytest_ebpf.live.hints.elements import ELEMENT_HINTS
from pytest_ebpf.live.hints.load import LOAD_HINTS
from pytest_ebpf.live.hints.maps import MAP_HINTS
from pytest_ebpf.live.hints.permissions import RIGHTS
from pytest_ebpf.live.session import Target
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["COMMON_HINTS", "all_hints", "hint_for"]


def _tracing_off(case: Case) -> str:
    """kernel/trace/trace.c: a write to trace_marker is EBADF while tracing_on is 0."""
    if not str(getattr(case.op, "path", "")).endswith(("/trace_marker", "/trace_marker_raw")):
        return ""
    return (
        "tracing is off (tracing_on is 0): the fixture bpf_trace has it on, or write 1 to tracing_on beside this file."
    )


COMMON_HINTS: tuple[Hint, ...] = (
    Hint("MapDelete", (errno.EINVAL,), "Elements of array maps cannot be deleted: set them to zero."),
    Hint("MapDelete", (errno.EPERM,), "The map is frozen or read-only for user space."),
    Hint("MapGet", (errno.EPERM,), "The map is write-only for user space (BPF_F_WRONLY)."),
    Hint(
        "MapGet",
        (ENOTSUPP, errno.EOPNOTSUPP),
        "This map type has no lookup from user space; use its own access (events(), push/pop).",
    ),
    Hint("MapDump", (ENOTSUPP, errno.EOPNOTSUPP), "This map type cannot be walked from user space."),
    Hint("MapPop", (ENOTSUPP,), "Hashes give one entry away since Linux 5.14, and all of them (drain()) since 5.6."),
    Hint(
        "MapTakeMany", (ENOTSUPP, errno.EINVAL), "Hashes can be emptied in one step since Linux 5.6; other maps cannot."
    ),
    Hint("RingProduce", (errno.ENOSPC,), "The ring is full until a program drains it, or a record is larger than it."),
    Hint("WriteFile", (errno.EBADF,), _tracing_off),
    Hint(
        "TraceOpen", (errno.EBUSY,), "Another process reads trace_pipe: end it (cat, trace-cmd, bpftool prog tracelog)."
    ),
    # net/bpf/test_run.c
    Hint(
        "ProgRun",
        (errno.EINVAL,),
        "The kernel refused the input: too short (an Ethernet header is 14 bytes, and Linux 5.18 to 6.1 want a byte "
        "more), longer than a page (unless the section is xdp.frags), or a context that it does not take (such as "
        "xdp_md before Linux 5.14).",
    ),
    Hint("ProgRun", (ENOTSUPP,), "This kernel cannot test_run programs of this type: attach it instead."),
    Hint("ProgRun", (errno.ENOSPC,), "The program grew the packet beyond the output buffer."),
    Hint("ObjPin", (errno.EEXIST,), "Something is pinned at this path already: choose another, or unpin it."),
    Hint("ObjPin", (errno.EPERM,), "The path is not in a bpf file system: use one below /sys/fs/bpf."),
    Hint("ObjPin", (errno.ENOENT,), "The directory of the path does not exist in the kernel under test."),
    Hint("*", (errno.EPERM,), "This needs root in the kernel that runs the test."),
)


def all_hints() -> tuple[Hint, ...]:
    """Every row, in the order they are tried."""
    return (*RIGHTS, *MAP_HINTS, *LOAD_HINTS, *ATTACH_HINTS, *ELEMENT_HINTS, *COMMON_HINTS)


def hint_for(op: Op, number: int, *, target: Target, log: str = "") -> str:
    """The advice for a failed op, "" where there is none. ``log``: what the kernel wrote about it."""
    while isinstance(op, Try | In | Unprivileged):
        op = op.op
    case = Case(op, number, target, log)
    return next((text for row in all_hints() if (text := row.says(case))), "")
