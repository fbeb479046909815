"""Loading BTF and programs, running programs, and asking the kernel about them."""

from __future__ import annotations

import struct

import pytest

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Close,
    Done,
    Failed,
    FdPatch,
    Info,
    InfoByFd,
    Made,
    MapCreate,
    MapGet,
    NextId,
    ObjById,
    ProgLoad,
    ProgLoaded,
    ProgRejected,
    ProgRun,
    ProgRunMany,
    Ran,
    RanMany,
    Ref,
    Result,
    Try,
    Value,
)
from pytest_ebpf.kernels.base import check
from support.bpf_asm import (
    KPROBE,
    R0,
    R1,
    R2,
    R3,
    R10,
    RAW_TRACEPOINT,
    SCHED_CLS,
    SYSCALL,
    XDP_DROP,
    XDP_PASS,
    add,
    call,
    copy,
    counting,
    exit_,
    insn,
    jump_eq,
    load32,
    load64,
    map_index,
    mov,
    program,
    returning,
    store32,
    store_reg32,
)
from support.contract_kernels import Run

NO_R0 = exit_()


def straight(count: int) -> bytes:
    """``count`` instructions, a line of trace each."""
    return mov(R0, 0) + add(R0, 1) * (count - 2) + exit_()


def test_accepted_programs_tell_their_size_and_statistics(run: Run) -> None:
    loaded = check(run(program(straight(10)))[0], ProgLoaded)
    assert loaded.xlated_len == 80
    assert loaded.id > 0
    assert loaded.load_ns > 0
    assert loaded.log_level == 4
    assert b"processed 10 insns" in loaded.log
    assert not loaded.truncated
    assert b"\0" not in loaded.log


def test_verified_insns_where_the_kernel_counts_them(run: Run, release: tuple[int, int]) -> None:
    loaded = check(run(program(straight(10)))[0], ProgLoaded)
    assert loaded.verified_insns == (10 if release >= (5, 16) else 0)


@pytest.mark.parametrize("level", [0, 4])
def test_a_rejection_always_carries_its_trace(run: Run, release: tuple[int, int], level: int) -> None:
    rejected = check(run(program(NO_R0, log_level=level))[0], ProgRejected)
    assert rejected.errno == 13
    # old kernels show registers at level 2 alone, which is for short walks: those are known from level 4
    assert rejected.log_level == (7 if release < (5, 17) and level == 4 else 5)
    assert b"R0 !read_ok" in rejected.log
    assert b"0: (95) exit" in rejected.log
    assert not rejected.truncated


def test_level_0_keeps_no_log_of_accepted_programs(run: Run) -> None:
    loaded = check(run(program(straight(3), log_level=0))[0], ProgLoaded)
    assert (loaded.log, loaded.log_level) == (b"", 0)


def test_logs_are_complete_however_long(run: Run) -> None:
    count = 50_000
    loaded = check(run(program(straight(count), log_level=2))[0], ProgLoaded)
    assert len(loaded.log) > 1 << 20
    assert loaded.log.count(b"(07) r0 += 1") >= count - 2
    assert loaded.log.rstrip().splitlines()[-1].startswith(b"processed")
    assert not loaded.truncated


def test_the_whole_trace_of_a_long_rejected_program(run: Run) -> None:
    count = 40_000
    insns = mov(R0, 0) + add(R0, 1) * count + copy(R0, R3) + exit_()
    rejected = check(run(program(insns))[0], ProgRejected)
    assert rejected.errno == 13
    assert rejected.log.count(b"(07) r0 += 1") >= count
    assert b"R3 !read_ok" in rejected.log


def test_what_the_verifier_never_sees_has_no_log(run: Run) -> None:
    rejected = check(run(program(b""))[0], ProgRejected)
    assert rejected.errno in (7, 22)  # E2BIG up to 6.x: "0 instructions"
    assert rejected.log == b""


