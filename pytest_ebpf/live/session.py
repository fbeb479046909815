"""One scope on one kernel: what every live object talks through.

A test has one ``Session``. Whatever it makes belongs to the session's scope in the agent and is gone when the session
closes; what outlives that is returned as leaks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

from pytest_ebpf.agent.ops import (
    Described,
    Failed,
    Handle,
    In,
    Leak,
    Made,
    Op,
    Result,
    ScopeClose,
    ScopeClosed,
    Try,
)
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.frozen import replace
from pytest_ebpf.kernels.base import Kernel, check, start
from pytest_ebpf.plan.facts import Facts

__all__ = ["Advise", "Session", "Target", "calling_folder", "calling_line", "no_advice", "signed_by"]

R = TypeVar("R")
_PACKAGE = str(Path(__file__).parent.parent)
_AROUND = (Try, In)  # ops that hold another


class Target(Protocol):
    """A running kernel, as live objects need it. ``time_scale`` stretches every wait: 1 on real hardware, more where
    the processor is emulated."""

    @property
    def kernel(self) -> Kernel: ...
    @property
    def name(self) -> str: ...
    @property
    def described(self) -> Described: ...
    @property
    def time_scale(self) -> float: ...
    def facts(self) -> Facts:
        """Everything planning needs to know of the kernel, its BTF included."""
        ...


class Advise(Protocol):
    """Finds what to do about an op that failed with ``errno``, "" where nothing is known. ``log``: what the kernel
    wrote about it. ``live.hints`` has the one that tests use."""

    def __call__(self, op: Op, errno: int, *, target: Target, log: str = "") -> str: ...


def no_advice(op: Op, errno: int, *, target: Target, log: str = "") -> str:
    """Errors without hints."""
    return ""


class Session:
    """Runs ops in a scope of its own. ``close`` ends the scope; closing twice is harmless. ``advise`` finds the hints
    of errors. ``last_run``: the program that was run last, and its result (a ``RunResult``)."""

    def __init__(self, target: Target, *, name: str = "", advise: Advise = no_advice) -> None:
        self.target = target
        self.name = name
        self._advise = advise
        self._scope: Handle | None = target.kernel.new_scope(name)
        self._used = False
        self._undo: list[Callable[[], None]] = []
        self.last_run: tuple[str, object] | None = None

    def run(self, ops: Sequence[Op], *, timeout: float | None = None) -> list[Result]:
        """Run a batch. New objects are signed with the line of test code that asked for them."""
        scope = self._open_scope()
        if _unsigned(ops[0]) if len(ops) == 1 else any(map(_unsigned, ops)):
            ops = signed_by(ops, calling_line())
        self._used = True
        return self.target.kernel.run(ops, scope=scope, timeout=timeout)

    def start(self, op: Op, kind: type[R]) -> Callable[[], R]:
        """``one`` in two steps, for an op that makes no object: it begins, and the result waits for the answer. Nothing
        is to be asked of the kernel in between."""
        finish, self._used = start(self.target.kernel, [op], scope=self._open_scope()), True
        return lambda: self.checked(op, finish()[0], kind=kind)

    def _open_scope(self) -> Handle:
        if self._scope is None:
            raise BpfUsageError(
                f"{self.name or 'this object'} is closed: what a fixture loaded ends with its scope",
                hint="Load it in the test, or with bpf_shared for a whole module.",
            )
        return self._scope

    def one(self, op: Op, kind: type[R], *, timeout: float | None = None) -> R:
        """Run one op; a failure becomes ``KernelCallError`` with a hint where there is one."""
        result = self.run([op], timeout=timeout)[0]
        return result if isinstance(result, kind) else self.checked(op, result, kind=kind)

    def make(self, op: Op) -> Handle:
        """Run one op that makes an object."""
        return self.one(op, Made).handle

    def checked(self, op: Op, result: Result, *, kind: type[R]) -> R:
        """``result`` as ``kind``, or the error of ``op`` with its hint."""
        if isinstance(result, kind):
            return result
        try:
            return check(result, kind)
        except KernelCallError as error:
            error.hint = error.hint or self.advice(op, error.errno, log=error.log)
            raise

    def advice(self, op: Op, errno: int, *, log: str = "") -> str:
        """What to do about an op that failed with ``errno``, "" where nothing is known."""
        return self._advise(op, errno, target=self.target, log=log)

    def attempt(self, op: Op, kind: type[R], *, timeout: float | None = None) -> R | Failed:
        """Run one op whose failure is an answer."""
        result = self.run([Try(op)], timeout=timeout)[0]
        return result if isinstance(result, kind | Failed) else check(result, kind)

    def later(self, undo: Callable[[], None]) -> None:
        """Run ``undo`` before the scope closes, newest first: for what no handle owns (a tc filter)."""
        self._undo.append(undo)

    def close(self) -> tuple[Leak, ...]:
        """Undo, close the scope, and return what outlived it."""
        if self._scope is None:
            return ()
        while self._undo:
            self._undo.pop()()
        scope, self._scope = self._scope, None
        if not self._used:
            return ()
        return check(self.target.kernel.run([ScopeClose(scope)])[0], ScopeClosed).leaks


def calling_line() -> str:
    """``file.py:41`` of the innermost frame outside this package: the line of test code that is running."""
    frame = _calling_frame()
    return f"{frame.f_code.co_filename.rpartition(os.sep)[2]}:{frame.f_lineno}"


def calling_folder() -> Path:
    """Where the file with that line is."""
    return Path(_calling_frame().f_code.co_filename).parent


def _calling_frame() -> FrameType:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return frame


def signed_by(ops: Sequence[Op], site: str) -> list[Op]:
    """The ops, with ``site`` in each that can carry it and does not yet."""
    return [_signed(op, site) for op in ops]


def _unsigned(op: Op) -> bool:
    """Whether it makes an object and does not say for whom."""
    while type(op) in _AROUND:
        op = op.op  # type: ignore[union-attr]
    return getattr(op, "site", None) == ""


def _signed(op: Op, site: str) -> Op:
    if type(op) is Try:
        return Try(_signed(op.op, site))
    if type(op) is In:
        return replace(op, op=_signed(op.op, site))
    if _unsigned(op):
        return replace(op, site=site)  # type: ignore[arg-type]  # every op with a ``site`` is a dataclass with one
    return op
