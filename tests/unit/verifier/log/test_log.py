"""Logs of five real kernels, read by hand, and texts that once broke a parser."""

from __future__ import annotations

import pytest

from pytest_ebpf.verifier.log.values import VerifierStats
from pytest_ebpf.verifier.verifier_log import parse_log
from support.paths import TESTS

LOGS = TESTS / "data" / "logs"


def log_of(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(errors="replace")


# name, error, instruction, "file:line: source" as the kernel quotes it
REJECTED: list[tuple[str, str, int | None, str]] = [
    ("asm-5.10/atomic_ctx.l1", "BPF_XADD stores into R1 ctx is not allowed", 1, ""),
    ("asm-5.10/ctx_modified_ptr.l1", "dereference of modified ctx ptr R1 off=8 disallowed", 1, ""),
    ("asm-5.10/helper_not_allowed.l1", "unknown func bpf_redirect_map#51", 3, ""),
    ("asm-5.10/infinite_loop2.l1", "infinite loop detected at insn 2", 2, ""),
    ("asm-5.10/map_rdonly_write.l1", "write into map forbidden, value_size=8 off=0 size=8", 9, ""),
    ("asm-5.10/map_value_null.l1", "R0 invalid mem access 'map_value_or_null'", 7, ""),
    (
        "asm-5.10/map_value_unbounded_max.l1",
        "R0 unbounded memory access, make sure to bounds check any such access",
        10,
        "",
    ),
    (
        "asm-5.10/pkt_short_check.l6",
        "invalid access to packet, off=20 size=1, R2(id=0,off=20,r=14); R2 offset is outside of the packet",
        5,
        "",
    ),
    ("asm-5.10/recursion.l1", "back-edge from insn 2 to 2", 2, ""),
    ("asm-5.10/ref_leak_path.l1", "Unreleased reference id=2 alloc_insn=4", 9, ""),
    (
        "asm-5.10/ret_range_cgdev.l1",
        "At program exit the register R0 has value (0x2; 0x0) should have been in (0x0; 0x1)",
        1,
        "",
    ),
    ("asm-5.10/scalar_deref.l1", "R1 invalid mem access 'inv'", 1, ""),
    (
        "asm-5.10/tailcall_ref_leak.l6",
        "Unreleased reference id=2 alloc_insn=5; tail_call would lead to reference leak",
        12,
        "",
    ),
    ("asm-5.10/uninit_r0_exit.l1", "R0 !read_ok", 0, ""),
    ("asm-5.10/unreachable_insn.l1", "unreachable insn 2", 2, ""),
    ("asm-6.1/callee_uses_r6.l6", "R6 !read_ok", 3, ""),
    ("asm-6.1/ctx_negative.l1", "negative offset ctx ptr R1 off=-8 disallowed", 1, ""),
    ("asm-6.1/div_by_zero_imm.l6", "div by zero", 1, ""),
    ("asm-6.1/helper_gpl_only.l1", "cannot call GPL-restricted function from non-GPL compatible program", 4, ""),
    (
        "asm-6.1/map_value_min_negative.l1",
        "R0 min value is negative, either use unsigned index or do a if (index >=0) check.",
        12,
        "",
    ),
    ("asm-6.1/misaligned_stack.l6", "misaligned stack access off (0x0; 0x0)+0+-9 size 8", 1, ""),
    (
        "asm-6.1/pkt_offset_outside.l1",
        "invalid access to packet, off=0 size=1, R2(id=1,off=0,r=0); R2 offset is outside of the packet",
        7,
        "",
    ),
    ("asm-6.1/ref_double_release.l1", "R1 type=scalar expected=alloc_mem", 12, ""),
    ("asm-6.1/stack_oob.l1", "invalid write to stack R10 off=-520 size=8", 1, ""),
    ("asm-6.12/helper_not_allowed.l1", "program of this type cannot use helper bpf_redirect_map#51", 3, ""),
    (
        "asm-6.12/ptr_arith_or_null.l1",
        "R0 pointer arithmetic on map_value_or_null prohibited, null-check it first",
        7,
        "",
    ),
    ("asm-6.12/recursion.l1", "the call stack of 9 frames is too deep", 2, ""),
    ("asm-6.12/ref_leak_path.l6", "Unreleased reference id=2 alloc_insn=4", 9, ""),
    (
        "asm-6.12/ret_unknown_cgskb.l1",
        "At program exit the register R0 has smin=0 smax=4294967295 should have been in [0, 1]",
        1,
        "",
    ),
    ("asm-6.12/stack_unbounded.l6", "invalid unbounded variable-offset read from stack R3", 3, ""),
    ("asm-6.12/too_complex_loop.l1", "BPF program is too large. Processed 1000001 insn", 1, ""),
    ("asm-6.18/fallthrough_end.l1", "last insn is not an exit or jmp", None, ""),
    ("asm-6.18/infinite_loop2.l2", "infinite loop detected at insn 2", 2, ""),
    ("asm-6.18/map_value_null.l2", "R0 invalid mem access 'map_value_or_null'", 7, ""),
    (
        "asm-6.18/ref_leak_path.l1",
        "Unreleased reference id=2 alloc_insn=4; BPF_EXIT instruction in main prog would lead to reference leak",
        9,
        "",
    ),
    (
        "asm-6.18/ref_leak_path.l4",
        "Unreleased reference id=2 alloc_insn=4; BPF_EXIT instruction in main prog would lead to reference leak",
        None,
        "",
    ),
    ("asm-6.18/scalar_deref.l4", "R1 invalid mem access 'scalar'", None, ""),
    ("asm-6.18-unpriv/leak_ret_addr.l2", "R0 leaks addr as return value", 1, ""),
    (
        "asm-6.18-unpriv/map_value_min_negative.l2",
        "R1 has unknown scalar with mixed signed bounds, pointer arithmetic with it prohibited for !root",
        11,
        "",
    ),
    ("asm-6.18-unpriv/partial_copy.l2", "R1 partial copy of pointer", 0, ""),
    (
        "asm-7.2/helper_arg_type2.l1",
        "R2 type=scalar expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_, ctx",
        3,
        "",
    ),
    ("asm-7.2/misaligned_map.l6", "misaligned value access off 0+3 size 8", 8, ""),
    (
        "asm-7.2/pkt_short_check.l1",
        "invalid access to packet, off=20 size=1, R2(id=0,off=20,r=14); "
        "R2 min value is outside of the allowed memory range",
        5,
        "",
    ),
    ("asm-7.2/recursion.l1", "recursive call from () to ()", None, ""),
    (
        "c-6.12/array_index_off_by_one.l1",
        "invalid access to map value, value_size=64 off=64 size=1; R0 max value is outside of the allowed memory range",
        12,
        "errs.bpf.c:41: v[i] = 1;",
    ),
    (
        "c-6.12/dynptr_uninit.l1",
        "Expected an initialized dynptr as arg #2",
        7,
        "errs.bpf.c:160: bpf_dynptr_read(b, sizeof(b), &d, 0, 0);",
    ),
    ("c-6.12/endless.l6", "infinite loop detected at insn 4", 4, "errs.bpf.c:69: i++;"),
    ("c-6.12/iter_leak.l1", "Unreleased reference id=1 alloc_insn=6", 20, "errs.bpf.c:173: return s & 1;"),
    (
        "c-6.12/kfunc_null_release.l6",
        "Possibly NULL pointer passed to trusted arg0",
        3,
        "errs.bpf.c:207: bpf_task_release(t);",
    ),
    (
        "c-6.12/rcu_no_unlock.l1",
        "bpf_rcu_read_unlock is missing",
        2,
        'errs.bpf.c:187: SEC("tp_btf/task_newtask") int BPF_PROG(rcu_no_unlock, struct task_struct *task, u64 flags)',
    ),
    (
        "c-6.18/rcu_no_unlock.l1",
        "BPF_EXIT instruction in main prog cannot be used inside bpf_rcu_read_lock-ed region",
        2,
        'errs.bpf.c:187: SEC("tp_btf/task_newtask") int BPF_PROG(rcu_no_unlock, struct task_struct *task, u64 flags)',
    ),
    (
        "c-6.18/ringbuf_leak.l4",  # at this level the harmless note about arg#0 stands right above
        "Unreleased reference id=2 alloc_insn=4; BPF_EXIT instruction in main prog would lead to reference leak",
        None,
        "",
    ),
    (
        "c-6.18/subprog_oob.l1",
        "invalid access to map value, value_size=16 off=24 size=8; R1 max value is outside of the allowed memory range",
        10,
        "errs.bpf.c:144: static __noinline int sub(__u64 *p, __u32 n) { if (n > 3) return 1; return p[n] == 0; }",
    ),
    (
        "c-6.18/bad_helper.l1",
        "program of this type cannot use helper bpf_override_return#58",
        7,
        "errs.bpf.c:91: return bpf_override_return((void *)ctx, 0) + comm[0];",
    ),
    (
        "c-7.2/dynptr_uninit.l1",
        "Expected an initialized dynptr as R3",
        7,
        "errs.bpf.c:160: bpf_dynptr_read(b, sizeof(b), &d, 0, 0);",
    ),
    ("c-7.2/endless.l1", "infinite loop detected at insn 4", 4, "errs.bpf.c:69: i++;"),
    (
        "c-7.2/sleepable_helper.l1",
        "sleepable helper bpf_copy_from_user#148 in non-sleepable prog",
        4,
        "errs.bpf.c:225: bpf_copy_from_user(b, sizeof(b), (void *)flags);",
    ),
    ("c-7.2/stack_too_big.l6", "invalid size of register spill", 1, "errs.bpf.c:82: b[0] = ctx->data; b[479] = 1;"),
    (
        "c-7.2/helper_wrong_btf.l1",
        "R1 is of type task_struct but file is expected",
        1,
        "errs.bpf.c:137: return bpf_sock_from_file((void *)prev) ? 1 : 0;",
    ),
    ("c-7.3/null_deref.l5", "R0 invalid mem access 'map_value_or_null'", 7, "errs.bpf.c:7: *v += 1;"),
    (
        "c-7.3/kfunc_leak.l1",  # the report stands between the two messages
        "Unreleased reference id=2 alloc_insn=1; BPF_EXIT instruction in main prog would lead to reference leak",
        6,
        'errs.bpf.c:202: SEC("tp_btf/task_newtask") int BPF_PROG(kfunc_leak, struct task_struct *task, u64 flags)',
    ),
    (
        "c-7.3/rcu_extra_unlock.l1",
        "unmatched rcu read unlock (kernel function bpf_rcu_read_unlock)",
        0,
        "errs.bpf.c:197: bpf_rcu_read_unlock();",
    ),
    (
        "c-7.3/pkt_short_check.l5",
        "invalid access to packet, off=23 size=1, R2(id=0,off=23,r=14); "
        "R2 min value is outside of the allowed memory range",
        5,
        "errs.bpf.c:24: return ip->protocol == 6 ? XDP_DROP : XDP_PASS;",
    ),
    (
        "c-7.3/signed_index.l1",
        "value -2147483648 makes map_value pointer be out of bounds",
        12,
        "errs.bpf.c:51: v[i] = 1;",
    ),
    (
        "c-7.3/bad_helper.l1",
        "program of this type cannot use helper bpf_override_return#58",
        7,
        "errs.bpf.c:91: return bpf_override_return((void *)ctx, 0) + comm[0];",
    ),
    (
        "c-7.3/skb_oob.l5",  # no report for this one; the statistics come one line per function
        "invalid bpf_context access off=400 size=4",
        0,
        "errs.bpf.c:234: return *(int *)((char *)skb + 400);",
    ),
    (
        "c-7.3/bpf_loop_oob.l5",
        "invalid unbounded variable-offset read from stack R2",
        17,
        "errs.bpf.c:148: static int cb2(__u32 i, void *c) { __u64 *p = c; p[i] += i; return 0; }",
    ),
    ("c-7.3/endless.l1", "infinite loop detected at insn 4", 4, "errs.bpf.c:69: i++;"),
    (
        "c-7.3/spin_no_unlock.l1",
        "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region",
        18,
        "errs.bpf.c:110: if (l->v == 3)",
    ),
    (
        "c-7.3/kfunc_wrong_prog.l1",
        "Possibly NULL pointer passed to trusted R1",
        1,
        "errs.bpf.c:222: bpf_task_release(NULL);",
    ),
    ("cbase-5.10/endless.l1", "infinite loop detected at insn 4", 4, "i++;"),
    ("cbase-5.10/global_func_null.l1", "Arg#0 type PTR in glob_deref() is not supported yet.", None, ""),
    (
        "cbase-5.10/helper_wrong_btf.l1",
        "invalid func unknown#162",
        1,
        "return bpf_sock_from_file((void *)prev) ? 1 : 0;",
    ),
    ("cbase-5.10/null_deref.l6", "R0 invalid mem access 'map_value_or_null'", 7, "*v += 1;"),
    (
        "cbase-5.10/spin_call_in_lock.l1",
        "function calls are not allowed while holding a lock",
        11,
        "l->v = bpf_ktime_get_ns();",
    ),
    (
        "cbase-6.1/global_func_null.l1",
        "R1 invalid mem access 'mem_or_null'",
        3,
        "__noinline int glob_deref(struct lockval *p) { return p->v; }",
    ),
    (
        "cbase-6.1/sleepable_helper.l6",
        "unknown func bpf_copy_from_user#148",
        4,
        "bpf_copy_from_user(b, sizeof(b), (void *)flags);",
    ),
    ("cbase-6.1/btf_write.l1", "only read is supported", 2, "task->pid = 0;"),
]

ACCEPTED = [
    ("asm-5.10/ok_map_lookup.l1", VerifierStats(13, 1000000, 0, 1, 1, 0)),
    ("asm-6.1/ok_branches.l6", VerifierStats(8, 1000000, 0, 1, 1, 1, (0,), 0, 526)),
    ("asm-6.18/ok_map_lookup.l2", VerifierStats(13, 1000000, 0, 1, 1, 0)),
    ("asm-7.2/ok_map_lookup.l6", VerifierStats(13, 1000000, 0, 1, 1, 0, (8,), 16, 1799)),
    ("c-6.12/iter_ok.l6", VerifierStats(37, 1000000, 1, 4, 4, 2, (8,), 8, 1607)),
    ("c-7.3/bpf_loop_ok.l4", VerifierStats(35, 1000000, 1, 2, 3, 0, (40, 0), 16, 2033)),
    ("c-7.3/balance.l4", VerifierStats(264, 1000000, 1, 14, 14, 0, (16, 0, 0), 16, 14311)),
    ("c-7.2/global_func_ok.l6", VerifierStats(8, 1000000, 0, 0, 0, 0, (0, 0), 0, 2069)),
    ("cbase-5.10/tc_ok.l6", VerifierStats(30, 1000000, 0, 2, 2, 1, (16,), 16, 1226)),
]


def test_the_one_useful_line() -> None:
    for name, error, insn, source in REJECTED:
        log = parse_log(log_of(name))
        assert (log.error, log.error_insn) == (error, insn), name
        assert str(log.source_line or "") == source, name
        assert log.stats.limit == 1000000, name


@pytest.mark.parametrize(("name", "stats"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_an_accepted_log_has_statistics_and_no_error(name: str, stats: VerifierStats) -> None:
    log = parse_log(log_of(name), log_level=6)
    assert (log.error, log.messages, log.error_insn, log.source_line) == ("", (), None, None)
    assert log.stats == stats


def test_every_log_at_hand_is_understood() -> None:
    """A program is accepted or rejected for one reason at every log level: the levels must agree, else a line of the
    trace was taken for a message or the reverse."""
    errors: dict[tuple[str, str], set[str]] = {}
    for path in sorted(LOGS.glob("*/*.log")):
        log = parse_log(path.read_text(errors="replace"))
        if log.stats.insns is not None:
            errors.setdefault((path.parent.name, path.name.split(".")[0]), set()).add(log.error)
    assert len(errors) > 60
    assert {key: found for key, found in errors.items() if len(found) > 1} == {}
    accepted = {program for (_, program), found in errors.items() if found == {""}}
    assert accepted == {"ok_branches", "ok_map_lookup", "iter_ok", "tc_ok", "global_func_ok", "bpf_loop_ok", "balance"}


@pytest.mark.parametrize("name", ["asm-5.10/too_complex_loop.l1", "cbase-5.10/big_loop.l1"])
def test_a_log_cut_at_the_end_has_no_error_but_says_how_far_it_came(name: str) -> None:
    log = parse_log(log_of(name))
    assert log.error == ""
    assert log.stats == VerifierStats()
    assert log.error_insn is not None
