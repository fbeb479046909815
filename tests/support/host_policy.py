"""A host whose policy refuses some tracing programs: EPERM before the verifier looks at them. Guests have none."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pytest_ebpf import Bpf, ProgramRejected


def refused_by_policy(number: int, log: bytes | str) -> bool:
    """Whether a program was refused without one look at it, by a process that may load others."""
    text = log.decode(errors="replace") if isinstance(log, bytes) else log
    return number == errno.EPERM and (not text.strip() or "processed 0 insns" in text)


@contextmanager
def policy_of_the_host(bpf: Bpf) -> Iterator[None]:
    """Skips the test where the host's policy refuses its program; in a guest, and for any other reason, it fails."""
    try:
        yield
    except ProgramRejected as rejected:
        if bpf.machine.kernel.id != "host" or not refused_by_policy(rejected.errno, rejected.log.text):
            raise
        pytest.skip(f"{rejected.program}: this machine's policy refuses it: EPERM before the verifier looked at it")
