"""CO-RE relocations of every kind between two hand-made kernels."""

from __future__ import annotations

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Code, Insn, pack_insns, unpack_insns
from pytest_ebpf.obj.object import CoreReloc, LineInfo
from pytest_ebpf.plan.core_patch import POISON_CORE
from pytest_ebpf.plan.core_reloc import Relocator
from support.plan_facts import types

MOV, LDX_W, LDX_DW, LDX_B, ST_W = 0xB7, 0x61, 0x79, 0x71, 0x62
OFFSET, SIZE, EXISTS, SIGNED, LSHIFT, RSHIFT = range(6)
ID_LOCAL, ID_TARGET, TYPE_EXISTS, TYPE_SIZE, VALUE_EXISTS, VALUE, MATCHES = range(6, 13)

INT = t.Int("int", 4, 32, signed=True)
U32 = t.Int("unsigned int", 4, 32)
U64 = t.Int("unsigned long", 8, 64)
CHAR = t.Int("char", 1, 8, signed=True)


def local_types(*, byteorder: str = "little") -> Btf:
    """What the program was compiled with."""
    return types(
        INT,  # 1
        U32,  # 2
        U64,  # 3
        CHAR,  # 4
        t.Array(4, 2, 16),  # 5
        t.Ptr(7),  # 6
        t.Struct(  # 7
            "task",
            56,
            (
                t.Member("pid", 1, 0),
                t.Member("parent", 6, 64),
                t.Member("comm", 5, 128),
                t.Member("state", 2, 256),
                t.Member("flag", 2, 288, 3),
                t.Member("gone", 1, 320),
                t.Member("pair", 8, 352),
            ),
        ),
        t.Struct("pair", 8, (t.Member("x", 1, 0), t.Member("y", 1, 32))),  # 8
        t.Enum("color", 4, (("RED", 1), ("GREEN", 2), ("PINK___local", 3), ("BLUE", 4))),  # 9
        t.Struct("task___v2", 8, (t.Member("nr", 3, 0),)),  # 10
        t.Struct("nowhere", 4, (t.Member("a", 1, 0),)),  # 11
        t.Typedef("pid_t", 1),  # 12
        t.Struct("", 4, (t.Member("a", 1, 0),)),  # 13
        t.Struct("twice", 4, (t.Member("a", 1, 0),)),  # 14
        t.Struct("tail", 4, (t.Member("n", 1, 0), t.Member("rest", 16, 32))),  # 15
        t.Array(1, 2, 0),  # 16
        t.Struct("wide", 8, (t.Member("w", 3, 0),)),  # 17
        byteorder=byteorder,
    )


def kernel_types(*, byteorder: str = "little") -> Btf:
    """What the kernel has: members moved, one into an anonymous union, others resized or gone."""
    return types(
        INT,  # 1
        U64,  # 2
        CHAR,  # 3
        t.Array(3, 1, 32),  # 4
        t.Ptr(8),  # 5
        t.Struct("", 8, (t.Member("state", 2, 0), t.Member("other", 1, 0)), is_union=True),  # 6
        t.Int("u8", 1, 8),  # 7
        t.Struct(  # 8
            "task",
            96,
            (
                t.Member("new", 2, 0),
                t.Member("", 6, 64),
                t.Member("pid", 1, 128),
                t.Member("parent", 5, 192),
                t.Member("comm", 4, 256),
                t.Member("flag", 7, 518, 4),
                t.Member("pair", 9, 576),
                t.Member("nr", 2, 704),
            ),
        ),
        t.Struct("pair", 16, (t.Member("y", 1, 0), t.Member("x", 1, 64))),  # 9
        t.Enum("color", 8, (("GREEN", 20), ("PINK", 1 << 40)), is_64=True),  # 10
        t.Typedef("pid_t", 1),  # 11
        t.Struct("twice", 4, (t.Member("a", 1, 0),)),  # 12
        t.Struct("twice", 8, (t.Member("b", 1, 0), t.Member("a", 1, 32))),  # 13
        t.Struct("tail", 4, (t.Member("n", 1, 0), t.Member("rest", 15, 32))),  # 14
        t.Array(1, 1, 0),  # 15
        t.Struct("wide", 8, (t.Member("w", 1, 0),)),  # 16
        byteorder=byteorder,
    )


