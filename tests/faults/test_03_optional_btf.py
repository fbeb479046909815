"""Line 3: BTF is optional. What compilers write wrong is repaired, and what a kernel still refuses is left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_ebpf import Bpf, KernelCallError
from pytest_ebpf.agent.ops import BtfLoad, Close, Failed, Handle, Made, MapCreate, NotRun, Op, Ref, Result, Try
from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.features.base import Answer
from pytest_ebpf.live import batch
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.load_plan import LoadOptions, plan_load
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.verifier.tags.spec import Expectation, TestSpec
from pytest_ebpf.verify.selftest import Trial, try_program
from pytest_ebpf.verify.verdict import verify_object
from support import fault_objects
from support.btf_writer import BtfExtWriter, BtfWriter
from support.plan_facts import facts

Parsed = Callable[[str], ObjectFile]
FRAME = bytes(64)


@pytest.fixture
def silent() -> Iterator[None]:
    """What is repaired is not worth a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


REPAIRED = {
    "a pointer": fault_objects.named_type("ptr"),
    "const": fault_objects.named_type("const"),
    "volatile": fault_objects.named_type("volatile"),
    "restrict": fault_objects.named_type("restrict"),
    "an array": fault_objects.named_type("array"),
    "a prototype": fault_objects.named_type("func_proto"),
    "a long name": fault_objects.long_name(600),
    "a name of 128": fault_objects.long_name(128),
    "two encodings": fault_objects.signed_char(),
    "no prototype": fault_objects.dangling_func(0),
    "a prototype beyond": fault_objects.dangling_func(32765),
    "records of other BTF": fault_objects.stale_ext(),
    "a void variable": fault_objects.void_variable(),
}


def unsound() -> bytes:
    """A struct whose member has a type that does not exist: nothing here repairs that."""
    btf = BtfWriter()
    btf.struct("broken", 4, [("x", 77, 0)])
    return fault_objects.program_with_types(btf)


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("what", REPAIRED)
def test_what_compilers_write_wrong_is_repaired(bpf: Bpf, tmp_path: Path, what: str) -> None:
    path = tmp_path / "repaired.bpf.o"
    path.write_bytes(REPAIRED[what])
    assert bpf.load(path)["gives_2"].run(FRAME).retval == 2


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(
    ("name", "program", "value"),
    [
        ("gcc12_btf", "gives_3", 3),
        ("gcc14_btf", "gives_3", 3),
        ("line_tables_only", "gives_3", 3),
        ("zig_named_pointers", "gives_2", 2),
        ("rust_debug_1", "gives_2", 2),
        ("void_var_btf", "gives_2", 2),
    ],
)
def test_objects_of_unusual_compilers_load(bpf: Bpf, built: Path, name: str, program: str, value: int) -> None:
    obj = bpf.load(built / f"{name}.bpf.o")
    assert int(obj[program].run(FRAME).retval) == value


def test_types_stay_on_this_side(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "gcc12_btf.bpf.o")
    obj["gives_3"].run(FRAME)
    assert obj.globals["runs"] == 1


