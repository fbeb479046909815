"""Programs on a session that answers from a script, for tests of attaching, and the operations it was asked for."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from pytest_ebpf.agent.ops import (
    Data,
    Failed,
    LinkCreate,
    ReadFile,
    Try,
)
from pytest_ebpf.live.program import Program
from pytest_ebpf.live.session import Session

Make = Callable[..., tuple[Program, Session]]
NO_LINKS = {LinkCreate: Failed("LinkCreate", errno.EINVAL, "invalid")}
FILES = {
    "/sys/class/net/lo/ifindex": b"1\n",
    "/sys/kernel/tracing/trace_clock": b"[local]",
    "/sys/kernel/tracing/events/sched/sched_switch/id": b"314\n",
    "/sys/bus/event_source/devices/kprobe/type": b"8\n",
    "/sys/bus/event_source/devices/kprobe/format/retprobe": b"config:0\n",
    "/sys/devices/system/cpu/online": b"0,2-3\n",
    "/proc/7/comm": b"demo\n",
    "/proc/mounts": b"none /sys/fs/cgroup cgroup2 rw 0 0\n",
}


def read_file(op: ReadFile) -> Data | Failed:
    if op.path in FILES:
        return Data(FILES[op.path])
    return Failed("ReadFile", errno.ENOENT, f"{op.path}: no such file")


def sent(session: Session, *kinds: type) -> list[Any]:
    ops = [op for batch in session.target.kernel.batches for op in batch]
    flat = [op.op if isinstance(op, Try) else op for op in ops]
    return [op for op in flat if isinstance(op, kinds)]
