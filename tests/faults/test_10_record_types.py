"""Line 10: types of records, keys and values that BTF lacks come from DWARF, a C header or another object."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from pytest_ebpf import Bpf, BpfUsageError, ObjectError
from pytest_ebpf.btf.merge import append_btf
from pytest_ebpf.btf.value_type import TypeTable
from pytest_ebpf.obj.dwarf_types import read_dwarf_types

FRAME = bytes(64)
WRITES = pytest.mark.bpf_kernel(">=6.2")  # a record of a ring buffer is the value that its program writes into a map
RECORD = {
    "pid": 4242,
    "verdict": 7,
    "comm": "curl",
    "at": [{"x": 3, "y": -4}, {"x": 5, "y": -6}],
    "flags": 5,
    "rest": 9,
}
WITH_DWARF = ["record_types_dwarf", "record_types_dwarf5"]
HEADER = """
enum verdict { PASSED = 1, DROPPED = 7 };
struct point { u16 x; s16 y; };
struct event { u32 pid; enum verdict verdict; char comm[8]; struct point at[2]; u64 flags : 3; u64 rest : 61; };
"""


@WRITES
@pytest.mark.parametrize("name", WITH_DWARF)
def test_a_record_type_that_only_dwarf_has(bpf: Bpf, built: Path, name: str) -> None:
    obj = bpf.load(built / f"{name}.bpf.o")
    obj["write"].run(FRAME)
    assert obj.maps["events"].events(type="struct event") == [RECORD]
    obj["write"].run(FRAME)
    assert obj.maps["events"].events() == [RECORD], "the struct named like the map"
    event = obj.types["event"]
    assert (event.size, event.fields["comm"].offset) == (32, 8)
    assert event.unpack(event.pack(**RECORD)) == RECORD
    assert obj.types["kept"].size == 4, "what BTF has stays"


@WRITES
def test_key_and_value_types_of_a_map_that_has_sizes_only(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "record_types_dwarf5.bpf.o", maps={"last": {"key": "point", "value": "struct event"}})
    obj["write"].run(FRAME)
    assert obj.maps["last"] == {(1, -2): RECORD}
    obj.maps["last"][{"x": 5, "y": 6}] = {"pid": 1}
    assert obj.maps["last"][(5, 6)]["pid"] == 1


@WRITES
def test_the_same_through_open(bpf: Bpf, built: Path) -> None:
    spec = bpf.open(built / "record_types_dwarf.bpf.o")
    spec.maps["last"].key, spec.maps["last"].value = "point", "event"
    obj = spec.load()
    obj["write"].run(FRAME)
    assert obj.maps["last"] == {(1, -2): RECORD}


@WRITES
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"value": "evnt"}, "no type 'evnt' for its value\ndid you mean event"),
        ({"value": "point"}, "its value has 32 bytes, 'point' has 4"),
    ],
)
def test_a_type_that_does_not_fit_a_map(bpf: Bpf, built: Path, fields: dict[str, str], message: str) -> None:
    with pytest.raises(BpfUsageError, match=message):
        bpf.load(built / "record_types_dwarf.bpf.o", maps={"last": fields})


@WRITES
def test_without_dwarf_the_error_has_the_line_to_add(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "record_types.bpf.o")
    obj["write"].run(FRAME)
    with pytest.raises(BpfUsageError) as raised:
        obj.maps["events"].events(type="event")
    assert "the object has no type 'event'" in str(raised.value)
    assert "struct event *unused_event __attribute__((unused));" in str(raised.value)
    assert "#[no_mangle] static" in str(raised.value)
    assert 'types="events.h"' in str(raised.value)


@WRITES
def test_types_of_another_object(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "record_types.bpf.o", types=built / "types_only.bpf.o", maps={"last": {"value": "event"}})
    obj["write"].run(FRAME)
    assert obj.maps["events"].events(type="event") == [RECORD]
    assert obj.types["event"].size == 32
    assert obj.maps["last"].values() == [RECORD]


@WRITES
@pytest.mark.skipif(shutil.which("clang") is None, reason="a C header takes clang")
def test_types_of_a_header(bpf: Bpf, built: Path, tmp_path: Path) -> None:
    (tmp_path / "events.h").write_text(HEADER)
    obj = bpf.load(built / "record_types.bpf.o", types=tmp_path / "events.h")
    obj["write"].run(FRAME)
    assert obj.maps["events"].events() == [RECORD]
    (tmp_path / "wrong.h").write_text("struct event { nothing x; };")
    with pytest.raises(BpfUsageError, match="unknown type name 'nothing'"):
        bpf.load(built / "record_types.bpf.o", types=tmp_path / "wrong.h")


def test_the_types_that_dwarf_has(built: Path) -> None:
    for name in WITH_DWARF:
        data = (built / f"{name}.bpf.o").read_bytes()
        btf = read_dwarf_types(data, name=name)
        assert btf is not None
        types = TypeTable(btf, name=name)
        assert [types["point"].fields[field].type for field in ("x", "y")] == ["__u16", "__s16"]
        assert types["event"].fields["at"].type == "struct point[2]"
        assert {"xdp_md", "event", "point", "verdict"} <= set(types)
    assert read_dwarf_types((built / "record_types.bpf.o").read_bytes(), name="stripped") is None


def test_types_that_are_appended_keep_the_ids_of_the_first(built: Path) -> None:
    data = (built / "record_types_dwarf.bpf.o").read_bytes()
    dwarf = read_dwarf_types(data, name="x")
    assert dwarf is not None
    both = append_btf(dwarf, dwarf)
    assert [both.type(number) for number in dwarf.ids()] == [dwarf.type(number) for number in dwarf.ids()]
    first, second = both.find("event")
    assert second == first + len(dwarf) - 1
    assert both.size(second) == 32


@pytest.mark.parametrize("cut", range(0x309, 0x5E9, 23))
def test_damaged_dwarf_is_an_error_of_the_object(built: Path, cut: int) -> None:
    data = bytearray((built / "record_types_dwarf.bpf.o").read_bytes())
    data[cut : cut + 4] = b"\xff\xff\xff\xff"
    with contextlib.suppress(ObjectError):
        read_dwarf_types(bytes(data), name="x.o")


@WRITES
@pytest.mark.parametrize("cut", [0x309, 0x317, 0x33A])
def test_damaged_dwarf_never_fails_a_load(bpf: Bpf, built: Path, tmp_path: Path, cut: int) -> None:
    """Records are bytes then, and the types of BTF stay."""
    data = bytearray((built / "record_types_dwarf.bpf.o").read_bytes())
    data[cut : cut + 4] = b"\xff\xff\xff\xff"
    path = tmp_path / "damaged.bpf.o"
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="its DWARF cannot be read, so its types are those of its BTF alone"):
        record = first_record(bpf, path)
    assert isinstance(record, bytes)


def first_record(bpf: Bpf, path: Path) -> object:
    obj = bpf.load(path)
    obj["write"].run(FRAME)
    assert obj.types["kept"].size == 4
    return obj.maps["events"].events()[0]