def test_what_cannot_be_repaired_is_left_out_and_said(
    bpf: Bpf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "unsound.bpf.o"
    path.write_bytes(unsound())
    caplog.set_level("INFO", logger="pytest_ebpf")
    with pytest.warns(UserWarning, match=r"loaded without its BTF, which this kernel refuses: .*Invalid"):
        obj = bpf.load(path)
    assert obj["gives_2"].run(FRAME).retval == 2
    loaded, fallback = (record.getMessage() for record in caplog.records if record.name == "pytest_ebpf")
    assert "unsound.bpf.o on " in loaded
    assert "(programs: 1, maps: 0)" in loaded
    assert "loaded without its BTF" in fallback


def test_verify_goes_on_without_it(bpf: Bpf) -> None:
    obj = parse_object(unsound(), name="unsound.bpf.o")
    (verdict,) = verify_object(obj, bpf.session.target, kernel="k", cache=LoadCache())
    assert verdict.accepted


def test_an_item_with_tags_goes_on_without_it(bpf: Bpf) -> None:
    trial = Trial(parse_object(unsound(), name="unsound.bpf.o"), TestSpec("gives_2", priv=Expectation(retval=2)))
    with pytest.warns(UserWarning, match="loaded without its BTF"):
        assert try_program(bpf.session, trial, cache=LoadCache()) is not None


def test_a_map_that_is_refused_for_its_types_is_made_without_them(
    parsed: Parsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every load: ``verify`` alone gave up. What the first try made is closed before the second."""
    obj = parsed("missing_maps")
    obj = replace(obj, maps=(replace(obj.maps[0], name="sums", type=MapType.ARRAY, key_size=4, value_size=8),))
    with_types, without = (plan_load(obj, facts(), options=LoadOptions(btf=btf)) for btf in (True, False))
    with_types = replace(with_types, ops=tuple(map(_typed, with_types.ops)))
    monkeypatch.setattr(batch, "probe_feature", lambda target, name: Answer(True, "", ""))
    asked: list[tuple[Op, ...]] = []

    def run(ops: Sequence[Op]) -> list[Result]:
        asked.append(tuple(ops))
        return [_refusing_types(op, number) for number, op in enumerate(ops)]

    session = cast(Any, SimpleNamespace(run=run, advice=lambda *_, **__: "", target=None))
    ran = batch.run_batch(session, with_types, without_btf=lambda: without)
    assert ran.plan is without
    assert ran.refused == "map 'sums' was refused: ENOTSUPP"
    assert asked == [with_types.ops, (Try(Close(Handle(0, "btf"))),), without.ops]


def _typed(op: Op) -> Op:
    return replace(op, btf=Ref(0), btf_key=1, btf_value=1) if isinstance(op, MapCreate) else op


def _refusing_types(op: Op, number: int) -> Result:
    if isinstance(op, BtfLoad):
        return Made(Handle(number, "btf"))
    return Failed("MapCreate", 524, "no") if isinstance(op, MapCreate) and op.btf else NotRun()


@pytest.mark.bpf_feature("kfunc:bpf_throw")
def test_what_needs_types_fails_with_the_reason_of_the_kernel(bpf: Bpf, built: Path, parsed: Parsed) -> None:
    obj = parsed("exception_cb")
    assert obj.btf is not None
    broken = replace(obj, btf=parse_btf(with_unsound_struct(obj.btf_raw)))
    with pytest.raises(KernelCallError) as caught:
        bpf._load(broken, _asked())
    assert "Program 'throws' (an exception callback) cannot be loaded without BTF." in caught.value.hint
    assert "Invalid" in caught.value.hint


def _asked() -> object:
    from pytest_ebpf.live.load_request import Asked

    return Asked()


def with_unsound_struct(raw: bytes) -> bytes:
    """``raw`` with one more type, whose member has a type that does not exist."""
    from pytest_ebpf.btf.types import Member, Struct
    from pytest_ebpf.btf.write import rewrite_btf

    return rewrite_btf(parse_btf(raw), {}, append=[Struct("broken", 4, (Member("x", 0xFFFF, 0),))])


def test_records_of_other_btf_are_a_problem_that_costs_nothing() -> None:
    obj = parse_object(fault_objects.stale_ext(), name="stale.bpf.o")
    (program,) = obj.programs
    assert not program.func_info
    assert not program.line_info
    (problem,) = obj.problems
    assert (problem.section, problem.costs) == (".BTF.ext", "")
    assert "gives_2" in problem.message
    assert "pahole -J" in problem.hint


def test_records_that_fit_stay() -> None:
    btf = BtfWriter()
    function = btf.func("gives_2", btf.func_proto(btf.int("int", 4, signed=True)))
    ext = BtfExtWriter(btf)
    ext.func("xdp", 0, function)
    ext.line("xdp", 0, file="a.c", text="return 2;", line=1)
    data = fault_objects.program_with_types(btf, ext=ext.build())
    obj = parse_object(data, name="sound.bpf.o")
    assert obj.programs[0].btf_id == function
    assert obj.programs[0].line_info[0].text == "return 2;"
    assert not obj.problems
