"""Advice with the numbers and names of the log: how many bytes, which argument, which line, which kernel.

By the numbers of the list (see extract/test_items.py).
"""

from __future__ import annotations

import pytest

from pytest_ebpf.verifier.explain.fault import arguments_of
from pytest_ebpf.verifier.verifier_log import parse_log

FIGURES = "processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
SCALAR = "R1 invalid mem access 'scalar'"
NEGATIVE = "R2 min value is negative, either use unsigned or 'var &= const'"


def advice(*lines: str) -> str:
    found = parse_log("\n".join(lines) + "\n" + FIGURES, refused=True).explanation
    assert found is not None
    return found.rejection.advice


def test_09_how_many_bytes_of_the_packet_are_proven() -> None:
    said = advice("8: (61) r1 = *(u32 *)(r7 +36)", "invalid access to packet, off=50 size=4, R7(id=0,off=14,r=34)")
    assert "34 bytes" in said
    assert "needs 54" in said


def test_09_a_pointer_that_was_moved_needs_a_check_of_its_own() -> None:
    message = "invalid access to packet, off=14 size=1, R6(id=4,off=14,r=0)"
    near = "7: (0f) r6 += r7     ; R6_w=pkt(id=4,r=0,smin=smin32=0,smax=umax=smax32=umax32=60,var_off=(0x0; 0x3c))"
    far = near.replace("=60,", "=70000,")
    assert "this very pointer" in advice(near, "8: (71) r2 = *(u8 *)(r6 +14)", message)
    assert "larger than 65535" in advice(far, "8: (71) r2 = *(u8 *)(r6 +14)", message)


def test_12_a_check_that_old_kernels_count_one_byte_short() -> None:
    tail = ("8: (71) r5 = *(u8 *)(r6 +0)", "invalid access to packet, off=12 size=1, R6(id=2,off=12,r=12)")
    assert "5.16" in advice("7: (3d) if r6 >= r1 goto pc+30", *tail)
    assert "5.16" not in advice("7: (2d) if r6 > r1 goto pc+30", *tail)


def test_09_the_bytes_that_a_kernel_function_takes() -> None:
    said = advice(
        "; bpf_cpumask_or(mine, cast(theirs), cast(masks[i])); @ a.bpf.c:2",
        "8: (85) call bpf_cpumask_or#65712",
        "invalid access to map value, value_size=1288 off=1248 size=1024",
        "R3 max value is outside of the allowed memory range",
    )
    assert "bpf_cpumask_or() accesses 1024 bytes at R3 (cast(masks[i])), of which 40 are left" in said


@pytest.mark.parametrize(
    ("room", "off", "size", "words"),
    [
        (64, 64, 4, "(i) just before the access"),
        (64, 64, 4, "60 is the last"),
        (64, -4, 4, "unsigned"),
        (4, 0, 8, "the whole value has 4"),
    ],
)
def test_09_where_a_value_ends(room: int, off: int, size: int, words: str) -> None:
    source, insn = "; sum += v->slots[i]; @ a.bpf.c:2", "8: (61) r1 = *(u32 *)(r0 +0)"
    assert words in advice(source, insn, f"invalid access to map value, value_size={room} off={off} size={size}")


def test_12_the_length_is_named_as_the_source_has_it() -> None:
    line = "; bpf_probe_read_kernel(dst, min(n, LEN), msg->data); @ a.bpf.c:2"
    assert "the length (min(n, LEN))" in advice(line, "8: (85) call bpf_probe_read_kernel#113", NEGATIVE)
    spilled = advice(line, "7: (79) r2 = *(u64 *)(r10 -240)", "8: (85) call bpf_probe_read_kernel#113", NEGATIVE)
    assert "kept on the stack" in spilled
    masked = line.replace("min(n, LEN)", "n & (LEN - 1)")
    assert "moved the mask" in advice(masked, "8: (85) call bpf_probe_read_kernel#113", NEGATIVE)


def test_arguments_of_a_call() -> None:
    assert arguments_of("x = f(a, g(b, c), d[1, 2]);", "f") == ("a", "g(b, c)", "d[1, 2]")
    assert arguments_of("f(a,", "f") == ()
    assert arguments_of("g(a)", "f") == ()


def test_12_the_fields_of_the_line_are_read_by_core() -> None:
    said = advice("; e->p = cur->parent->pid; @ a.bpf.c:2", "8: (61) r1 = *(u32 *)(r1 +8)", SCALAR)
    assert "BPF_CORE_READ(cur, parent, pid)" in said


def test_12_a_number_that_was_the_context() -> None:
    lines = ("6: (bf) r1 = r6", " R1_w=ctx R6=ctx R10=fp", "7: (07) r1 += 96", "8: (79) r3 = *(u64 *)(r1 +0)")
    assert "pointer to the context" in advice(*lines, "R1 invalid mem access 'inv'")


