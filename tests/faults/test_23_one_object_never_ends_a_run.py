"""Line 23: whatever an object holds, ``verify`` judges the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_ebpf import Bpf, ObjectError
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.verifier.tags.spec import Expectation, TestSpec
from pytest_ebpf.verify.selftest import NotApplicable, Trial, try_program
from pytest_ebpf.verify.verdict import Wanted, verify_object
from pytest_ebpf.verify.verdicts import Kernels, gather
from support import fault_objects

Parsed = Callable[[str], ObjectFile]


def verify(bpf: Bpf, *objects: ObjectFile) -> dict[str, str]:
    kernels = Kernels(ids=("k",), start=lambda kernel: bpf.session.target)
    return {f"{v.object}: {v.program}": v.verdict for v in gather(objects, kernels, cache=LoadCache())}


def test_a_variable_of_type_void(bpf: Bpf, parsed: Parsed) -> None:
    void = parse_object(fault_objects.void_variable(), name="void.o")
    found = verify(bpf, void, replace(parsed("void_var_btf"), name="clang.o"), replace(parsed("one_user"), name="b.o"))
    assert found["void.o: gives_2"] == "accepted"
    assert found["clang.o: gives_2"] == "accepted"
    assert "b.o: " in " ".join(found)


def test_an_object_that_cannot_be_planned_is_an_error_of_its_own(bpf: Bpf, parsed: Parsed) -> None:
    fine = replace(parsed("local_programs"), name="fine.o")
    wrong = replace(fine, name="wrong.o", externs=_too_large(parsed("options")))
    assert verify(bpf, wrong, fine)["fine.o: calls_static"] == "accepted"


def _too_large(obj: ObjectFile) -> tuple:  # type: ignore[type-arg]
    return tuple(replace(extern, type_id=0xFFFF, size=0) for extern in obj.externs)


def test_an_internal_error_is_an_error_of_that_object(
    bpf: Bpf, parsed: Parsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pytest_ebpf.verify.verdicts as verdicts

    def broken(obj: ObjectFile, *args: object, **named: object) -> object:
        if obj.name == "bad.o":
            raise IndexError("list index out of range")
        return verify_object(obj, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(verdicts, "verify_object", broken)
    fine = replace(parsed("local_programs"), name="fine.o")
    assert verify(bpf, replace(fine, name="bad.o"), fine) == {
        "bad.o: calls_static": "error",
        "fine.o: calls_static": "accepted",
    }


def test_an_item_of_the_other_byte_order_is_for_other_machines(bpf: Bpf, parsed: Parsed) -> None:
    """Compilers for both orders leave two files side by side, and pytest collects both."""
    here = bpf.session.target.described.byteorder
    other = replace(parsed("local_programs"), byteorder="big" if here == "little" else "little")
    spec = TestSpec("calls_static", priv=Expectation())
    with pytest.raises(NotApplicable, match=f"only for {other.byteorder} endian machines, and .* is {here} endian"):
        try_program(bpf.session, Trial(other, spec), cache=LoadCache())


def test_values_of_globals_that_do_not_fit_are_still_wrong_usage(bpf: Bpf, parsed: Parsed) -> None:
    obj = parsed("local_programs")
    with pytest.raises(ObjectError, match="global 'calls' cannot be"):
        verify_object(obj, bpf.session.target, kernel="k", cache=LoadCache(), wanted=Wanted({"calls": "many"}))
