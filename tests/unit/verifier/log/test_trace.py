"""The whole trace of logs: nothing is dropped, and values are what the kernel printed."""

from __future__ import annotations

import pytest

from pytest_ebpf.verifier.log.lines import Kind
from pytest_ebpf.verifier.log.operands import read_operands
from pytest_ebpf.verifier.log.state import parse_register, parse_state
from pytest_ebpf.verifier.log.trace import PrecisionMark, Subprogram, parse_trace
from pytest_ebpf.verifier.log.values import SourceLine
from support.verifier_logs import all_logs

LOGS = all_logs()


def test_there_are_logs_of_every_kernel() -> None:
    kernels = {name.partition("-")[2].partition("/")[0] for name in LOGS}
    assert len(LOGS) > 1100
    assert kernels >= {"5.10", "6.1", "6.12", "6.18", "7.2", "7.3", "6.18-unpriv"}


def test_instructions_and_states() -> None:
    trace = parse_trace(LOGS["c-6.18/null_deref.l2"])
    call = trace.instructions[5]
    assert str(call) == "6: (85) call bpf_map_lookup_elem#1"
    assert (call.index, call.code) == (6, 0x85)
    found = call.state.get("R0")
    assert found is not None
    assert (found.type, found.attribute("map"), found.attribute("vs")) == ("map_value_or_null", "counts", "8")
    assert trace.source_at(call.line) == SourceLine("__u64 *v = bpf_map_lookup_elem(&counts, &key);", "errs.bpf.c", 6)
    assert trace.subprograms == (Subprogram(0, 0),)
    assert trace.count(Kind.LIVENESS) > 5


def test_branches_and_precision() -> None:
    trace = parse_trace(LOGS["c-6.18/iter_ok.l2"])
    first = trace.branches[0]
    assert (first.origin, first.target, first.speculative) == (8, 9, False)
    register = first.state.get("R0")
    assert register is not None
    assert register.type == "rdonly_mem"
    assert first.state.refs == (1,)
    slot = first.state.get("fp-8")
    assert slot is not None
    assert (slot.type, slot.attribute("state")) == ("iter_num", "active")
    assert trace.precision[0] == PrecisionMark(0, "r0", "", 8, trace.precision[0].line)
    old = parse_trace(LOGS["cbase-5.10/subprog_oob.l6"]).precision[0]
    assert (old.frame, old.registers, old.stack, old.insn) == (0, "4", "0", 8)


def test_a_report_is_one_block() -> None:
    trace = parse_trace(LOGS["c-7.3/kfunc_leak.l1"])
    report = [trace.lines[at] for at in trace.at(Kind.REPORT)]
    assert report[0] == "Verification failed: Resource Lifetime Safety: Unreleased resource"
    assert any("Suggestion:" in line for line in report)
    messages = [trace.lines[at] for at in trace.at(Kind.MESSAGE)]
    assert messages == [
        "Unreleased reference id=2 alloc_insn=1",
        "BPF_EXIT instruction in main prog would lead to reference leak",
    ]


def test_what_hangs_behind_an_instruction() -> None:
    """Level 1 since 6.1: the next state without a semicolon, or a source line with one."""
    glued = "8: (56) if w2 != 0x0 goto pc-5 4: R1=ctx() R2=scalar()\n"
    source = "8: (56) if w2 != 0x0 goto pc-5 ; i++; @ x.c:69\n"
    one, other = (parse_trace(text).instructions[0] for text in (glued, source))
    assert one.text == other.text == "if w2 != 0x0 goto pc-5"
    assert [str(register) for register in one.state.registers] == ["R1=ctx()", "R2=scalar()"]
    assert other.state.registers == ()


@pytest.mark.parametrize(
    ("text", "kind", "constant", "precise"),
    [
        ("inv7", "scalar", 7, False),
        ("invP-1", "scalar", -1, True),
        ("inv(id=0,umax_value=255,var_off=(0x0; 0xff))", "scalar", None, False),
        ("P0", "scalar", 0, True),
        ("0x7a11f", "scalar", 0x7A11F, False),
        ("Pscalar(umax=3)", "scalar", None, True),
        ("scalar(smin=smin32=0,smax=umax=3,var_off=(0x0; 0x3))", "scalar", None, False),
        ("fp-16", "fp", None, False),
        ("fp[0]-16", "fp", None, False),
        ("ptr_or_null_task_struct(id=1)", "ptr_or_null_task_struct", None, False),
        ("pkt(id=1,off=0,r=0,umax=255,var_off=(0x0; 0xff))", "pkt", None, False),
    ],
)
def test_spellings_of_registers(text: str, kind: str, constant: int | None, precise: bool) -> None:
    register = parse_register("R1", text)
    assert (register.type, register.constant, register.precise) == (kind, constant, precise)


def test_spellings_of_states() -> None:
    state = parse_state("frame1: R0_w=inv1 R1_rw=map_value(id=0,off=0,ks=4,vs=16,imm=0) fp-8_w=mmmm???? refs=2,3 cb")
    assert (state.frame, state.refs) == (1, (2, 3))
    assert [(one.name, one.type, one.liveness) for one in state.registers] == [
        ("R0", "scalar", "w"),
        ("R1", "map_value", "rw"),
        ("fp-8", "bytes", "w"),
    ]
    equal = parse_state("R1=scalar(smin=smin32=0,smax=umax=3)").registers[0]
    assert equal.attributes == (("smin", "0"), ("smin32", "0"), ("smax", "3"), ("umax", "3"))


@pytest.mark.parametrize(
    ("text", "writes", "reads", "slot"),
    [
        ("r1 = r2", 1, (2,), None),
        ("w6 += w1", 6, (6, 1), None),
        ("r1 = *(u64 *)(r10 -8)", 1, (10,), (10, -8)),
        ("*(u32 *)(r10 -4) = r1", -1, (10, 1), (10, -4)),
        ("lock *(u64 *)(r1 +0) += r0", -1, (1, 0), None),
        ("call bpf_map_lookup_elem#1", 0, (), None),
        ("if r2 > r1 goto pc+4", -1, (2, 1), None),
        ("r6 = 0x7f", 6, (), None),
        ("exit", -1, (), None),
    ],
)
def test_operands(text: str, writes: int, reads: tuple[int, ...], slot: tuple[int, int] | None) -> None:
    found = read_operands(text)
    assert (found.writes, found.reads, found.slot) == (writes, reads, slot)
