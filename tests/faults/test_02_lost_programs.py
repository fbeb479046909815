"""Line 2: a program or map that cannot be read fails the load with its reason, and is an error of ``verify``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_ebpf import Bpf, ObjectError
from pytest_ebpf.fixtures.objects.cases import specs_of
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.obj.object import ObjectFile, Problem
from pytest_ebpf.verify.verdict import ProgramVerdict, verify_object

Parsed = Callable[[str], ObjectFile]

# object, what is lost, its section, why, what to do
LOST = [
    ("common_symbol", "uses_common", "xdp", "instruction 0 refers to common symbol 'counter'", "-fno-common"),
    ("misspelt_map", "counts", ".maps", "there is no field 'max_entires'; did you mean max_entries?", ""),
    ("forward_value", "counts", ".maps", "its value is struct nowhere, which is only declared here", ""),
    ("local_static", "calls_static", "xdp", "it is static, and nothing calls it", "remove the word static"),
    ("local_strip_x", "calls_static", "xdp", "calls byte 0x0 of section .text, where no function", "llvm-strip -g"),
    ("local_strip_unneeded", "calls_static", "xdp", "calls byte 0x0 of section .text", "llvm-strip -g"),
    ("no_symbols", "", "xdp", "code without a function symbol", "llvm-strip -g"),
]


def verdicts(bpf: Bpf, obj: ObjectFile) -> dict[str, ProgramVerdict]:
    found = verify_object(obj, bpf.session.target, kernel="k", cache=LoadCache())
    return {verdict.program: verdict for verdict in found}


@pytest.mark.parametrize(("name", "symbol", "section", "why", "hint"), LOST)
def test_what_is_lost_is_a_problem_with_its_price(
    parsed: Parsed, name: str, symbol: str, section: str, why: str, hint: str
) -> None:
    (problem,) = [problem for problem in parsed(name).problems if problem.costs]
    assert (problem.section, problem.symbol) == (section, symbol)
    assert why in problem.message
    assert hint in problem.hint
    assert problem.costs == ("map" if section == ".maps" else "program")


@pytest.mark.parametrize(("name", "symbol", "section", "why", "hint"), LOST)
def test_the_load_fails_with_that_reason(
    bpf: Bpf, built: Path, name: str, symbol: str, section: str, why: str, hint: str
) -> None:
    with pytest.raises(ObjectError) as caught:
        bpf.load(built / f"{name}.bpf.o")
    assert f"{name}.bpf.o[{section}]: {symbol}" in caught.value.message
    assert why in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(("name", "symbol", "section", "why", "hint"), LOST)
def test_verify_counts_an_error(
    bpf: Bpf, parsed: Parsed, name: str, symbol: str, section: str, why: str, hint: str
) -> None:
    found = verdicts(bpf, parsed(name))
    (error,) = [verdict for verdict in found.values() if not verdict.accepted]
    assert error.verdict == "error"
    assert why in error.message
    assert error.program == ("uses_map" if section == ".maps" else symbol or section)


def test_a_lost_map_that_no_program_uses_is_an_error_of_its_own(bpf: Bpf, parsed: Parsed) -> None:
    obj = parsed("misspelt_map")
    without = [program for program in obj.programs if program.name != "uses_map"]
    found = verdicts(bpf, _only(obj, [program.name for program in without]))
    assert {name: verdict.verdict for name, verdict in found.items()} == {"is_fine": "accepted", "counts": "error"}


def _only(obj: ObjectFile, names: list[str]) -> ObjectFile:
    from dataclasses import replace

    return replace(obj, programs=tuple(program for program in obj.programs if program.name in names))


def test_who_leaves_the_program_out_loads_the_others(bpf: Bpf, built: Path) -> None:
    path = built / "common_symbol.bpf.o"
    for asked in ({"programs": {"uses_common": False}}, {"only": "is_fine"}):
        obj = bpf.load(path, **asked)  # type: ignore[arg-type]
        assert list(obj.programs) == ["is_fine"]
        with pytest.raises(KeyError, match="'uses_common' was not loaded: instruction 0 refers to common symbol"):
            obj["uses_common"]
    with pytest.raises(ObjectError, match="uses_common: instruction 0 refers to common symbol"):
        bpf.load(path, only="uses_common")


def test_programs_that_do_not_use_the_lost_map_load_by_name(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "misspelt_map.bpf.o", only="is_fine")
    assert obj["is_fine"].run(bytes(64)).retval == 2
    with pytest.raises(KeyError, match="map 'counts' was not loaded: there is no field 'max_entires'"):
        obj.maps["counts"]
    with pytest.raises(ObjectError, match="there is no field 'max_entires'"):
        bpf.load(built / "misspelt_map.bpf.o", only="uses_map")


def test_an_opened_object_knows_why(bpf: Bpf, built: Path) -> None:
    spec = bpf.open(built / "common_symbol.bpf.o")
    with pytest.raises(KeyError, match="refers to common symbol 'counter'"):
        spec.programs["uses_common"]


def test_compact_relocations_are_refused_by_name(parsed: Parsed) -> None:
    with pytest.raises(ObjectError, match=r"relocations in the compact form \(SHT_CREL\)") as caught:
        parsed("local_crel")
    assert "--crel" in caught.value.hint


def test_bitcode_is_called_bitcode(parsed: Parsed) -> None:
    with pytest.raises(ObjectError, match="it is LLVM bitcode, as clang writes it with -flto") as caught:
        parsed("local_lto")
    assert "compile without -flto" in caught.value.hint


def test_a_static_function_that_is_called_is_no_lost_program(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "local_programs.bpf.o")
    assert obj["calls_static"].run(bytes(64)).retval == 2
    assert obj.globals["calls"] == 1
    assert not obj.problems


def test_the_item_of_a_tagged_program_that_is_lost_says_why(parsed: Parsed) -> None:
    """Not that it has no section: found with a selftest whose jump table could not be read."""
    obj = parsed("tags_wrong")
    lost = obj.programs[0]
    broken = Problem(lost.section, lost.name, "a table that leads nowhere", costs="program")
    _, errors = specs_of(replace(obj, programs=obj.programs[1:], problems=(broken,)))
    assert errors[lost.name] == f"{lost.name} has test tags and cannot be read: a table that leads nowhere"
