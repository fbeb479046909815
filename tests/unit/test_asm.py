"""The assembler against the disassembler: instructions of real objects, of every opcode, and texts that are none."""

import pytest

from pytest_ebpf import asm
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.obj.insn import unpack_insns
from pytest_ebpf.obj.listing import list_function
from pytest_ebpf.obj.parse import parse_object
from support.paths import ROOT


def again(text):
    return asm.disassemble(asm.assemble(text), symbols=asm.symbols(text))


def test_bytes_are_the_compilers():
    """Where nothing is left to relocate, the bytes too are the same."""
    obj = parse_object((ROOT / "sample_programs/built/xdp_decap.bpf.o").read_bytes(), name="xdp_decap")
    (program,) = obj.programs
    text = "\n".join(one.text for one in list_function(obj, program, helpers=HELPERS))
    assert asm.assemble(text) == program.insns


def test_texts_written_by_hand():
    assert asm.assemble("r0 = 0\nexit") == bytes.fromhex("b700000000000000 9500000000000000")
    labelled = (
        "  0: r0 = *(u32 *)(r1 +16)   ; R0_w=scalar()\n; source line\nif r0 == 0 goto out\ncall 5\nout:\n exit // done"
    )
    assert asm.disassemble(asm.assemble(labelled)).splitlines() == [
        "(61) r0 = *(u32 *)(r1 +16)",
        "(15) if r0 == 0x0 goto pc+1",
        "(85) call bpf_ktime_get_ns#5",
        "(95) exit",
    ]
    assert asm.assemble("call bpf_ktime_get_ns") == asm.assemble("call 5") == asm.assemble("call bpf_ktime_get_ns#5")
    assert asm.assemble("w1 += 1", byteorder="big").hex() == "0410000000000001"


def test_a_64_bit_load_takes_two_slots():
    text = "r1 = 0x123456789abcdef0\ngoto end\nr0 = 1\nend:\nexit"
    assert len(asm.assemble(text)) == 40
    assert "(05) goto pc+1" in asm.disassemble(asm.assemble(text))


def test_maps_by_number_and_by_name():
    text = "(18) r1 = map[id:7]\n(18) r2 = map[.rodata][0]+16\n(18) r3 = subprog[+5]"
    insns = unpack_insns(asm.assemble(text))
    assert [(insns[at].src, insns[at].imm, insns[at + 1].imm) for at in (0, 2, 4)] == [(1, 7, 0), (2, 0, 16), (4, 5, 0)]
    assert again(text) == text
    assert asm.symbols(text) == {0: "map[id:7]", 2: "map[.rodata][0]+16", 4: "subprog[+5]"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("r0 = 0\nr1 := 5", "line 2: 'r1 := 5' is no instruction"),
        ("r0 = w1", "both registers are r, or both are w"),
        ("r16 = 5", "a register or an offset does not fit"),
        ("goto pc+40000", "a register or an offset does not fit"),
        ("r0 += 5000000000", "does not fit into 32 bits"),
        ("(07) r0 = 5", "has opcode b7, not 07"),
        ("call bpf_no_such_thing", "there is no helper 'bpf_no_such_thing'"),
        ("goto nowhere", "is no instruction"),
        ("probe lock nothing", "probe is for atomic instructions"),
    ],
)
def test_texts_that_are_no_program(text, words):
    with pytest.raises(asm.AsmError, match=words):
        asm.assemble(text)
