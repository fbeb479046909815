"""The fake behaves as a kernel in all that its users' code can see."""

from __future__ import annotations

import pytest

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Close,
    Data,
    Done,
    Failed,
    FdPatch,
    Handle,
    MapCreate,
    MapGet,
    MapSet,
    NotRun,
    ProgLoad,
    ProgLoaded,
    ProgRejected,
    ProgRun,
    Ran,
    ReadFile,
    Ref,
    ScopeClose,
    ScopeClosed,
    ScopeOpen,
    Try,
    Value,
)
from pytest_ebpf.kernels import FakeKernel
from pytest_ebpf.kernels.base import Kernel, made, start

RAN = Ran(2, b"", b"", 1)
LOAD = ProgLoad(type=6, insns=bytes(16), license="GPL", name="p")


def test_it_is_a_kernel() -> None:
    kernel: Kernel = FakeKernel()
    assert kernel.run([]) == []
    kernel.close()


def test_one_answer_is_given_always() -> None:
    kernel = FakeKernel({ProgRun: RAN})
    results = kernel.run([LOAD, ProgRun(Ref(0)), ProgRun(Ref(0))])
    assert results[1:] == [RAN, RAN]


def test_a_list_is_used_up() -> None:
    kernel = FakeKernel({MapGet: [Value(b"1"), Value(None)]})
    results = kernel.run([MapCreate(2, 4, 1, 1), *[MapGet(Ref(0), b"")] * 3])
    assert results[1:3] == [Value(b"1"), Value(None)]
    assert results[3] == Failed("MapGet", 0, "FakeKernel: the 2 answers for MapGet are used up")


def test_a_function_answers_by_what_it_is_asked() -> None:
    kernel = FakeKernel({MapSet: lambda op: Done() if op.flags == 0 else Failed("MapSet", 22, "flags")})
    results = kernel.run([MapCreate(2, 4, 1, 1), MapSet(Ref(0), b"", b""), MapSet(Ref(0), b"", b"", 9)])
    assert results[1:] == [Done(), Failed("MapSet", 22, "flags")]


def test_predicates_and_types_are_tried_in_order() -> None:
    kernel = FakeKernel(
        {
            lambda op: getattr(op, "path", "") == "/proc/version": Data(b"Linux"),
            ReadFile: Failed("ReadFile", 2, "no"),
        }
    )
    assert kernel.run([ReadFile("/proc/version"), Try(ReadFile("/x")), ReadFile("/proc/version")]) == [
        Data(b"Linux"),
        Failed("ReadFile", 2, "no"),
        Data(b"Linux"),
    ]


def test_what_has_no_script_fails_loudly() -> None:
    results = FakeKernel().run([ReadFile("/x"), ReadFile("/y")])
    assert results == [
        Failed("ReadFile", 0, "FakeKernel has no answer for ReadFile(path='/x', limit=0, filesystem='')"),
        NotRun(),
    ]


def test_objects_are_made_without_a_script() -> None:
    kernel = FakeKernel()
    results = kernel.run([BtfLoad(b""), MapCreate(2, 4, 8, 1, name="m"), LOAD])
    assert [made(results[0]).kind, made(results[1]).name] == ["btf", "m"]
    assert isinstance(results[2], ProgLoaded)
    assert results[2].handle.name == "p"


def test_a_script_may_reject_programs() -> None:
    rejected = ProgRejected(13, b"R0 !read_ok", 5)
    kernel = FakeKernel({ProgLoad: [rejected, ProgLoaded(FakeKernel().handle("prog"))]})
    assert kernel.run([LOAD, ScopeOpen()]) == [rejected, NotRun()]


def test_a_script_may_leave_the_making_to_the_kernel() -> None:
    kernel = FakeKernel({MapCreate: Done(), MapGet: Value(b"x")})
    handle = made(kernel.run([MapCreate(2, 4, 8, 1, name="m")])[0])
    assert (handle.kind, handle.name) == ("map", "m")
    assert kernel.run([MapGet(handle, b""), Close(handle)]) == [Value(b"x"), Done()]


def test_refs_are_followed_into_patches() -> None:
    kernel = FakeKernel()
    patched = ProgLoad(type=6, insns=bytes(16), license="GPL", patches=(FdPatch(0, Ref(5)),))
    (failed,) = kernel.run([patched])
    assert isinstance(failed, Failed)
    assert "Ref(5)" in failed.text


def test_closed_and_foreign_handles_are_refused() -> None:
    kernel = FakeKernel({MapGet: Value(b"")})
    handle = made(kernel.run([MapCreate(2, 4, 8, 1, name="m", site="t.py:1")])[0])
    kernel.run([Close(handle)])
    for bad, words in ((handle, "m' (opened at t.py:1) was closed"), (Handle(1, "other"), "earlier life")):
        (failed,) = kernel.run([MapGet(bad, b"")])
        assert isinstance(failed, Failed)
        assert words in failed.text


def test_scopes() -> None:
    kernel = FakeKernel({MapGet: Value(b"")})
    scope = made(kernel.run([ScopeOpen("s")])[0])
    handle = made(kernel.run([MapCreate(2, 4, 8, 1, name="m")], scope=scope)[0])
    assert kernel.run([MapGet(handle, b"")]) == [Value(b"")]
    assert kernel.run([ScopeClose(scope)]) == [ScopeClosed(())]
    (failed,) = kernel.run([MapGet(handle, b"")])
    assert isinstance(failed, Failed)
    assert "closed with its scope 's'" in failed.text
    (failed,) = kernel.run([MapCreate(2, 4, 8, 1)], scope=scope)
    assert isinstance(failed, Failed)


def test_a_scripted_leak() -> None:
    from pytest_ebpf.agent.ops import Leak

    leaks = ScopeClosed((Leak("map", "m", 7, "t.py:1"),))
    kernel = FakeKernel({ScopeClose: leaks})
    assert kernel.run([ScopeOpen(), ScopeClose(Ref(0))])[1] == leaks


def test_batches_are_kept() -> None:
    kernel = FakeKernel()
    kernel.run([LOAD])
    kernel.run([MapCreate(2, 4, 8, 1), Close(Ref(0))])
    assert kernel.batches == [(LOAD,), (MapCreate(2, 4, 8, 1), Close(Ref(0)))]


def test_a_misspelt_name_is_no_kernel() -> None:
    import pytest_ebpf.kernels as kernels

    with pytest.raises(AttributeError, match="no attribute 'LoaclKernel'"):
        kernels.LoaclKernel  # noqa: B018


def test_15_a_kernel_that_runs_at_once_is_started_like_a_guest() -> None:
    kernel = FakeKernel({MapGet: Value(b"x")})
    finish = start(kernel, [MapCreate(2, 4, 8, 1), MapGet(Ref(0), b"k")])
    assert len(kernel.batches) == 1
    assert finish()[1] == Value(b"x")
