"""Waiting until something becomes true, and saying what it was instead."""

from __future__ import annotations

import ast
import inspect
import textwrap
import time
from collections.abc import Callable
from typing import Any

from pytest_ebpf.errors import BpfUsageError

__all__ = ["eventually"]

_PAUSE = 0.02  # seconds between two looks at first; each pause is longer than the one before
_LONGEST = 0.25


def eventually(condition: Callable[[], Any], *, seconds: float, shown: float) -> Any:
    """Call ``condition`` until its value is true: that value. After ``seconds`` an ``AssertionError`` says what the
    condition is and what its sides were last. A failed assertion or a missing key counts as not yet true.

    ``shown``: the seconds that the caller asked for, on hardware of usual speed.
    """
    if not callable(condition):
        raise BpfUsageError(
            f"eventually() expects a function, got {condition!r}: it was computed once, before the call",
            hint='Write bpf.eventually(lambda: obj.maps["n"][0] == 3).',
        )
    deadline = time.monotonic() + seconds
    pause = _PAUSE
    while True:
        error: Exception | None = None
        try:
            if value := condition():
                return value
        except (AssertionError, LookupError) as found:
            error, value = found, None
        if time.monotonic() >= deadline:
            raise AssertionError(_complaint(condition, value=value, error=error, shown=shown)) from error
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.5, _LONGEST)


def _complaint(condition: Callable[[], Any], *, value: object, error: Exception | None, shown: float) -> str:
    tree = _expression(condition)
    what = ast.unparse(tree) if tree is not None else getattr(condition, "__name__", "the condition")
    head = f"{what} did not become true within {shown:g} s"
    if error is not None:
        return f"{head}; last: {type(error).__name__}: {error}"
    sides = _sides(condition, tree)
    if not sides:
        return f"{head}; last: {value!r}"
    return "\n".join([f"{head}; last:", *(f"  {text} = {last!r}" for text, last in sides)])


def _expression(condition: Callable[[], Any]) -> ast.expr | None:
    """The body of a lambda, None where its source cannot be told."""
    try:
        source = textwrap.dedent(inspect.getsource(condition))
        tree = ast.parse(source.strip().rstrip(","))
    except (OSError, TypeError, SyntaxError):
        return None
    lambdas = [node.body for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    return lambdas[0] if len(lambdas) == 1 else None


def _sides(condition: Callable[[], Any], tree: ast.expr | None) -> list[tuple[str, object]]:
    """The sides of a comparison that are no constants, and their values now."""
    if not isinstance(tree, ast.Compare):
        return []
    names = {**condition.__globals__, **inspect.getclosurevars(condition).nonlocals}
    found: list[tuple[str, object]] = []
    for side in (tree.left, *tree.comparators):
        if not isinstance(side, ast.Constant):
            try:
                found.append((ast.unparse(side), eval(compile(ast.Expression(side), "<eventually>", "eval"), names)))
            except Exception as error:
                found.append((ast.unparse(side), error))
    return found
