"""A function of the test, run by the Python of the machine under test.

Its source is sent, with what it uses: arguments, constants and functions of its module, the standard library by name.
It runs in a process of its own, with the standard library only; its result and its exception come back as values.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass

__all__ = ["GuestTraceback", "Job", "as_plain", "make_job", "read_answer"]

_ANNOTATIONS_AS_TEXT = 0x1000000  # __future__.annotations.compiler_flag
# Runs there. Plain data is what ast.literal_eval reads back.
_RUNNER = """\
import ast, sys
job = ast.literal_eval(sys.stdin.buffer.read().decode())
sys.argv = [job["name"]]
space = {"__name__": "guest", "__builtins__": __builtins__, **job["values"]}
def plain(value):
    kind = type(value)
    if kind in (list, tuple, set):
        return kind(map(plain, value))
    if kind is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, int) and kind is not bool:
        return int(value)
    if kind in (str, bytes, bool, type(None)) or kind is float and value - value == 0:
        return value
    raise TypeError(f"{job['name']}() returned {value!r}: only plain data can leave the machine")
try:
    for name, module in job["modules"].items():
        module, _, path = module.partition(":")
        __import__(module)
        space[name] = sys.modules[module]
        for part in path.split(".") if path else ():
            space[name] = getattr(space[name], part)
    for file, source in job["sources"]:
        exec(compile(source, file, "exec", job["flags"], True), space)
    answer = ("result", plain(space[job["name"]](*job["args"], **job["kwargs"])))
except BaseException as error:
    import traceback
    frames = error.__traceback__.tb_next or error.__traceback__
    text = "".join(traceback.format_exception(type(error), error, frames))
    given = [error.errno, error.strerror, error.filename] if isinstance(error, OSError) and error.errno else error.args
    try:
        args = tuple(map(plain, given))
    except TypeError:
        args = (str(error),)
    answer = ("error", type(error).__module__, type(error).__qualname__, args, text)
sys.stdout.flush()
sys.stdout.buffer.write(b"\\n" + job["token"].encode() + repr(answer).encode())
sys.stdout.buffer.flush()
"""


class GuestTraceback(Exception):
    """The cause of an exception that a function raised there: its traceback, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True, slots=True)
class Job:
    """The command and its standard input. ``token`` marks the answer in its output."""

    argv: tuple[str, ...]
    stdin: bytes
    token: bytes
    name: str


def make_job(function: Callable[..., Any], args: Sequence[object], *, kwargs: Mapping[str, object], python: str) -> Job:
    """The command that runs a function. ``BpfUsageError`` names what cannot be sent."""
    parts = _Parts()
    parts.add(function)
    name = function.__name__
    token = os.urandom(16).hex()
    job = {
        "name": name,
        "args": tuple(as_plain(value, what=f"argument {place} of {name}()") for place, value in enumerate(args, 1)),
        "kwargs": {key: as_plain(value, what=f"{key}= of {name}()") for key, value in kwargs.items()},
        "sources": parts.sources,
        "values": parts.values,
        "modules": parts.modules,
        "flags": _ANNOTATIONS_AS_TEXT,
        "token": token,
    }
    argv = (python, "-I", "-S", "-B", "-X", "utf8", "-c", _RUNNER)
    return Job(argv, repr(job).encode(), token.encode(), name)


def as_plain(value: object, *, what: str) -> object:
    """Numbers, text, bytes and containers of them, without their subclasses. ``BpfUsageError`` for anything else."""
    if value is None or type(value) in (bool, str, bytes):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {as_plain(key, what=what): as_plain(item, what=what) for key, item in value.items()}
    for container in (list, tuple, set):
        if isinstance(value, container):
            return container(as_plain(item, what=what) for item in value)
    raise BpfUsageError(
        f"{what} is {value!r}, which cannot be sent to the machine under test",
        hint="Numbers, text, bytes, and lists, tuples, sets and dicts of them can.",
    )