def test_the_licence_reaches_the_kernel(run: Run) -> None:
    gpl_only = mov(R1, 0) + mov(R2, 0) + store32(R10, 0, off=-8) + copy(R1, R10) + add(R1, -8) + mov(R2, 4) + call(6)
    results = run(
        Try(ProgLoad(type=6, insns=gpl_only + returning(0), license="Proprietary")),
        Try(ProgLoad(type=6, insns=gpl_only + returning(0), license="GPL")),
        Try(ProgLoad(type=6, insns=returning(0), license="")),
    )
    assert b"GPL" in check(results[0], ProgRejected).log
    assert isinstance(results[1], ProgLoaded)
    assert isinstance(results[2], ProgLoaded)


def test_patches_outside_the_program_are_refused(run: Run) -> None:
    op = ProgLoad(type=6, insns=returning(0), license="GPL", patches=(FdPatch(2, Ref(0)),), name="p")
    results = run(MapCreate(2, 4, 8, 1), op)
    assert check(results[1], Failed).text == "program 'p' has no instruction 2 to patch"


def test_maps_through_fd_array(run: Run, release: tuple[int, int]) -> None:
    insns = counting().replace(insn(0x18, R1, 1) + insn(0), map_index(R1, 0))
    op = ProgLoad(type=6, insns=insns, license="GPL", fd_array=(Ref(0),))
    results = run(MapCreate(2, 4, 8, 1), Try(op))
    if release < (5, 14):
        assert isinstance(results[1], ProgRejected)
        return
    prog = check(results[1], ProgLoaded).handle
    run(ProgRun(prog, data=bytes(64)))
    assert run(MapGet(check(results[0], Made).handle, bytes(4))) == [Value(struct.pack("=Q", 1))]


def test_func_and_line_info(run: Run) -> None:
    """BTF with one function ``int f(void)`` and a line of source text for its first instruction."""
    strings = b"\0int\0f\0return 0;\0a.c\0"
    int_type = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32)
    types = int_type + struct.pack("=III", 0, 13 << 24, 1) + struct.pack("=III", 5, 12 << 24, 2)
    btf = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
    op = ProgLoad(
        type=6,
        insns=returning(0),
        license="GPL",
        log_level=1 | 2 | 4,
        btf=Ref(0),
        func_info=struct.pack("=II", 0, 3),
        func_info_rec_size=8,
        line_info=struct.pack("=IIII", 0, 17, 7, 3 << 10 | 1),
        line_info_rec_size=16,
    )
    results = run(BtfLoad(btf), op)
    assert b"; return 0;" in check(results[1], ProgLoaded).log


def test_bad_btf_comes_back_with_the_kernels_words(run: Run) -> None:
    strings = b"\0"
    types = struct.pack("=III", 0, 2 << 24, 99)  # a pointer to a type that does not exist
    btf = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
    failed = check(run(BtfLoad(btf))[0], Failed)
    assert (failed.op, failed.errno) == ("BtfLoad", 22)
    assert b"type_id=99" in failed.log
    assert b"Invalid type_id" in failed.log


def test_one_run(run: Run) -> None:
    data = bytes(range(64))
    results = run(program(returning(XDP_DROP)), ProgRun(Ref(0), data=data))
    ran = check(results[1], Ran)
    assert (ran.retval, ran.data, ran.ctx) == (XDP_DROP, data, b"")


def test_repeat_gives_a_mean_duration(run: Run) -> None:
    results = run(program(returning(XDP_PASS)), ProgRun(Ref(0), data=bytes(64), repeat=100))
    assert check(results[1], Ran).retval == XDP_PASS
    assert check(results[1], Ran).duration < 1_000_000


def growing(by: int) -> bytes:
    """xdp_adjust_head by ``-by``: a longer packet comes out."""
    return mov(R2, -by) + call(44) + returning(XDP_PASS)


def test_the_packet_may_grow(run: Run) -> None:
    results = run(program(growing(200)), ProgRun(Ref(0), data=b"\1" * 64))
    data = check(results[1], Ran).data
    assert len(data) == 264
    assert data.endswith(b"\1" * 64)


def test_a_small_room_of_the_callers_choice_cuts_the_data(run: Run) -> None:
    data = bytes(range(64))
    results = run(
        program(returning(XDP_DROP)),
        ProgRun(Ref(0), data=data, data_out_size=16),
        ProgRun(Ref(0), data=data, data_out_size=0),
    )
    assert (check(results[1], Ran).retval, check(results[1], Ran).data) == (XDP_DROP, data[:16])
    assert (check(results[2], Ran).retval, check(results[2], Ran).data) == (XDP_DROP, b"")


