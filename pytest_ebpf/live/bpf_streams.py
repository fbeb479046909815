"""What a program writes while it runs: its output (stream 1) and its errors (stream 2). To these the kernel adds what
it has to report of the program: faults in arenas, deadlocks of rqspinlocks, loops that took too long (Linux 6.17)."""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import Data, Failed, Handle, StreamRead
from pytest_ebpf.errors import PlanError
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["ProgStream"]

_UNKNOWN = (errno.EINVAL, ENOTSUPP)  # how kernels without this command answer


class ProgStream:
    """``read()`` gives what the program wrote since the last look, and takes it out of the kernel."""

    def __init__(self, session: Session, *, program: Handle, number: int) -> None:
        self._session = session
        self._program = program
        self._number = number

    def read(self) -> str:
        """All that waits, "" when there is nothing. PlanError before Linux 6.17. The kernel keeps 100,000 bytes of a
        stream and drops what is written beyond them."""
        op = StreamRead(self._program, self._number)
        answer = self._session.attempt(op, Data)
        if isinstance(answer, Failed) and answer.errno in _UNKNOWN:
            raise PlanError(
                f"this kernel has no streams of programs: {answer.text}",
                feature="streams",
                since="6.17",
                hint="Mark the test @pytest.mark.bpf_kernel('>=6.17'), or the program __kernel(\">=6.17\").",
            )
        return self._session.checked(op, answer, kind=Data).data.decode(errors="replace")

    def lines(self) -> list[str]:
        """``read()``, line by line."""
        return self.read().splitlines()

    def __repr__(self) -> str:
        return f"<stream {self._number} of {self._program.name or 'a program'}>"
