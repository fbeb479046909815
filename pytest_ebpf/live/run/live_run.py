"""XDP programs on live frames: the kernel sends, redirects or receives what the program decides on.

``BPF_F_TEST_XDP_LIVE_FRAMES`` (Linux 5.18): the kernel returns no verdict, data or context, and refuses to be asked for
them when a context is given (net/bpf/test_run.c, bpf_prog_test_run_xdp).
"""

from __future__ import annotations

from collections.abc import Iterable

from pytest_ebpf.agent.ops import Handle, ProgRun, Ran
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.live.run.test_run import RunInput, plan_run
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import ProgType
from pytest_ebpf.uapi.numbers import BPF_F_TEST_XDP_LIVE_FRAMES

__all__ = ["LiveRun", "run_live"]

_MOST_AT_ONCE = 256  # TEST_XDP_MAX_BATCH


@dataclass(frozen=True, slots=True)
class LiveRun:
    """Frames that a program ran on. ``frames``: how many; ``packets``: how many were given; ``duration``: the
    kernel's nanoseconds per frame, the mean over all.

    There is no verdict: the kernel reports none. Count in a map of the program, or look where the frames arrive.
    """

    frames: int
    packets: int
    duration: int = 0

    def __str__(self) -> str:
        return f"{self.frames} frames, {self.duration} ns each"


def run_live(
    session: Session, prog: Handle, *, given: RunInput, packets: Iterable[object], prog_type: int, program: str
) -> LiveRun:
    """See ``Program.run_live``."""
    if prog_type != ProgType.XDP:
        raise BpfUsageError(f"{program}: only XDP programs run on live frames", hint="Use prog.run(...) or run_many.")
    if not 0 <= given.batch_size <= _MOST_AT_ONCE:
        raise BpfUsageError(f"{program}: batch= is a number of frames up to {_MOST_AT_ONCE}, not {given.batch_size}")
    if not isinstance(given.repeat, int) or given.repeat < 1:
        raise BpfUsageError(f"{program}: repeat= is how often each packet is sent, not {given.repeat!r}")
    order = session.target.described.byteorder
    ops = [_op(given, packet, prog=prog, program=program, byteorder=order) for packet in packets]
    durations = [
        session.checked(op, answer, kind=Ran).duration for op, answer in zip(ops, session.run(ops), strict=True)
    ]
    mean = sum(durations) // len(durations) if durations else 0
    return LiveRun(given.repeat * len(ops), len(ops), mean)


def _op(given: RunInput, packet: object, *, prog: Handle, program: str, byteorder: str) -> ProgRun:
    live = given._replace(data=packet, live=True, flags=given.flags | BPF_F_TEST_XDP_LIVE_FRAMES)
    op = plan_run(live, prog, prog_type=ProgType.XDP, program=program, byteorder=byteorder)
    return replace(op, data_out_size=0, ctx_out_size=0)
