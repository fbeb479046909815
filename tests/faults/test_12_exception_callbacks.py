"""Line 12: a program's exception callback is loaded with it, though only a declaration tag names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_ebpf import Bpf, PlanError
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.link import exception_callbacks, find_callback

Parsed = Callable[[str], ObjectFile]


@pytest.mark.bpf_feature("kfunc:bpf_throw")
def test_what_a_program_throws_reaches_its_own_callback(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "exception_cb.bpf.o")
    assert {name: int(obj[name].run(bytes(64)).retval) for name in obj.programs} == {
        "throws": 42,
        "throws_too": 107,
        "throws_plainly": 9,
    }


def test_tags_by_function(parsed: Parsed) -> None:
    obj = parsed("exception_cb")
    found = exception_callbacks(obj)
    names = {program.name: found.get(program.btf_id) for program in obj.programs}
    assert names == {"throws": ("handler",), "throws_too": ("other_handler",), "throws_plainly": None}


def test_a_callback_is_a_global_function_and_several_are_left_to_the_kernel(parsed: Parsed) -> None:
    obj = parsed("exception_cb")
    program = obj.program("throws")
    callback = find_callback(obj, program, names=("handler",))
    assert callback is not None
    assert callback.name == "handler"
    with pytest.raises(PlanError, match="'nowhere' is not a global function of this object"):
        find_callback(obj, program, names=("nowhere",))
    statics = replace(obj, text=tuple(replace(function, is_global=False) for function in obj.text))
    with pytest.raises(PlanError, match="'handler' is not a global function"):
        find_callback(statics, program, names=("handler",))
    assert find_callback(obj, program, names=("handler", "other_handler")) is None
