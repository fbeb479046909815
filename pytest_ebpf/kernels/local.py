"""The kernel under this process: ops are executed right here."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pytest_ebpf.agent.base.handles import Table
from pytest_ebpf.agent.base.ledger import open_ledger
from pytest_ebpf.agent.host.sweep import sweep
from pytest_ebpf.agent.ops import Handle, Op, Result, new_scope
from pytest_ebpf.agent.protocol.execute import execute

__all__ = ["LocalKernel"]


class LocalKernel:
    """Needs the privileges that the ops need. Batches of several threads wait for each other, as with a guest."""

    def __init__(self) -> None:
        self.swept = tuple(sweep())  # what a run that was killed had left, in words
        self._table = Table(open_ledger=open_ledger)
        self._lock = threading.Lock()
        self._scopes = 0

    def run(self, ops: Sequence[Op], *, scope: Handle | None = None, timeout: float | None = None) -> list[Result]:
        """Run a batch. ``timeout`` is ignored: this process cannot be lost."""
        with self._lock:
            return execute(ops, table=self._table, scope=scope)

    def new_scope(self, name: str) -> Handle:
        """A scope that is opened by the first batch in it."""
        self._scopes += 1
        return new_scope(self._table.boot, self._scopes, name=name)

    def close(self) -> None:
        """Close every object that is left."""
        with self._lock:
            self._table.close_all()

    def __enter__(self) -> LocalKernel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