def test_07_a_constant_is_a_number() -> None:
    log = parse_log(f"8: (61) r3 = *(u32 *)(r1 +0)\nR1 invalid mem access 'imm'\n{FIGURES}")
    assert log.rejection is not None
    assert log.rejection.rule_id == "scalar-deref"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("8: (7b) *(u64 *)(r1 +0) = r2", "only read from bpf_array is supported"), "the map itself"),
        (
            (
                "8: (61) r2 = *(u32 *)(r1 +0)",
                "cannot access ptr member ops with moff 0 in struct bpf_map with off 0 size 4",
            ),
            "the map itself",
        ),
        (("8: (85) call bpf_map_lookup_elem#1", "R1 type=scalar expected=map_ptr"), "the map itself"),
        (("8: (85) call bpf_map_lookup_elem#1", "R2 type=scalar expected=fp, pkt, map_value"), "address of a variable"),
        (("8: (95) exit", "R0 !read_ok"), "return and a value"),
        (("8: (85) call bpf_map_update_elem#2", "R4 !read_ok"), "argument in R4"),
        (("8: (71) r1 = *(u8 *)(r6 +44)", "invalid bpf_context access off=44 size=1"), "4.13"),
        (
            (
                "; x = skb->gso_size; @ a.c:1",
                "8: (61) r1 = *(u32 *)(r6 +176)",
                "invalid bpf_context access off=176 size=4",
            ),
            "skb->gso_size",
        ),
        (("8: (79) r3 = *(u64 *)(r1 +0)", "dereference of modified ctx ptr R1 off=112 disallowed"), "preserve_static"),
        (("8: (69) r1 = *(u16 *)(r10 -150)", "invalid read from stack off -150+0 size 2"), "fp-150 (2 bytes) is read"),
        (("8: (85) call 4", "invalid indirect read from stack off -256+0 size 255"), "Before 4.7"),
        (("invalid stack off=-520 size=8",), "per-CPU array map"),
        (("8: (69) r2 = *(u16 *)(r2 +5)", "R2 invalid mem access 'trusted_ptr_or_null_'"), "local variable"),
        (("8: (85) call bpf_x#9", "back-edge from insn 8 to 2"), "5.3"),
        (("insn 5210 cannot be patched due to 16-bit range",), "too long, not too complex"),
        (("8: (85) call bpf_x#9", "calling kernel function bpf_x is not allowed"), "registered"),
        (("program of this type cannot use helper bpf_probe_read_kernel_str#115",), "lockdown"),
        (("func 'tcp_sendmsg' doesn't have 4-th argument", "invalid bpf_context access off=24 size=8"), "prototype"),
        (
            (
                "; n = BPF_CORE_READ(t, kind); @ a.c:4",
                "8: (85) call unknown#195896080",
                "invalid func unknown#195896080",
            ),
            "BPF_CORE_READ(t, kind)",
        ),
    ],
)
def test_09_what_to_do_about_this_instruction(lines: tuple[str, ...], words: str) -> None:
    assert words in advice(*lines)


def test_09_the_first_byte_is_no_padding() -> None:
    said = advice("8: (85) call bpf_map_update_elem#2", "invalid indirect read from stack R2 off -24+0 size 24")
    assert "padding" not in said.replace("may leave padding", "")


def test_09_a_record_is_given_back_by_its_own_helpers() -> None:
    lines = (
        "7: (85) call bpf_ringbuf_reserve#131   ; R0_w=ringbuf_mem_or_null(id=2,ref_obj_id=2,sz=40) refs=2",
        "8: (95) exit",
        "Unreleased reference id=2 alloc_insn=7",
    )
    said = advice(*lines)
    assert "bpf_ringbuf_submit() or bpf_ringbuf_discard()" in said
    assert "stored in a map is no reference" in said


def test_12_a_copy_that_kernels_before_4_10_do_not_know() -> None:
    state = " R0=map_value(ks=8,vs=8) R7=map_value_or_null(ks=8,vs=8) R10=fp"
    lines = ("7: (15) if r0 == 0x0 goto pc+40", state, "8: (79) r9 = *(u64 *)(r7 +0)")
    assert "4.10" in advice(*lines, "R7 invalid mem access 'map_value_or_null'")
    assert "4.10" not in advice(lines[2], "R7 invalid mem access 'map_value_or_null'")


def test_09_a_record_that_was_kept_in_a_map() -> None:
    assert "same run" in advice("9: (85) call bpf_ringbuf_submit#132", "R1 type=scalar expected=ringbuf_mem")


def test_12_a_pointer_that_is_null_on_this_path() -> None:
    state = " R0=inv(id=0) R7=inv0 R10=fp0 fp-232=00000000"
    lines = ("6: (56) if w1 != 0x0 goto pc+1", state, "7: (79) r9 = *(u64 *)(r10 -232)", "8: (71) r1 = *(u8 *)(r9 +31)")
    assert "on this path R9 is 0" in advice(*lines, "R9 invalid mem access 'inv'")
    other = (lines[0], state.replace("00000000", "mmmmmmmm"), *lines[2:])
    assert "is 0" not in advice(*other, "R9 invalid mem access 'inv'")
