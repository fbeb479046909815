"""Instructions as bytes that are changed one at a time."""

from __future__ import annotations

import pytest

from pytest_ebpf.obj.insn import Code, Insn, pack_insns, unpack_insns

SLOTS = (Insn(0xB7, 3, 0, 0, -7), Insn(0x63, 10, 1, -8, 0), Insn(0x95))


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_one_changes_and_the_others_stay(byteorder: str) -> None:
    code = Code(pack_insns(SLOTS, byteorder=byteorder), byteorder=byteorder)
    assert (len(code), code[0], code[1]) == (3, SLOTS[0], SLOTS[1])
    code[1] = Insn(0x85, 0, 1, 0, 42)
    assert unpack_insns(bytes(code.data), byteorder=byteorder) == (SLOTS[0], Insn(0x85, 0, 1, 0, 42), SLOTS[2])


def test_what_it_was_made_of_stays_as_it_is() -> None:
    data = pack_insns(SLOTS)
    Code(data)[0] = Insn(0x95)
    assert unpack_insns(data) == SLOTS


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_nothing_beyond_the_ends(index: int) -> None:
    code = Code(pack_insns(SLOTS))
    with pytest.raises(IndexError):
        code[index]
    with pytest.raises(IndexError):
        code[index] = Insn(0x95)


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("high", [0, 12, -(1 << 31)])
def test_a_load_is_told_what_it_loads(byteorder: str, high: int) -> None:
    before = (Insn(0x18, 7, 0, 3, 99), Insn(0, 0, 0, 0, 5), Insn(0x95))
    code = Code(pack_insns(before, byteorder=byteorder), byteorder=byteorder)
    code.set_load(0, src=2, high=high)
    after = (Insn(0x18, 7, 2, 3, 0), Insn(0, 0, 0, 0, high), Insn(0x95))
    assert unpack_insns(bytes(code.data), byteorder=byteorder) == after
    with pytest.raises(IndexError):
        code.set_load(2, src=1, high=0)
