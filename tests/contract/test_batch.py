"""What holds for every batch: order, Ref, Try, the first failure, handles and scopes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_ebpf.agent.ops import (
    Close,
    Describe,
    Described,
    Done,
    Failed,
    Handle,
    KmsgSince,
    Made,
    MapCreate,
    MapGet,
    MapSet,
    NotRun,
    ProgLoad,
    ProgLoaded,
    ProgRejected,
    ProgRun,
    Ran,
    Ref,
    ScopeClose,
    ScopeClosed,
    ScopeOpen,
    Spawn,
    Try,
    Value,
)
from pytest_ebpf.errors import GuestLost, HarnessError
from pytest_ebpf.kernels.base import Kernel, made
from pytest_ebpf.kernels.fake import FakeKernel
from pytest_ebpf.kernels.local import LocalKernel
from support.bpf_asm import counting, program, returning
from support.contract_kernels import REAL, Opened, Run

ARRAY = MapCreate(2, 4, 8, 1, name="counts", site="test_x.py:41")
KEY = bytes(4)
REJECTED = ProgRejected(13, b"R0 !read_ok", 5)
# What this file asks of programs and maps; all the rest is the fake's own.
SCRIPT = {
    MapCreate: lambda op: Done() if op.max_entries else Failed("MapCreate", 22, "map 'empty': Invalid argument"),
    MapGet: lambda op: Value((1).to_bytes(8, "little")) if op.key == KEY else Failed("MapGet", 0, "a short key"),
    MapSet: Failed("MapSet", 7, "map 'counts': Argument list too long"),
    ProgLoad: lambda op: Done() if len(op.insns) > 8 else REJECTED,
    ProgRun: Ran(2, bytes(64), b"", 1),
}


@pytest.fixture(params=["fake", *REAL], scope="module")
def kernel(request: pytest.FixtureRequest, opened: Opened) -> Kernel:
    return FakeKernel(SCRIPT) if request.param == "fake" else opened[request.param]


def test_one_batch_makes_loads_runs_and_reads(run: Run) -> None:
    results = run(ARRAY, program(counting(), maps=(Ref(0),)), ProgRun(Ref(1), data=bytes(64)), MapGet(Ref(0), KEY))
    assert [type(result) for result in results] == [Made, ProgLoaded, Ran, Value]
    assert results[3] == Value((1).to_bytes(8, "little"))


def test_the_first_failure_leaves_the_rest_not_run(run: Run) -> None:
    results = run(ARRAY, MapGet(Ref(0), b"short"), MapGet(Ref(0), KEY), MapGet(Ref(0), KEY))
    assert isinstance(results[1], Failed)
    assert results[2:] == [NotRun(), NotRun()]


def test_a_rejected_program_stops_the_batch_too(run: Run) -> None:
    results = run(program(returning(0)[8:]), ARRAY)
    assert isinstance(results[0], ProgRejected)
    assert results[1] == NotRun()


def test_try_lets_the_batch_go_on(run: Run) -> None:
    results = run(Try(program(returning(0)[8:])), ARRAY)
    assert isinstance(results[0], ProgRejected)
    assert isinstance(results[1], Made)


def test_ref_to_an_op_that_made_nothing_says_so(run: Run) -> None:
    results = run(Try(MapCreate(2, 4, 8, 0, name="empty")), MapGet(Ref(0), KEY))
    assert isinstance(results[1], Failed)
    assert results[1].errno == 0
    assert "Ref(0): that operation made no object" in results[1].text


@pytest.mark.parametrize("index", [-1, 1, 7])
def test_ref_to_an_op_that_did_not_run_yet_is_refused(run: Run, index: int) -> None:
    (result,) = run(MapGet(Ref(index), KEY))
    assert isinstance(result, Failed)
    assert f"Ref({index})" in result.text


def test_a_closed_handle_says_what_it_was_and_where_it_came_from(run: Run) -> None:
    handle = made(run(ARRAY)[0])
    assert run(Close(handle)) == [Done()]
    (result,) = run(MapGet(handle, KEY))
    assert result == Failed("MapGet", 0, "map 'counts' (opened at test_x.py:41) was closed")


def test_a_handle_of_another_life_is_refused(run: Run) -> None:
    handle = made(run(ARRAY)[0])
    other = Handle(handle.serial, "0123456789abcdef", "map", "counts")
    (result,) = run(MapGet(other, KEY))
    assert isinstance(result, Failed)
    assert "earlier life" in result.text


def test_handles_are_never_used_twice(run: Run) -> None:
    seen = set()
    for _ in range(5):
        handle = made(run(ARRAY)[0])
        run(Close(handle))
        seen.add(handle.serial)
    assert len(seen) == 5


def test_a_failure_names_the_op_the_errno_and_the_object(run: Run) -> None:
    results = run(MapCreate(2, 4, 8, 1, name="counts"), MapSet(Ref(0), b"\1\0\0\0", bytes(8)))
    assert results[1] == Failed("MapSet", 7, "map 'counts': Argument list too long")


def test_closing_a_scope_closes_what_it_owns(kernel: Kernel) -> None:
    scope = made(kernel.run([ScopeOpen("outer")])[0])
    handle = made(kernel.run([ARRAY], scope=scope)[0])
    inner = made(kernel.run([ScopeOpen("inner")], scope=scope)[0])
    nested = made(kernel.run([ARRAY], scope=inner)[0])
    assert kernel.run([ScopeClose(scope)]) == [ScopeClosed(())]
    for gone in (handle, nested):
        (result,) = kernel.run([MapGet(gone, KEY)])
        assert isinstance(result, Failed)
        assert result.text == "map 'counts' (opened at test_x.py:41) was closed with its scope 'outer'"


def test_a_closed_scope_takes_no_batch(kernel: Kernel) -> None:
    scope = made(kernel.run([ScopeOpen("gone")])[0])
    kernel.run([ScopeClose(scope)])
    results = kernel.run([ARRAY, ARRAY], scope=scope)
    assert isinstance(results[0], Failed)
    assert "scope 'gone'" in results[0].text
    assert results[1] == NotRun()


def test_a_scope_may_be_opened_by_the_first_batch_in_it(kernel: Kernel) -> None:
    """A test costs a round trip less; the handle is known before the answer, which may never be read."""
    one, two, unused = (kernel.new_scope(name) for name in ("one", "two", "unused"))
    later = made(kernel.run([ARRAY], scope=two)[0])
    handle = made(kernel.run([ARRAY], scope=one)[0])
    assert kernel.run([ScopeClose(one), ScopeClose(unused)]) == [ScopeClosed(())] * 2
    gone, there = kernel.run([Try(MapGet(handle, KEY)), MapGet(later, KEY)])
    assert isinstance(gone, Failed)
    assert gone.text == "map 'counts' (opened at test_x.py:41) was closed with its scope 'one'"
    assert isinstance(there, Value)
    (refused,) = kernel.run([ARRAY], scope=one)
    assert isinstance(refused, Failed), "a closed scope was opened again"
    assert kernel.run([ScopeClose(two)]) == [ScopeClosed(())]


def test_a_scope_of_another_life_is_not_opened(kernel: Kernel) -> None:
    scope = replace(kernel.new_scope("earlier"), boot="0" * 16)
    (refused,) = kernel.run([ARRAY], scope=scope)
    assert isinstance(refused, Failed)
    assert "earlier life" in refused.text


def test_close_and_scope_close_are_not_mixed_up(kernel: Kernel, run: Run) -> None:
    handle, scope = made(run(ARRAY)[0]), made(run(ScopeOpen("s"))[0])
    (wrong_close,) = run(Close(scope))
    (wrong_scope,) = run(ScopeClose(handle))
    assert isinstance(wrong_close, Failed)
    assert isinstance(wrong_scope, Failed)
    assert "ScopeClose" in wrong_close.text
    assert "not a scope" in wrong_scope.text
    assert run(ScopeClose(scope)) == [ScopeClosed(())]


def test_an_empty_batch(run: Run) -> None:
    assert run() == []


@pytest.mark.parametrize("kernel", REAL, indirect=True)
def test_a_value_of_the_wrong_type_costs_its_batch_alone(kernel: Kernel) -> None:
    wrong = KmsgSince("soon")  # type: ignore[arg-type]
    if isinstance(kernel, LocalKernel):
        assert isinstance(kernel.run([wrong])[0], Failed)
    else:
        with pytest.raises(HarnessError, match=r"KmsgSince\.mark: unexpected 'soon'") as caught:
            kernel.run([wrong])
        assert not isinstance(caught.value, GuestLost)
    assert isinstance(kernel.run([Describe()])[0], Described)


@pytest.mark.parametrize("kernel", REAL, indirect=True)
def test_a_value_that_no_field_holds_is_told_in_one_line(run: Run) -> None:
    results = run(Try(replace(ARRAY, max_entries=1 << 40)), Try(Spawn(("a\0b",))), Try(Describe()))
    texts = [result.text for result in results if isinstance(result, Failed)]
    assert len(texts) == 2
    assert texts[0].startswith("map 'counts': ")
    assert "layout.py:" in texts[0]
    assert "null" in texts[1]
    assert "\n" not in "".join(texts)