class _Parts:
    """What a function needs to run elsewhere."""

    def __init__(self) -> None:
        self.sources: list[tuple[str, str]] = []
        self.values: dict[str, object] = {}
        self.modules: dict[str, str] = {}
        self._seen: set[str] = set()

    def add(self, function: Callable[..., Any]) -> None:
        """The function's source, and whatever it names."""
        if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
            raise BpfUsageError(
                f"{function!r} cannot be sent: expected a function written with def",
                hint="Write def work(...): ... in the test file, and give work.",
            )
        self._seen.add(function.__name__)
        source, tree = _source(function)
        for name in _names(function.__code__) | _defaults(tree):
            found = inspect.getclosurevars(function).nonlocals if name in function.__code__.co_freevars else None
            space = found if found is not None else function.__globals__
            if name in space and name not in self._seen:
                self._seen.add(name)
                self._add_name(name, space[name], user=function.__name__)
        self.sources.append((function.__code__.co_filename, source))

    def _add_name(self, name: str, value: Any, *, user: str) -> None:
        if isinstance(value, ModuleType):
            self.modules[name] = value.__name__
        elif _is_standard(value):
            self.modules[name] = f"{value.__module__}:{value.__qualname__}"
        elif isinstance(value, FunctionType) and value.__name__ == name:
            self.add(value)
        else:
            self.values[name] = as_plain(value, what=f"{name}, which {user}() uses,")


def _is_standard(value: object) -> bool:
    """Whether it is a class or function of the standard library: ``from pathlib import Path``."""
    top = str(getattr(value, "__module__", "")).partition(".")[0]
    return top in sys.stdlib_module_names and top != "__main__" and hasattr(value, "__qualname__")


def _source(function: FunctionType) -> tuple[str, ast.FunctionDef]:
    """The source without decorators, at the lines where it is in its file."""
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        raise BpfUsageError(f"{function.__name__}() cannot be sent: its source is not in a file") from None
    indented = lines[0][:1].isspace()
    text = "".join(["if True:\n", *lines] if indented else lines)
    tree = ast.parse(text).body[0]
    found = tree.body[0] if isinstance(tree, ast.If) else tree
    if not isinstance(found, ast.FunctionDef):
        raise BpfUsageError(f"{function.__name__}() cannot be sent: expected a plain function, got a coroutine")
    skip = found.lineno - 1 - indented
    head = "\n" * (first + skip - 1 - indented)
    return head + ("if True:\n" if indented else "") + "".join(lines[skip:]), found


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return {*code.co_names, *code.co_freevars}.union(*map(_names, inner))


def _defaults(tree: ast.FunctionDef) -> set[str]:
    given = [*tree.args.defaults, *filter(None, tree.args.kw_defaults)]
    return {node.id for default in given for node in ast.walk(default) if isinstance(node, ast.Name)}


def read_answer(job: Job, stdout: bytes, *, stderr: bytes, returncode: int) -> Any:
    """The function's result; its exception is raised, builtin ones as they are, others as ``RuntimeError``. What it
    printed is printed here."""
    printed, mark, rest = stdout.rpartition(b"\n" + job.token)
    sys.stdout.write((printed if mark else stdout).decode(errors="replace"))
    sys.stderr.write(stderr.decode(errors="replace"))
    if not mark:
        shown = stderr.decode(errors="replace").strip()
        raise RuntimeError(f"{job.name}() ended its process with {returncode}: {shown}")
    answer = ast.literal_eval(rest.decode())
    if answer[0] == "result":
        return answer[1]
    _, module, name, args, text = answer
    kind = getattr(builtins, name, None) if module == "builtins" else None
    cause = GuestTraceback(text)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            error = kind(*args)
        except TypeError:
            error = RuntimeError(f"{name}: {args}")
        raise error from cause
    raise RuntimeError(f"{name}: {', '.join(map(str, args))}") from cause