@pytest.fixture
def relocator() -> Relocator:
    return Relocator(local_types(), kernel_types())


def number(relocator: Relocator, access: str, *, kind: int, type_id: int = 7) -> int | None:
    return relocator.resolve(CoreReloc(0, type_id, access, kind)).target.number


@pytest.mark.parametrize(
    ("access", "kind", "expected"),
    [
        ("0:0", OFFSET, 16),
        ("1:0", OFFSET, 96 + 16),  # the second of an array of tasks
        ("0:1", OFFSET, 24),
        ("0:2", OFFSET, 32),
        ("0:2:3", OFFSET, 35),
        ("0:2", SIZE, 32),
        ("0:2:3", SIZE, 1),
        ("0:3", OFFSET, 8),  # now in an anonymous union
        ("0:3", SIZE, 8),
        ("0:6:0", OFFSET, 80),
        ("0:0", EXISTS, 1),
        ("0:5", EXISTS, 0),
        ("0:5", OFFSET, None),
        ("0:5", SIZE, None),
        ("0:0", SIGNED, 1),
        ("0:3", SIGNED, 0),
        ("0:0", LSHIFT, 32),
        ("0:0", RSHIFT, 32),
        # 4 bits from bit 518: 6 bits into byte 64, over the end of a byte: read as 2 bytes from 64
        ("0:4", OFFSET, 64),
        ("0:4", SIZE, 2),
        ("0:4", LSHIFT, 64 - (4 + 6)),
        ("0:4", RSHIFT, 60),
    ],
)
def test_fields(relocator: Relocator, access: str, kind: int, expected: int | None) -> None:
    assert number(relocator, access, kind=kind) == expected


def test_bitfields_of_big_endian_machines_count_from_the_other_end() -> None:
    relocator = Relocator(local_types(byteorder="big"), kernel_types(byteorder="big"))
    assert number(relocator, "0:4", kind=LSHIFT) == (8 - 2) * 8 + 6
    assert number(relocator, "0:0", kind=LSHIFT) == 32


@pytest.mark.parametrize(
    ("type_id", "kind", "expected"),
    [
        (7, ID_LOCAL, 7),
        (11, ID_LOCAL, 11),
        (13, ID_LOCAL, 13),  # an anonymous type has an id too
        (7, ID_TARGET, 8),
        (11, ID_TARGET, 0),
        (7, TYPE_EXISTS, 1),
        (11, TYPE_EXISTS, 0),
        (12, TYPE_EXISTS, 1),
        (7, TYPE_SIZE, 96),
        (11, TYPE_SIZE, 0),
        (7, MATCHES, 0),  # member "gone"
        (8, MATCHES, 1),
        (11, MATCHES, 0),
    ],
)
def test_types(relocator: Relocator, type_id: int, kind: int, expected: int) -> None:
    assert number(relocator, "0", kind=kind, type_id=type_id) == expected


@pytest.mark.parametrize(
    ("access", "kind", "expected"),
    [("0", VALUE_EXISTS, 0), ("1", VALUE_EXISTS, 1), ("1", VALUE, 20), ("2", VALUE, 1 << 40), ("3", VALUE, None)],
)
def test_enumerators(relocator: Relocator, access: str, kind: int, expected: int | None) -> None:
    assert number(relocator, access, kind=kind, type_id=9) == expected


def test_a_flavour_is_another_view_of_the_same_type(relocator: Relocator) -> None:
    assert number(relocator, "0:0", kind=OFFSET, type_id=10) == 88


def test_an_array_at_the_end_may_be_indexed_without_bound(relocator: Relocator) -> None:
    assert number(relocator, "0:1:5", kind=OFFSET, type_id=15) == 24


