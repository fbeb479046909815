"""The assembler against the disassembler: instructions of all objects here, and thousands of random ones."""

import random

import pytest

from pytest_ebpf import asm
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.obj.disasm import InsnNames, disassemble
from pytest_ebpf.obj.insn import LD_IMM64, Insn, unpack_insns
from pytest_ebpf.obj.listing import list_function
from pytest_ebpf.obj.parse import parse_object
from support.paths import ROOT

OBJECTS = sorted(path for folder in ("sample_programs", "tests/objects") for path in (ROOT / folder).rglob("*.o"))


def again(text):
    return asm.disassemble(asm.assemble(text), symbols=asm.symbols(text))


def texts(path):
    try:
        obj = parse_object(path.read_bytes(), name=str(path))
    except ObjectError:  # kept for what is wrong with them
        return
    for function in (*obj.programs, *obj.text):
        yield "\n".join(one.text for one in list_function(obj, function, helpers=HELPERS))
        insns = unpack_insns(function.insns, byteorder=obj.byteorder)
        yield "\n".join(one.text for one in disassemble(insns, names=InsnNames(HELPERS)))
        yield "\n".join(one.text for one in disassemble(insns))


@pytest.mark.parametrize("part", range(4))
def test_instructions_of_real_objects(part):
    """Three notations: with names of maps and functions, with names of helpers, with numbers alone."""
    count = 0
    for path in OBJECTS[part::4]:
        for index, text in enumerate(texts(path)):
            if index % 3 == 2:
                assert asm.disassemble(asm.assemble(text)).count("\n") == text.count("\n")
            else:
                assert again(text) == text, path
            count += text.count("\n") + 1
    assert count > 2000


def test_random_instructions():
    """20,000 of every opcode, with offsets and immediates that mean something somewhere."""
    rng = random.Random(1)
    offsets, numbers = (
        (0, 1, -1, 8, 16, 32, -5, 300),
        (0, 1, -1, 16, 32, 64, 0xE1, 0xF1, 0x100, 0x110, 1 << 30, -(1 << 31)),
    )
    for _ in range(20_000):
        insns = [
            Insn(rng.randrange(256), rng.randrange(11), rng.randrange(11), rng.choice(offsets), rng.choice(numbers))
        ]
        if insns[0].code == LD_IMM64:
            insns.append(Insn(0, imm=rng.choice((0, -1, 5))))
        text = "\n".join(one.text for one in disassemble(insns, names=InsnNames(HELPERS)))
        assert again(text) == text
