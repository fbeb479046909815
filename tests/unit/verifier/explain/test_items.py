"""Advice that did not follow from the line shown, by the numbers of the list (see extract/test_items.py)."""

from __future__ import annotations

import pytest

from pytest_ebpf.verifier.explain.explain import Explanation
from pytest_ebpf.verifier.verifier_log import parse_log

FIGURES = "processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"


def explained(*lines: str) -> Explanation:
    found = parse_log("\n".join(lines) + "\n" + FIGURES, refused=True).explanation
    assert found is not None
    return found


def advice(*lines: str) -> str:
    return explained(*lines).rejection.advice


@pytest.mark.parametrize(
    ("lines", "right", "wrong"),
    [
        (("4: (7b) *(u64 *)(r10 -60) = r1", "misaligned stack access off 0+0+-60 size 8"), "aligned(8)", "memcpy"),
        (("1: (62) *(u32 *)(r1 +84) = 0", "only read is supported"), "cannot write", "RDONLY_PROG"),
        (("3: (7b) *(u64 *)(r8 +24) = r7", "R8 invalid mem access 'scalar'"), "The store", "bpf_probe_read"),
        (("number of funcs in func_info doesn't match number of subprogs",), "5.13", "CONFIG_DEBUG_INFO_BTF"),
        (("5: (85) call pc+9", "global function calls are not allowed while holding a lock,"), "static", "prototype"),
        (("fd 9 is not pointing to valid bpf_map",), "file descriptor", "map of the type"),
        (("3: (85) call bpf_tail_call#12", "expected prog array map for tail call"), "PROG_ARRAY", "bpf-helpers"),
        (("jump out of range from insn 1 to 2",), "not an instruction of the same function", "Undefined"),
        (("1: (79) r1 = *(u64 *)(r6 +152)", "invalid bpf_context access off=152 size=8"), "newer kernel", "__ctx"),
        (("3: (85) call bpf_x#9", "R2 invalid zero-sized read: u64=[0,7]"), "exclude it", "both sides"),
    ],
)
def test_09_advice_follows_from_what_was_refused(lines: tuple[str, ...], right: str, wrong: str) -> None:
    assert right in advice(*lines)
    assert wrong not in advice(*lines)


def test_09_a_length_that_was_compared_is_no_check() -> None:
    lines = (
        "1: R1=ctx() R2_w=pkt(r=0) R3_w=pkt_end()",
        "2: (1f) r3 -= r2",
        "6: (69) r1 = *(u16 *)(r2 +12)",
        "invalid access to packet, off=12 size=2, R2(id=0,off=12,r=0)",
    )
    assert "A length was compared" in advice(*lines)
    assert "A length was compared" not in advice(lines[0], *lines[2:])


def test_09_bytes_never_written_may_be_padding() -> None:
    message = "invalid indirect read from stack R2 off -24+13 size 16"
    told = advice("69: (85) call bpf_map_lookup_elem#1", message)
    assert "Byte 13 of the 16 passed" in told
    assert "padding" in told
    assert "6.4" in told


def test_09_a_section_that_is_open_in_the_caller() -> None:
    line = "sleepable helper bpf_copy_from_user#148 in rcu_read_lock region"
    assert "perhaps in the caller" in advice("11: (85) call bpf_copy_from_user#148", line)


def test_11_atomic_operations_are_always_aligned() -> None:
    insn = "19: (db) r1 = atomic64_fetch_add((u64 *)(r6 +12), r1)"
    told = advice(insn, "misaligned value access off 0+0+12 size 8")
    assert "aligned(8)" in told
    assert "memcpy" not in told


def test_11_a_helper_of_newer_kernels_has_its_name_and_kernel() -> None:
    told = advice("3: (85) call unknown#181", "invalid func unknown#181")
    assert "bpf_loop() exists since Linux 5.17" in told


def test_12_the_source_has_a_macro_where_the_call_is_an_old_helper() -> None:
    line = "program of this type cannot use helper bpf_probe_read_str#45"
    told = advice('; bpf_printk("%s", BPF_CORE_READ(p, comm)); @ a.c:36', "5: (85) call bpf_probe_read_str#45", line)
    assert "bpf_probe_read_kernel_str()" in told


def test_12_an_instruction_that_the_loader_replaced_is_shown_at_its_place() -> None:
    found = explained(
        "14: (b7) r2 = 72                      ; R2_w=72",
        "15: <invalid kfunc call>",
        "kfunc 'scx_bpf_events' is referenced but wasn't resolved",
    )
    assert found.insn is not None
    assert (found.insn.index, found.insn.text) == (15, "<invalid kfunc call>")
    assert [insn.index for insn in found.around] == [14]


def test_09_an_untrusted_pointer_is_not_told_to_be_released_once() -> None:
    lines = ("30: (bf) r1 = r6", "31: (85) call bpf_cpumask_and#51200", "R1 must be a rcu pointer")
    assert "bpf_rcu_read_lock()" in advice(*lines)
    assert "Release" not in advice(*lines)


def test_06_a_negative_minimum_is_not_a_missing_upper_bound() -> None:
    lines = ("4: R0=map_value(off=0,ks=4,vs=8) R1=scalar(smin=-128,smax=127)", "4: (0f) r0 += r1")
    state = "5: R0_w=map_value(ks=4,vs=8,smin=-128,smax=127)"
    message = "R0 unbounded memory access, make sure to bounds check any such access"
    told = parse_log("\n".join((*lines, state, "5: (71) r2 = *(u8 *)(r0 +0)", message, FIGURES))).explanation
    assert told is not None
    assert "may be negative" in told.rejection.headline
    assert "lower bound" in told.rejection.advice


def test_11_the_slot_of_an_iterator_is_read() -> None:
    lines = ("3: (85) call bpf_iter_num_new#1  ; R0=scalar() fp-8=iter_num(ref_id=1,state=active,depth=0)",)
    told = parse_log(
        "\n".join((*lines, "4: (79) r1 = *(u64 *)(r10 -8)", "invalid read from stack off -8+0 size 8", FIGURES))
    )
    assert told.rejection is not None
    assert told.rejection.class_id == "object-state"
    assert "iterator" in told.rejection.headline


def test_files_are_named_from_a_directory_on() -> None:
    quoted = "; *count += 1; @ /home/me/project/src/x.bpf.c:17"
    lines = (quoted, "7: (79) r1 = *(u64 *)(r0 +0)", "R0 invalid mem access 'inv'")
    found = explained(*lines).below("/home/me/project")
    assert found.source is not None
    assert (found.source.file, found.context[0].file) == ("src/x.bpf.c", "src/x.bpf.c")
    elsewhere = explained(*lines).below("/home/me/pro").source
    assert elsewhere is not None
    assert elsewhere.file == "/home/me/project/src/x.bpf.c"