def test_skb_context_in_and_out(run: Run) -> None:
    """__sk_buff: mark is at 8, priority at 32. The program returns mark and writes priority."""
    insns = load32(R0, R1, off=8) + mov(R2, 77) + store_reg32(R1, R2, off=32) + exit_()
    ctx = bytearray(192)
    struct.pack_into("=I", ctx, 8, 1234)
    results = run(program(insns, SCHED_CLS), ProgRun(Ref(0), data=bytes(64), ctx=bytes(ctx)))
    ran = check(results[1], Ran)
    assert ran.retval == 1234
    assert struct.unpack_from("=I", ran.ctx, 8) == (1234,)
    assert struct.unpack_from("=I", ran.ctx, 32) == (77,)
    assert len(ran.ctx) >= 176


def test_syscall_programs_change_their_context_in_place(run: Run, release: tuple[int, int]) -> None:
    insns = load32(R0, R1, off=0) + mov(R2, 5) + store_reg32(R1, R2, off=4) + exit_()
    sleepable = 1 << 4
    results = run(
        Try(program(insns, SYSCALL, flags=sleepable)), ProgRun(Ref(0), ctx=struct.pack("=II", 42, 0), repeat=1)
    )
    if release >= (5, 14):
        assert results[1] == Ran(42, b"", struct.pack("=II", 42, 5), 0)
    else:
        assert isinstance(results[0], Failed | ProgRejected)


def test_raw_tracepoint_programs_see_the_words_of_their_context(run: Run) -> None:
    insns = load64(R0, R1, off=8) + exit_()
    ctx = struct.pack("=QQ", 3, 99)
    results = run(program(insns, RAW_TRACEPOINT), ProgRun(Ref(0), ctx=ctx), ProgRun(Ref(0), ctx=ctx, flags=1, cpu=0))
    assert [check(result, Ran).retval for result in results[1:]] == [99, 99]


def test_what_cannot_be_run_says_so(run: Run) -> None:
    results = run(program(returning(0), KPROBE), ProgRun(Ref(0), data=bytes(64)))
    failed = check(results[1], Failed)
    assert failed.errno == 524
    assert failed.text == "prog 'prog': not supported by this kernel"


def test_too_short_a_packet_is_the_kernels_einval(run: Run) -> None:
    results = run(program(returning(0), SCHED_CLS), ProgRun(Ref(0), data=bytes(5)))
    assert results[1] == Failed("ProgRun", 22, "prog 'prog': Invalid argument")


def test_many_packets_in_one_trip(run: Run) -> None:
    """Returns the length of the packet: data_end - data."""
    insns = load32(R0, R1, off=4) + load32(R2, R1, off=0) + insn(0x1F, R0, R2) + exit_()
    packets = tuple(bytes([i % 256]) * (64 + i) for i in range(300))
    results = run(program(insns), ProgRunMany(Ref(0), data=packets), ProgRunMany(Ref(0), data=()))
    many = check(results[1], RanMany)
    assert many.retvals == tuple(64 + i for i in range(300))
    assert many.data == packets
    assert len(many.durations) == 300
    assert results[2] == RanMany((), (), ())


def test_many_packets_name_the_bad_one(run: Run) -> None:
    results = run(program(returning(0), SCHED_CLS), ProgRunMany(Ref(0), data=(bytes(64), bytes(64), b"short")))
    assert check(results[1], Failed).text == "prog 'prog', packet 2: Invalid argument"


def test_15_many_packets_go_on_behind_the_bad_ones(run: Run) -> None:
    """More packets than the agent runs in one go, of many lengths; those that are refused are the first and the last of
    all, two in a row, and one in each of the next goes."""
    refused = (0, 100, 101, 300, 700)
    packets = tuple(b"short" if number in refused else bytes([number % 256]) * (64 + number) for number in range(701))
    results = run(program(returning(5), SCHED_CLS), ProgRunMany(Ref(0), data=packets, skip=True))
    many = check(results[1], RanMany)
    assert many.refused == refused
    assert many.data == tuple(packet for number, packet in enumerate(packets) if number not in refused)
    assert many.retvals == (5,) * 696
    assert len(many.durations) == 696
    results = run(program(returning(5), SCHED_CLS), ProgRunMany(Ref(0), data=packets[102:]))
    assert check(results[1], Failed).text == "prog 'prog', packet 198: Invalid argument"


