"""The kernel's notation. benchmarks/disasm.py compares with the kernel's own function."""

from __future__ import annotations

from pytest_ebpf.obj.disasm import InsnNames, InsnText, disassemble, insn_text
from pytest_ebpf.obj.insn import Insn

SPELLINGS = [
    # code, dst, src, off, imm, text: one row per form that kernel/bpf/disasm.c knows
    ((0xBF, 6, 1, 0, 0), "(bf) r6 = r1"),
    ((0xB7, 0, 0, 0, -1), "(b7) r0 = -1"),
    ((0xB4, 0, 0, 0, 1), "(b4) w0 = 1"),
    ((0xBC, 2, 3, 0, 0), "(bc) w2 = w3"),
    ((0x07, 1, 0, 0, -8), "(07) r1 += -8"),
    ((0x1F, 1, 2, 0, 0), "(1f) r1 -= r2"),
    ((0x2F, 1, 2, 0, 0), "(2f) r1 *= r2"),
    ((0x3F, 1, 2, 0, 0), "(3f) r1 /= r2"),
    ((0x3F, 1, 2, 1, 0), "(3f) r1 s/= r2"),
    ((0x94, 1, 0, 1, 7), "(94) w1 s%= 7"),
    ((0x97, 1, 0, 0, 7), "(97) r1 %= 7"),
    ((0x4F, 1, 2, 0, 0), "(4f) r1 |= r2"),
    ((0x57, 1, 0, 0, 255), "(57) r1 &= 255"),
    ((0x67, 1, 0, 0, 32), "(67) r1 <<= 32"),
    ((0x74, 1, 0, 0, 16), "(74) w1 >>= 16"),
    ((0xC7, 1, 0, 0, 32), "(c7) r1 s>>= 32"),
    ((0xAF, 1, 2, 0, 0), "(af) r1 ^= r2"),
    ((0x87, 1, 0, 0, 0), "(87) r1 = -r1"),
    ((0x84, 1, 0, 0, 0), "(84) w1 = -w1"),
    ((0xD4, 1, 0, 0, 16), "(d4) r1 = le16 r1"),
    ((0xDC, 1, 0, 0, 32), "(dc) r1 = be32 r1"),
    ((0xD7, 1, 0, 0, 64), "(d7) r1 = bswap64 r1"),
    ((0xBF, 1, 2, 8, 0), "(bf) r1 = (s8)r2"),
    ((0xBC, 1, 2, 16, 0), "(bc) w1 = (s16)w2"),
    ((0xBF, 1, 2, 32, 0), "(bf) r1 = (s32)r2"),
    ((0xBF, 1, 2, 1, 1 << 16), "(bf) r1 = addr_space_cast(r2, 1, 0)"),
    ((0xBF, 1, 2, 1, 1), "(bf) r1 = addr_space_cast(r2, 0, 1)"),
    ((0xBF, 1, 2, -1, 0), "(bf) r1 = &(void __percpu *)(r2)"),
    ((0x61, 1, 2, 4, 0), "(61) r1 = *(u32 *)(r2 +4)"),
    ((0x69, 1, 2, -4, 0), "(69) r1 = *(u16 *)(r2 -4)"),
    ((0x71, 1, 2, 0, 0), "(71) r1 = *(u8 *)(r2 +0)"),
    ((0x79, 1, 2, 0, 0), "(79) r1 = *(u64 *)(r2 +0)"),
    ((0x81, 1, 2, 0, 0), "(81) r1 = *(s32 *)(r2 +0)"),
    ((0x89, 1, 2, 0, 0), "(89) r1 = *(s16 *)(r2 +0)"),
    ((0x91, 1, 2, 0, 0), "(91) r1 = *(s8 *)(r2 +0)"),
    ((0x62, 10, 0, -4, -1), "(62) *(u32 *)(r10 -4) = -1"),
    ((0x7B, 10, 1, -8, 0), "(7b) *(u64 *)(r10 -8) = r1"),
    ((0xC2, 0, 0, 0, 0), "(c2) nospec"),
    ((0xC3, 1, 2, 0, 0x00), "(c3) lock *(u32 *)(r1 +0) += r2"),
    ((0xDB, 1, 2, 8, 0x40), "(db) lock *(u64 *)(r1 +8) |= r2"),
    ((0xDB, 1, 2, 8, 0x50), "(db) lock *(u64 *)(r1 +8) &= r2"),
    ((0xDB, 1, 2, 8, 0xA0), "(db) lock *(u64 *)(r1 +8) ^= r2"),
    ((0xDB, 1, 2, 0, 0x01), "(db) r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)"),
    ((0xC3, 1, 2, 0, 0x51), "(c3) r2 = atomic_fetch_and((u32 *)(r1 +0), r2)"),
    ((0xDB, 1, 2, 0, 0x41), "(db) r2 = atomic64_fetch_or((u64 *)(r1 +0), r2)"),
    ((0xDB, 1, 2, 0, 0xA1), "(db) r2 = atomic64_fetch_xor((u64 *)(r1 +0), r2)"),
    ((0xDB, 1, 2, 0, 0xE1), "(db) r2 = atomic64_xchg((u64 *)(r1 +0), r2)"),
    ((0xC3, 1, 2, 0, 0xF1), "(c3) r0 = atomic_cmpxchg((u32 *)(r1 +0), r0, r2)"),
    ((0xDB, 1, 2, 8, 0x100), "(db) r1 = load_acquire((u64 *)(r2 +8))"),
    ((0xD3, 1, 2, 8, 0x110), "(d3) store_release((u8 *)(r1 +8), r2)"),
    ((0xDB, 1, 2, 0, 0x77), "BUG_db"),
    ((0xE3, 1, 2, 0, 0xF1), "(e3) probe r0 = atomic_cmpxchg((u32 *)(r1 +0), r0, r2)"),  # an arena's, Linux 7.3
    ((0xFB, 1, 2, 8, 0x40), "(fb) probe lock *(u64 *)(r1 +8) |= r2"),
    ((0xFB, 1, 2, 0, 0x77), "BUG_fb"),
    ((0x30, 0, 0, 0, 14), "(30) r0 = *(u8 *)skb[14]"),
    ((0x48, 0, 1, 0, 2), "(48) r0 = *(u16 *)skb[r1 + 2]"),
    ((0x05, 0, 0, -3, 0), "(05) goto pc-3"),
    ((0x06, 0, 0, 0, 70000), "(06) gotol pc+70000"),
    ((0x0D, 3, 0, 0, 0), "(0d) gotox r3"),
    ((0xE5, 0, 0, 4, 0), "(e5) may_goto pc+4"),
    ((0x95, 0, 0, 0, 0), "(95) exit"),
    ((0x15, 1, 0, 4, -2), "(15) if r1 == 0xfffffffe goto pc+4"),
    ((0x1D, 1, 2, 4, 0), "(1d) if r1 == r2 goto pc+4"),
    ((0x16, 1, 0, 4, 6), "(16) if w1 == 0x6 goto pc+4"),
    ((0x2E, 1, 2, 4, 0), "(2e) if w1 > w2 goto pc+4"),
    ((0x35, 1, 0, 4, 6), "(35) if r1 >= 0x6 goto pc+4"),
    ((0x45, 1, 0, 4, 6), "(45) if r1 & 0x6 goto pc+4"),
    ((0x55, 1, 0, 4, 6), "(55) if r1 != 0x6 goto pc+4"),
    ((0x65, 1, 0, 4, 6), "(65) if r1 s> 0x6 goto pc+4"),
    ((0x75, 1, 0, 4, 6), "(75) if r1 s>= 0x6 goto pc+4"),
    ((0xA5, 1, 0, 4, 6), "(a5) if r1 < 0x6 goto pc+4"),
    ((0xB5, 1, 0, 4, 6), "(b5) if r1 <= 0x6 goto pc+4"),
    ((0xC5, 1, 0, 4, 6), "(c5) if r1 s< 0x6 goto pc+4"),
    ((0xD5, 1, 0, 4, 6), "(d5) if r1 s<= 0x6 goto pc+4"),
    ((0x85, 0, 0, 0, 1), "(85) call unknown#1"),
    ((0x85, 0, 1, 0, -5), "(85) call pc-5"),
    ((0x85, 0, 2, 0, 1234), "(85) call kernel-function#1234"),
    ((0x00, 0, 0, 0, 0), "BUG_ld_00"),
    ((0x01, 0, 0, 0, 0), "BUG_ldx_01"),
    ((0x02, 0, 0, 0, 0), "BUG_st_02"),
    ((0x03, 0, 0, 0, 0), "BUG_03"),
]


