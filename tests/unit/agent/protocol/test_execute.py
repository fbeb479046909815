"""The table is whole, and what needs no kernel works without one."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from pytest_ebpf.agent import ops
from pytest_ebpf.agent.base.handles import Table
from pytest_ebpf.agent.ops import Data, Describe, Described, Failed, NotRun, ReadFile, ScopeOpen, Try, WriteFile
from pytest_ebpf.agent.protocol.execute import EXECUTE, execute
from pytest_ebpf.agent.protocol.scopes import scope_open
from support.paths import TESTS

CONTRACT = TESTS / "contract"
OPS = [cls for cls in get_args(ops.Op) if cls is not Try]


def test_every_op_is_executed() -> None:
    assert set(EXECUTE) == set(OPS)


def test_every_op_is_in_the_contract_suite() -> None:
    suite = "\n".join(path.read_text() for path in CONTRACT.glob("test_*.py"))
    assert [op.__name__ for op in OPS if f"{op.__name__}(" not in suite] == []


def test_what_is_no_op_fails_as_a_value() -> None:
    (result,) = execute(["nonsense"], table=Table())  # type: ignore[list-item]
    assert result == Failed("str", 0, "no such operation")


def test_a_bug_in_an_op_is_a_value_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(op: object, batch: object) -> ops.Result:
        raise ZeroDivisionError("a bug")

    monkeypatch.setitem(EXECUTE, Describe, broken)
    results = execute([Describe(), ScopeOpen()], table=Table())
    assert isinstance(results[0], Failed)
    assert (results[0].op, results[0].errno) == ("Describe", 0)
    assert "ZeroDivisionError: a bug" in results[0].text
    assert results[1] == NotRun()


def test_files_and_facts_need_no_privileges(tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    results = execute([WriteFile(path, b"abc"), ReadFile(path), Describe()], table=Table())
    assert results[1] == Data(b"abc")
    assert isinstance(results[2], Described)


def test_the_scope_functions_are_what_the_fake_uses() -> None:
    assert EXECUTE[ScopeOpen] is scope_open
