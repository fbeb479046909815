"""Line 7: static variables of one name in objects that are linked are told apart; stale offsets go by the symbol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_ebpf import Bpf, BpfUsageError, ObjectError
from pytest_ebpf.obj.link import link_objects
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.static_names import meanings
from pytest_ebpf.verify.verdicts import check_globals

Parsed = Callable[[str], ObjectFile]
FRAME = bytes(64)


@pytest.fixture
def both(built: Path) -> list[Path]:
    return [built / "static_one.bpf.o", built / "static_two.bpf.o"]


def values(bpf_object: object, *names: str) -> list[object]:
    return [bpf_object.globals[name] for name in names]  # type: ignore[attr-defined]


def test_each_is_set_by_its_file(bpf: Bpf, both: list[Path]) -> None:
    obj = bpf.load(both, globals={"static_one.bpf.o:limit": 50, "static_two.bpf.o:fixed": 1000})
    assert int(obj["one"].run(FRAME).retval) == 50 + 10 + 200
    assert int(obj["two"].run(FRAME).retval) == 2 * 2 + 1000 + 200
    obj.globals["static_one.bpf.o:limit"] = 70
    assert int(obj["one"].run(FRAME).retval) == 70 + 10 + 200
    assert values(obj, "static_one.bpf.o:limit", "static_two.bpf.o:limit", "shared") == [70, 2, 200]


def test_the_plain_name_is_an_error_that_names_both(bpf: Bpf, both: list[Path]) -> None:
    which = "'limit' is the name of 2 static variables: write one of 'static_one.bpf.o:limit', 'static_two.bpf.o:limit'"
    with pytest.raises(ObjectError, match=which):
        bpf.load(both, globals={"limit": 50})
    with pytest.raises(KeyError, match=which):
        bpf.load(both).globals["limit"]
    with pytest.raises(BpfUsageError, match=which):
        bpf.open(both).globals["limit"] = 1


def test_what_verify_is_given(parsed: Parsed) -> None:
    obj = link_objects([parsed("static_one"), parsed("static_two")])
    with pytest.raises(BpfUsageError, match="-G: 'calls' is the name of 2 static variables"):
        check_globals(["calls"], [obj], what="-G")


def test_objects_of_one_file_name_go_by_their_paths(bpf: Bpf, both: list[Path], tmp_path: Path) -> None:
    copies = []
    for directory, path in zip(("a", "b"), both, strict=True):
        (tmp_path / directory).mkdir()
        copies.append(tmp_path / directory / "same.bpf.o")
        copies[-1].write_bytes(path.read_bytes())
    assert bpf.load(copies).globals[f"{copies[0]}:limit"] == 1


def test_the_output_of_another_linker_numbers_them(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "linked_statics.bpf.o", globals={"limit#1": 50, "fixed#2": 1000})
    assert int(obj["one"].run(FRAME).retval) == 50 + 10 + 200
    assert int(obj["two"].run(FRAME).retval) == 2 * 2 + 1000 + 200
    assert values(obj, "limit#1", "limit#2", "calls#1", "calls#2") == [50, 2, 1, 10]
    with pytest.raises(KeyError, match="write one of 'limit#1', 'limit#2'"):
        obj.globals["limit"]


def test_offsets_that_a_linker_left_stale_go_by_the_symbol(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "linked_statics.bpf.o")
    assert values(obj, "first_only", "after", "second_only", "shared") == [7, 8, 9, 200]
    maps = bpf.load(built / "linked_maps.bpf.o")
    assert [int(maps[name].run(FRAME).retval) for name in ("uses", "defines")] == [7, 103]
    entries = {name: maps.maps[name].definition.max_entries for name in ("elsewhere", "another")}
    assert entries == {"elsewhere": 5, "another": 3}


def test_a_name_is_ambiguous_only_when_it_is() -> None:
    assert not meanings("limit", ["limit", "other"])
    assert not meanings("lim", ["a.o:limit", "b.o:limit"])
    assert "'limit#1', 'limit#2'" in meanings("limit", ["limit#1", "x", "limit#2"])