def test_types_that_disagree_are_ambiguous(relocator: Relocator) -> None:
    with pytest.raises(PlanError, match=r"struct twice\.a is ambiguous: types 12 and 13"):
        number(relocator, "0:0", kind=OFFSET, type_id=14)


def test_types_that_agree_are_not_ambiguous(relocator: Relocator) -> None:
    assert number(relocator, "0", kind=TYPE_EXISTS, type_id=14) == 1


@pytest.mark.parametrize(
    ("type_id", "access", "kind", "words"),
    [
        (7, "0:99", OFFSET, "leaves 'task'"),
        (7, "zero", OFFSET, "not a list of numbers"),
        (7, "0:" * 70 + "0", OFFSET, "out of range"),
        (7, "0:2:16", OFFSET, "leaves 'task'"),
        (9, "9", VALUE, "does not name an enumerator"),
        (7, "0", VALUE, "does not name an enumerator"),
        (7, "0:0", 99, "unknown kind 99"),
        (13, "0:0", OFFSET, "anonymous type"),
        (7, "0:2:1", SIGNED, "an array element only has an offset and a size"),
    ],
)
def test_damaged_records_are_plan_errors(
    relocator: Relocator, type_id: int, access: str, kind: int, words: str
) -> None:
    with pytest.raises(PlanError, match=words):
        number(relocator, access, kind=kind, type_id=type_id)


def test_without_kernel_types_only_local_questions_can_be_answered() -> None:
    relocator = Relocator(local_types(), None)
    assert number(relocator, "0", kind=ID_LOCAL) == 7
    with pytest.raises(PlanError, match="this kernel has none") as caught:
        number(relocator, "0:0", kind=OFFSET)
    assert caught.value.feature == "btf"


# What ends up in the instructions.


def patched(relocator: Relocator, insns: list[Insn], *relocs: CoreReloc) -> tuple[list[Insn], dict[int, str]]:
    lines = [LineInfo(0, "task.c", 12, 3, "  int pid = task->pid;", 0, 0, 0)]
    code = Code(pack_insns(insns))
    notes = relocator.relocate(code, relocs, lines=lines)
    return list(unpack_insns(code.data)), notes


def test_an_offset_goes_into_the_load(relocator: Relocator) -> None:
    insns, notes = patched(relocator, [Insn(LDX_W, 1, 2, 0)], CoreReloc(0, 7, "0:0", OFFSET))
    assert insns == [Insn(LDX_W, 1, 2, 16)]
    assert notes == {}


def test_a_load_grows_with_an_unsigned_field(relocator: Relocator) -> None:
    insns, _ = patched(relocator, [Insn(LDX_W, 1, 2, 32)], CoreReloc(0, 7, "0:3", OFFSET))
    assert insns == [Insn(LDX_DW, 1, 2, 8)]


def test_a_store_grows_too(relocator: Relocator) -> None:
    insns, _ = patched(relocator, [Insn(ST_W, 1, 0, 32, 7)], CoreReloc(0, 7, "0:3", OFFSET))
    assert insns == [Insn(0x7A, 1, 0, 8, 7)]


def test_a_number_goes_into_a_move_and_an_addition(relocator: Relocator) -> None:
    insns, _ = patched(
        relocator,
        [Insn(0x07, 3, 0, 0, 8), Insn(MOV, 1, 0, 0, 1)],
        CoreReloc(0, 7, "0:1", OFFSET),
        CoreReloc(1, 7, "0:5", EXISTS),
    )
    assert insns == [Insn(0x07, 3, 0, 0, 24), Insn(MOV, 1, 0, 0, 0)]


def test_a_64_bit_number_goes_into_both_slots(relocator: Relocator) -> None:
    insns, _ = patched(relocator, [Insn(LD_IMM64, 1, 0, 0, 3), Insn(0)], CoreReloc(0, 9, "2", VALUE))
    assert insns == [Insn(LD_IMM64, 1, 0, 0, 0), Insn(0, 0, 0, 0, 1 << 8)]


