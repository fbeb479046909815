"""Where ops run: the one interface behind ``host``, guests and the fake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from pytest_ebpf.agent.ops import Failed, Handle, Made, NotRun, Op, Result
from pytest_ebpf.errors import KernelCallError, errno_name

__all__ = ["Kernel", "check", "made", "start"]

R = TypeVar("R")


class Kernel(Protocol):
    """Runs batches of ops. Implementations: ``LocalKernel``, ``RemoteKernel``, ``FakeKernel``."""

    def run(self, ops: Sequence[Op], *, scope: Handle | None = None, timeout: float | None = None) -> list[Result]:
        """Run a batch: one result per op, in order. New objects belong to ``scope`` (None: to the kernel itself,
        until ``close``). ``timeout`` in seconds is the time the ops may need beyond what they name themselves;
        raises ``GuestLost`` when a guest does not answer, never for a failed op."""
        ...

    def new_scope(self, name: str) -> Handle:
        """The handle of a scope that is opened by the first batch in it: a round trip less than ``ScopeOpen``, and it
        is known here whatever becomes of the answer to that batch. One that was never used needs no ``ScopeClose``."""
        ...

    def close(self) -> None:
        """Close every object that is left. Idempotent."""
        ...


def start(kernel: Kernel, ops: Sequence[Op], *, scope: Handle | None = None) -> Callable[[], list[Result]]:
    """Hand over a batch, and return what waits for its results and has to be called: a guest runs it meanwhile. A
    kernel without ``start`` has run it when this returns."""
    begin: Callable[..., Callable[[], list[Result]]] | None = getattr(kernel, "start", None)
    if begin is not None:
        return begin(ops, scope=scope)
    results = kernel.run(ops, scope=scope)
    return lambda: results


def check(result: Result, kind: type[R]) -> R:
    """``result`` if it is a ``kind``; a failure becomes ``KernelCallError``."""
    if isinstance(result, kind):
        return result
    if isinstance(result, Failed):
        name = errno_name(result.errno) if result.errno else "refused"
        raise KernelCallError(
            f"{result.op} failed: {name}: {result.text}",
            op=result.op,
            errno=result.errno,
            log=result.log.decode(errors="replace"),
        )
    if isinstance(result, NotRun):
        raise KernelCallError("not run: an earlier operation of the batch failed", op="", errno=0)
    raise TypeError(f"expected {kind.__name__}, got {result!r}")


def made(result: Result) -> Handle:
    """The handle of a ``Made`` result."""
    return check(result, Made).handle