def test_spelling() -> None:
    for fields, text in SPELLINGS:
        assert insn_text([Insn(*fields)], 0) == text


def test_a_load_of_64_bits_takes_two_slots() -> None:
    insns = [Insn(0x18, 1, 0, 0, -2), Insn(0, imm=0x7F), Insn(0x95)]
    assert list(disassemble(insns)) == [InsnText(0, "(18) r1 = 0x7ffffffffe"), InsnText(2, "(95) exit")]
    assert str(InsnText(2, "(95) exit")) == "2: (95) exit"
    assert insn_text(insns[:1], 0) == "(18) r1 = 0xfffffffe"


def test_every_opcode_prints_something() -> None:
    for code in range(256):
        for off in (-1, 0, 1, 8, 16, 32):
            assert insn_text([Insn(code, 1, 2, off, 3), Insn(0)], 0)


def test_names() -> None:
    names = InsnNames(
        helpers=("bpf_unspec", "bpf_map_lookup_elem"),
        call=lambda slot, insn: {0: "", 1: "+4#sub", 2: "bpf_kfunc"}.get(insn.src, ""),
        load=lambda wide: f"map[{wide.value}]" if wide.insn.src == 1 else "",
    )

    def text(*insns: Insn) -> str:
        return insn_text(insns, 0, names=names)

    assert text(Insn(0x85, imm=1)) == "(85) call bpf_map_lookup_elem#1"
    assert text(Insn(0x85, imm=200)) == "(85) call unknown#200"
    assert text(Insn(0x85, src=1, imm=4)) == "(85) call pc+4#sub"
    assert text(Insn(0x85, src=2, imm=9)) == "(85) call bpf_kfunc#9"
    assert text(Insn(0x18, 1, 1, 0, 7), Insn(0)) == "(18) r1 = map[7]"
    assert text(Insn(0x18, 1, 0, 0, 7), Insn(0)) == "(18) r1 = 0x7"