def test_a_missing_field_is_poisoned_and_explained(relocator: Relocator) -> None:
    insns, notes = patched(relocator, [Insn(LDX_W, 1, 2, 40)], CoreReloc(0, 7, "0:5", OFFSET))
    assert insns == [Insn(CALL, imm=POISON_CORE)]
    assert notes == {
        0: "CO-RE: struct task has no field gone in this kernel (task.c:12 `int pid = task->pid;`); "
        "guard it with bpf_core_field_exists()"
    }


def test_both_halves_of_a_64_bit_load_are_poisoned(relocator: Relocator) -> None:
    insns, notes = patched(relocator, [Insn(LD_IMM64, 1, 0, 0, 4), Insn(0)], CoreReloc(0, 9, "3", VALUE))
    assert insns == [Insn(CALL, imm=POISON_CORE)] * 2
    assert "enum color has no enumerator BLUE" in notes[0]
    assert "bpf_core_enum_value_exists()" in notes[0]


def test_a_missing_type_is_named(relocator: Relocator) -> None:
    _, notes = patched(relocator, [Insn(LDX_W, 1, 2, 0)], CoreReloc(0, 11, "0:0", OFFSET))
    assert "this kernel has no struct nowhere" in notes[0]


def test_a_signed_field_of_another_size_cannot_be_loaded(relocator: Relocator) -> None:
    insns, notes = patched(relocator, [Insn(LDX_DW, 1, 2, 0)], CoreReloc(0, 17, "0:0", OFFSET))
    assert insns == [Insn(CALL, imm=POISON_CORE)]
    assert "struct wide.w is 4 bytes here and 8 in the program" in notes[0]


@pytest.mark.parametrize(
    ("insn", "words"),
    [
        (Insn(LDX_W, 1, 2, 99), "the instruction holds 99, its type gives 0"),
        (Insn(0xBF, 1, 2), "opcode 0xbf cannot be relocated"),
        (Insn(0x95), "opcode 0x95 cannot be relocated"),
    ],
)
def test_an_instruction_that_is_not_what_the_compiler_wrote(relocator: Relocator, insn: Insn, words: str) -> None:
    with pytest.raises(PlanError, match=f"{words}.*task.c:12"):
        patched(relocator, [insn], CoreReloc(0, 7, "0:0", OFFSET))


def test_a_sign_extended_enumerator_of_an_old_compiler_stays_one() -> None:
    local = types(t.Enum("e", 4, (("MINUS", 0xFFFFFFFF),)))
    target = types(t.Enum("e", 4, (("MINUS", 0xFFFFFFFE),)))
    insns = [Insn(LD_IMM64, 1, 0, 0, -1), Insn(0, 0, 0, 0, -1)]
    insns, _ = patched(Relocator(local, target), insns * 2, CoreReloc(0, 1, "0", VALUE), CoreReloc(2, 1, "0", VALUE))
    assert insns == [Insn(LD_IMM64, 1, 0, 0, -2), Insn(0, 0, 0, 0, -1)] * 2


def test_the_same_access_again_changes_only_what_it_changed_before(relocator: Relocator) -> None:
    insns = [Insn(LDX_W, 1, 2, 0), Insn(LDX_W, 1, 2, 0), Insn(LDX_W, 3, 2, 0), Insn(0x95)]
    insns, _ = patched(relocator, insns, *(CoreReloc(at, 7, "0:0", OFFSET) for at in (0, 1, 2)))
    assert insns == [Insn(LDX_W, 1, 2, 16), Insn(LDX_W, 1, 2, 16), Insn(LDX_W, 3, 2, 16), Insn(0x95)]


def test_a_field_is_looked_up_once(relocator: Relocator) -> None:
    first = relocator.resolve(CoreReloc(0, 7, "0:0", OFFSET))
    assert relocator.resolve(CoreReloc(5, 7, "0:0", OFFSET)) is first
