"""Looking at what the kernel holds: ids, arrays behind info structs, fdinfo, run statistics."""

from __future__ import annotations

import struct

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Close,
    Data,
    Done,
    EnableStats,
    Failed,
    FdInfo,
    FdPatch,
    Handle,
    Ids,
    Info,
    InfoArray,
    InfoArrays,
    Made,
    MapCreate,
    ObjById,
    ProgLoad,
    ProgLoaded,
    ProgRun,
    Ref,
    Try,
)
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.write import BtfBuilder
from pytest_ebpf.kernels.base import check, made
from support.bpf_asm import R0, exit_, map_fd, mov
from support.contract_kernels import Run

XDP = 6
XLATED = InfoArray(32, 20)
MAP_IDS = InfoArray(56, 52, stride=4)
FUNC_INFO = InfoArray(136, 144, record_size=132)
BTF_DATA = InfoArray(0, 8)
RUN_TIME, RUN_CNT = 192, 200


def numbers(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"={len(data) // 4}I", data)


def simple(name: str = "prog") -> ProgLoad:
    return ProgLoad(XDP, mov(R0, 2) + exit_(), "GPL", name=name, log_level=0)


def test_all_ids_of_a_kind(run: Run) -> None:
    results = run(simple(), MapCreate(2, 4, 8, 1), Ids("prog"), Ids("map"))
    programs, maps = (numbers(check(result, Data).data) for result in results[2:])
    assert check(results[0], ProgLoaded).id in programs
    assert list(programs) == sorted(set(programs))
    assert maps
    assert "no ids of kind 'fd': prog, map" in check(run(Ids("fd"))[0], Failed).text


def test_instructions_and_maps_of_a_program(run: Run) -> None:
    insns = map_fd(1) + mov(R0, 2) + exit_()
    loaded = ProgLoad(XDP, insns, "GPL", patches=(FdPatch(0, Ref(0)),), log_level=0)
    results = run(MapCreate(2, 4, 8, 1), loaded, InfoArrays(Ref(1), (XLATED, MAP_IDS, FUNC_INFO)))
    info = check(results[2], Info)
    xlated, maps, functions = info.arrays
    assert xlated.endswith(mov(R0, 2) + exit_())
    assert len(xlated) == struct.unpack_from("=I", info.data, 20)[0]
    (map_id,) = numbers(maps)
    assert struct.unpack_from("=i", xlated, 4) == (map_id,)
    assert functions == b""
    assert struct.unpack_from("=I", info.data, 4) == (check(results[1], ProgLoaded).id,)


def test_records_have_the_size_that_the_kernel_gives_them(run: Run) -> None:
    builder = BtfBuilder()
    number = builder.add(t.Int("int", 4, 32, signed=True))
    func = builder.add(t.Func("main", builder.add(t.FuncProto(number, ())), 1))
    program = ProgLoad(
        XDP,
        mov(R0, 2) + exit_(),
        "GPL",
        btf=Ref(0),
        func_info=struct.pack("=II", 0, func),
        func_info_rec_size=8,
        log_level=0,
    )
    data = builder.build()
    results = run(BtfLoad(data), program, InfoArrays(Ref(1), (FUNC_INFO,)), InfoArrays(Ref(0), (BTF_DATA,)))
    assert numbers(check(results[2], Info).arrays[0]) == (0, func)
    assert check(results[3], Info).arrays == (data,)
    (id,) = struct.unpack_from("=I", check(results[3], Info).data, 12)
    assert check(run(ObjById("btf", id), InfoArrays(Ref(0), (BTF_DATA,)))[1], Info).arrays == (data,)


def test_what_has_no_info_is_refused(run: Run) -> None:
    results = run(Try(EnableStats()), simple(), InfoArrays(Ref(1), ()))
    assert check(results[2], Info).arrays == ()
    if isinstance(results[0], Made):
        assert "has no info struct" in check(run(InfoArrays(results[0].handle, ()))[0], Failed).text
    strange = run(simple(), InfoArrays(Ref(0), (InfoArray(1000, 1004),)))
    assert check(strange[1], Info).arrays == (b"",)


def test_fdinfo(run: Run) -> None:
    results = run(simple(), FdInfo(Ref(0)), MapCreate(2, 4, 8, 1), FdInfo(Ref(2)))
    program, of_map = (check(result, Data).data.decode() for result in (results[1], results[3]))
    assert "memlock:" in program
    assert "prog_tag:\t" in program
    assert "max_entries:\t1\n" in of_map


def counted(run: Run, prog: Handle) -> tuple[int, int]:
    data = check(run(ProgRun(prog, data=bytes(64), repeat=10), InfoArrays(prog, ()))[1], Info).data
    return struct.unpack_from("=Q", data, RUN_CNT)[0], struct.unpack_from("=Q", data, RUN_TIME)[0]


def test_statistics_are_kept_while_the_handle_is_open(run: Run, release: tuple[int, int]) -> None:
    prog = check(run(simple())[0], ProgLoaded).handle
    (enabled,) = run(Try(EnableStats()))
    assert (release >= (5, 8)) == isinstance(enabled, Made)
    if isinstance(enabled, Failed):
        return
    count, time = counted(run, prog)
    assert count == 10
    assert time > 0
    assert run(Close(made(enabled))) == [Done()]
    assert counted(run, prog) == (count, time)
