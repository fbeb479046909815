"""Functions on their way to another Python: what is sent, and what comes back. Run here, by a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.machine.remote_function import GuestTraceback, as_plain, make_job, read_answer

LIMIT = 3


class Colour(IntEnum):
    RED = 1


def call(function: Any, *args: object, kwargs: Mapping[str, object] | None = None) -> Any:
    job = make_job(function, args, kwargs=kwargs or {}, python=sys.executable)
    done = subprocess.run(job.argv, input=job.stdin, capture_output=True, check=False)
    return read_answer(job, done.stdout, stderr=done.stderr, returncode=done.returncode)


def factorial(number: int) -> int:
    return 1 if number < 2 else number * factorial(number - 1)


def limited(values: list[int], *, limit: int = LIMIT) -> list[int]:
    return [value for value in values if value < limit + LIMIT - LIMIT]


def where() -> list[str]:
    return [json.__name__, str(Path("/a") / "b"), __name__]


def fail() -> None:
    raise OSError(13, "no way", "/a/file")


def decorated(function: Any) -> Any:
    return function


@decorated
def plain(value: Any) -> Any:
    return value


def test_recursion_defaults_and_modules() -> None:
    assert call(factorial, 20) == 2432902008176640000
    assert call(limited, [1, 2, 3, 4]) == [1, 2]
    assert call(limited, [1, 2, 3, 4], kwargs={"limit": 4}) == [1, 2, 3]
    assert call(where) == ["json", "/a/b", __name__]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1,
        1 << 80,
        0.1,
        1e300,
        "ä\n'\"\0",
        b"\xff\0",
        [1, [2]],
        (1,),
        (),
        {"a": {1: b"x"}},
        {1, 2},
        set(),
        {},
    ],
    ids=repr,
)
def test_plain_data_survives_the_way(value: object) -> None:
    there = call(plain, value)
    assert there == value
    assert type(there) is type(value)


def test_numbers_and_paths_lose_their_class() -> None:
    assert as_plain(Colour.RED, what="it") == 1
    assert type(as_plain(Colour.RED, what="it")) is int
    assert as_plain({"path": Path("/a")}, what="it") == {"path": "/a"}
    assert call(plain, bytearray(b"x")) == b"x"


@pytest.mark.parametrize(
    "value",
    [object(), float("nan"), float("inf"), [object()], {object(): 1}, print],
    ids=["object", "nan", "inf", "list", "dict", "function"],
)
def test_what_is_no_plain_data(value: object) -> None:
    with pytest.raises(BpfUsageError, match="argument 1 of plain"):
        call(plain, value)


def test_an_error_keeps_its_type_and_arguments() -> None:
    with pytest.raises(OSError, match="no way") as raised:
        call(fail)
    assert (raised.value.errno, raised.value.filename, type(raised.value)) == (13, "/a/file", PermissionError)
    assert isinstance(raised.value.__cause__, GuestTraceback)
    line = fail.__code__.co_firstlineno + 1
    assert f'{__file__}", line {line}, in fail' in str(raised.value.__cause__)


def test_a_method_a_class_and_a_coroutine_cannot_be_sent() -> None:
    async def later() -> None:
        pass

    for thing in (Colour, "".join, lambda: 1):
        with pytest.raises(BpfUsageError, match="expected a function written with def"):
            call(thing)
    with pytest.raises(BpfUsageError, match="got a coroutine"):
        call(later)
    made: dict[str, Any] = {}
    exec("def from_nowhere(): pass", made)
    with pytest.raises(BpfUsageError, match="its source is not in a file"):
        call(made["from_nowhere"])
