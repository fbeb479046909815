"""Questions about kernel objects, put to a kernel that answers from a script."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from pytest_ebpf.agent.ops import (
    Close,
    Data,
    EnableStats,
    Failed,
    FdInfo,
    Ids,
    Info,
    InfoArrays,
    ObjById,
    ReadFile,
)
from pytest_ebpf.errors import KernelCallError, PlanError
from pytest_ebpf.live.kernel_objects import Inventory
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.session import Session

On = Callable[..., Session]


def info(kind: str, *arrays: bytes, **places: tuple[int, str, Any]) -> Info:
    data = bytearray(232)
    for offset, code, value in places.values():
        struct.pack_into("=" + code, data, offset, value)
    return Info(kind, bytes(data), arrays=arrays)


MAP = info("map", type=(0, "I", 2), id=(4, "I", 9), name=(24, "16s", b"counts"))
TEXT = Data(b"memlock:\t4096\n")


def batches(session: Session) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = session.target.kernel.batches  # type: ignore[attr-defined]
    return found


def test_a_listing_takes_two_trips_and_leaves_out_what_is_gone(session_on: On) -> None:
    ids = Data(struct.pack("=3I", 9, 10, 11))
    session = session_on(
        {
            Ids: ids,
            lambda op: isinstance(op, ObjById) and op.id == 10: Failed("ObjById", 2, "gone"),
            InfoArrays: MAP,
            FdInfo: TEXT,
        }
    )
    before = len(batches(session))
    maps = Inventory(session).maps()
    assert [(each.id, each.name, each.info.memlock) for each in maps] == [(9, "counts", 4096)] * 2
    assert len(batches(session)) - before == 2
    assert sum(isinstance(getattr(op, "op", op), Close) for op in batches(session)[-1]) == 3


def test_an_id_that_is_gone_is_the_kernels_error(session_on: On) -> None:
    session = session_on({ObjById: Failed("ObjById", 2, "#5: No such file or directory")})
    with pytest.raises(KernelCallError, match="ENOENT"):
        Inventory(session).map(5)
    session = session_on({Ids: Failed("Ids", 22, "Invalid argument")})
    with pytest.raises(KernelCallError, match="EINVAL"):
        Inventory(session).links()


def test_links_of_some_types_are_asked_twice(session_on: On) -> None:
    plain = info("link", type=(0, "I", 8), id=(4, "I", 3), prog=(8, "I", 4))
    full = info("link", struct.pack("=2Q", 16, 32), b"", type=(0, "I", 8), id=(4, "I", 3), count=(24, "I", 2))
    session = session_on({InfoArrays: [plain, full], FdInfo: TEXT})
    link = Inventory(session).link(3)
    assert (link.info.type, link.info.details["addresses"]) == ("kprobe_multi", (16, 32))


def test_a_kernel_that_hides_instructions(session_on: On) -> None:
    program = info("prog", b"", type=(0, "I", 6), id=(4, "I", 3))
    hidden = info("prog", b"", b"", b"", b"", type=(0, "I", 6))
    session = session_on({InfoArrays: [program, hidden], FdInfo: TEXT})
    with pytest.raises(PlanError, match="does not show the instructions") as error:
        _ = Inventory(session).program(3).xlated
    assert "CAP_PERFMON" in str(error.value)


def test_instructions_without_btf_and_symbols(session_on: On) -> None:
    program = info("prog", struct.pack("=I", 9), type=(0, "I", 6), id=(4, "I", 3))
    code = bytes.fromhex("181100000900000000000000000000009500000000000000")
    dump = info("prog", code, struct.pack("=I", 9), b"", b"", type=(0, "I", 6))
    session = session_on(
        {InfoArrays: [program, dump, MAP], FdInfo: TEXT, ReadFile: Failed("ReadFile", 2, "no such file")}
    )
    assert str(Inventory(session).program(3).xlated) == "   0: (18) r1 = map[counts]\n   2: (95) exit"


def test_machine_code_is_cut_into_functions(session_on: On) -> None:
    program = info("prog", b"", type=(0, "I", 6), id=(4, "I", 3))
    ksyms, lengths = struct.pack("=2Q", 0x1000, 0x2000), struct.pack("=2I", 3, 2)
    session = session_on(
        {
            InfoArrays: [program, info("prog", b"abcde", ksyms, lengths, b"", b"")],
            FdInfo: TEXT,
            ReadFile: Data(b"0000000000001000 t bpf_prog_1_main\t[bpf]\n"),
        }
    )
    functions = Inventory(session).program(3).jited.functions
    assert [(each.name, each.address, each.code) for each in functions] == [
        ("bpf_prog_1_main", 0x1000, b"abc"),
        ("", 0x2000, b"de"),
    ]


def test_an_interpreted_program_has_no_machine_code(session_on: On) -> None:
    session = session_on({InfoArrays: info("prog", b"", b"", b"", b"", b""), FdInfo: TEXT})
    assert Inventory(session).program(3).jited.functions == ()


def test_statistics_need_a_kernel_that_keeps_them(target_on: Callable[..., Any]) -> None:
    target = target_on({EnableStats: Failed("EnableStats", 22, "Invalid argument")})
    with pytest.raises(PlanError, match="run statistics"), Bpf(target).count_runs():
        pass
    target = target_on({})
    with Bpf(target).count_runs():
        pass
    assert isinstance(target.kernel.batches[-1][0], Close)


def test_maps_whose_names_are_cut_to_the_same_go_by_id(session_on: On) -> None:
    program = info("prog", struct.pack("=2I", 9, 10), type=(0, "I", 6), id=(4, "I", 3))
    code = bytes.fromhex("181100000a00000000000000000000009500000000000000")
    dump = info("prog", code, struct.pack("=2I", 9, 10), b"", b"", type=(0, "I", 6))
    maps = [info("map", type=(0, "I", 2), id=(4, "I", id), name=(24, "16s", b"same")) for id in (9, 10)]
    session = session_on({InfoArrays: [program, dump, *maps], FdInfo: TEXT, ReadFile: Failed("ReadFile", 2, "")})
    assert "(18) r1 = map[id:10]" in str(Inventory(session).program(3).xlated)