def test_15_packets_that_grow_leave_their_neighbours_alone(run: Run) -> None:
    insns = mov(R2, -200) + call(44) + mov(R0, XDP_PASS) + exit_()  # bpf_xdp_adjust_head
    packets = tuple(bytes([number]) * 320 for number in range(255))
    many = check(run(program(insns), ProgRunMany(Ref(0), data=packets))[1], RanMany)
    assert [data[200:] for data in many.data] == list(packets)


def test_many_runs_share_a_context(run: Run) -> None:
    ctx = bytearray(192)
    struct.pack_into("=I", ctx, 8, 7)
    insns = load32(R0, R1, off=8) + exit_()
    results = run(program(insns, SCHED_CLS), ProgRunMany(Ref(0), data=(bytes(64),) * 3, ctx=bytes(ctx)))
    assert check(results[1], RanMany).retvals == (7, 7, 7)


def test_info_names_the_maps_of_a_program(run: Run) -> None:
    results = run(
        MapCreate(2, 4, 8, 1, name="counts"),
        program(counting(), maps=(Ref(0),)),
        InfoByFd(Ref(0)),
        InfoByFd(Ref(1)),
    )
    of_map, of_prog = check(results[2], Info), check(results[3], Info)
    (map_id,) = struct.unpack_from("=I", of_map.data, 4)
    assert (of_map.kind, of_prog.kind) == ("map", "prog")
    assert of_prog.map_ids == (map_id,)
    assert struct.unpack_from("=I", of_prog.data, 4) == (check(results[1], ProgLoaded).id,)


def test_ids_lead_to_objects_of_others(run: Run) -> None:
    results = run(program(returning(XDP_DROP)), MapCreate(2, 4, 8, 1))
    id = check(results[0], ProgLoaded).id
    found = run(ObjById("prog", id), ProgRun(Ref(0), data=bytes(64)), Close(Ref(0)))
    assert check(found[1], Ran).retval == XDP_DROP
    assert found[2] == Done()
    assert check(run(ObjById("prog", 0x7FFFFFFF))[0], Failed).errno == 2
    assert "no ids of kind 'fd'" in check(run(ObjById("fd", 1))[0], Failed).text


@pytest.mark.parametrize("kind", ["prog", "map"])
def test_ids_can_be_walked(run: Run, kind: str) -> None:
    made: list[Result] = run(program(returning(0)), MapCreate(2, 4, 8, 1), InfoByFd(Ref(0)), InfoByFd(Ref(1)))
    info = check(made[2 if kind == "prog" else 3], Info)
    (wanted,) = struct.unpack_from("=I", info.data, 4)
    seen, id = set(), 0
    while (data := check(run(NextId(kind, id))[0], Value).data) is not None:
        (id,) = struct.unpack("=I", data)
        assert id not in seen
        seen.add(id)
    assert wanted in seen
    assert run(NextId(kind, 0x7FFFFFFE)) == [Value(None)]


def test_a_null_pointer_is_no_map(run: Run) -> None:
    """The handle kinds are told apart before the kernel is asked."""
    results = run(program(returning(0)), Try(MapGet(Ref(0), bytes(4))), Try(ProgRun(Ref(0))), MapCreate(2, 4, 8, 1))
    assert "is not a map" in check(results[1], Failed).text
    (failed,) = run(ProgRun(check(results[3], Made).handle, data=bytes(64)))
    assert "is not a program" in check(failed, Failed).text


def test_jumps_work_in_the_assembler(run: Run) -> None:
    insns = load32(R0, R1, off=12) + jump_eq(R0, 1, off=2) + mov(R0, 5) + exit_() + mov(R0, 6) + exit_()
    assert check(run(program(insns), ProgRun(Ref(0), data=bytes(64)))[1], Ran).retval in (5, 6)
