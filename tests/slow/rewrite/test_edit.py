"""Edits of a thousand random programs: each jump leads to what it led to."""

from __future__ import annotations

import random

from pytest_ebpf.agent.ops import ProgLoad
from pytest_ebpf.obj.insn import Insn, pack_insns, unpack_insns
from pytest_ebpf.rewrite.asm import EXIT, mov_imm
from pytest_ebpf.rewrite.edit import Edit, apply_edits

NOP = mov_imm(0, 77)


def test_random_programs_keep_their_targets() -> None:
    """Each jump of a thousand programs leads to the head of what it led to."""
    chance = random.Random(17)
    for _ in range(1000):
        size = chance.randrange(3, 40)
        old = [Insn(0x15, 1, 0, chance.randrange(size) - slot - 1, slot) for slot in range(size - 1)] + [Insn(EXIT)]
        edits = {
            slot: Edit(*((NOP,) * chance.randrange(3) for _ in range(2)), after=(NOP,) * chance.randrange(3))
            for slot in range(size)
            if chance.random() < 0.4
        }
        done = apply_edits(ProgLoad(6, pack_insns(old), "GPL"), edits, byteorder="little")
        new = unpack_insns(done.op.insns)
        for slot, insn in enumerate(new):
            if insn.code == 0x15:
                assert slot + 1 + insn.off == done.places[insn.imm + 1 + old[insn.imm].off]
        assert [insn for insn in new if insn != NOP] == [
            insn._replace(off=at.off) for insn, at in zip(old, (i for i in new if i != NOP), strict=True)
        ]
