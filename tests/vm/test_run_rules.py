"""The table of program types that can be test_run, held against whatever kernels this run has."""

from __future__ import annotations

import errno
import re

import pytest

from pytest_ebpf import IP, UDP, Bpf, Eth, KernelCallError, Program
from pytest_ebpf.agent.ops import Failed, Handle, ProgLoaded, ProgRejected, ProgRun, Ran, Result, Try
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.features.progs import load_op
from pytest_ebpf.kernels.pool import HOST
from pytest_ebpf.live.run.contexts import CONTEXTS, RunContext
from pytest_ebpf.live.run.rules import RUN_RULES
from pytest_ebpf.live.run.test_run import RunInput, plan_run
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.uapi.sections import PROG_TYPES
from support.paths import ROOT
from support.proof import skip_if_missing

TRACED = {"TRACING": "bpf_fentry_test1", "LSM": "bpf_lsm_file_open"}
ENOTSUPP = 524
FEATURES = {"TRACING": "fentry", "LSM": "lsm"}  # loaded for a function; the others by their type's probe
FRAME = bytes(Eth() / IP() / UDP() / bytes(22))


def loaded(bpf: Bpf, name: str) -> Handle:
    facts = bpf.session.target.facts()
    btf_id = 0
    if name in TRACED:
        assert facts.btf is not None
        found = facts.btf.find(TRACED[name], Kind.FUNC)
        btf_id = found[0] if found else 0
    body = [Insn(0xB7, imm=0 if name in TRACED else 1), Insn(0x95)]
    (result,) = bpf.session.run([Try(load_op(name, body, facts=facts, btf_id=btf_id))])
    if isinstance(result, Failed | ProgRejected):
        skip_if_missing(bpf, FEATURES.get(name, f"prog:{name.lower()}"), refused=result, is_host=is_host(bpf))
    assert isinstance(result, ProgLoaded)
    return result.handle


def is_host(bpf: Bpf) -> bool:
    return bpf.session.target.name == HOST


def release(bpf: Bpf) -> tuple[int, int]:
    major, minor = bpf.session.target.described.release.split(".")[:2]
    return int(major), int(minor.split("-")[0])


def run(bpf: Bpf, op: ProgRun) -> Result:
    return bpf.session.run([Try(op)])[0]


def planned(prog: Handle, name: str, data: bytes, **given: object) -> ProgRun:
    number = PROG_TYPES.index(name)
    return plan_run(RunInput(data, **given), prog, prog_type=number, program="p", byteorder="little")


RUNNABLE = [PROG_TYPES[number] for number in sorted(RUN_RULES)]
OTHERS = [name for number, name in enumerate(PROG_TYPES) if number and number not in RUN_RULES]


@pytest.mark.parametrize("name", RUNNABLE)
def test_runs(bpf: Bpf, name: str) -> None:
    rule = RUN_RULES[PROG_TYPES.index(name)]
    data = FRAME[14:] if name == "NETFILTER" else FRAME if rule.takes_data else b""
    given = {"ctx": {"family": 2, "protocol": 6}} if name == "SK_LOOKUP" else {}
    result = run(bpf, planned(loaded(bpf, name), name, data, **given))
    if name == "LWT_SEG6LOCAL" and isinstance(result, Failed):
        assert result.errno == ENOTSUPP  # 5.10 runs it, 6.1 and later do not
    else:
        assert isinstance(result, Ran), result


@pytest.mark.parametrize("name", [n for n in OTHERS if n not in ("STRUCT_OPS", "EXT")])
def test_does_not_run(bpf: Bpf, name: str) -> None:
    result = run(bpf, ProgRun(loaded(bpf, name), data=FRAME))
    assert isinstance(result, Failed), result
    assert result.errno == ENOTSUPP


CHECKED = [n for n in RUNNABLE if RUN_RULES[PROG_TYPES.index(n)].takes_data and n != "XDP"]  # 5.10 takes short ones


@pytest.mark.parametrize("name", CHECKED)
def test_shortest_data(bpf: Bpf, name: str) -> None:
    """One byte less than the table says is refused by every kernel."""
    rule = RUN_RULES[PROG_TYPES.index(name)]
    result = run(bpf, ProgRun(loaded(bpf, name), data=bytes(rule.min_data - 1)))
    assert isinstance(result, Failed), result


VALUES = {"rx_queue_index": 0, "flags": 0, "wire_len": len(FRAME), "data_end": len(FRAME), "data": 0}


@pytest.mark.parametrize("name", ["SCHED_CLS", "CGROUP_SKB", "XDP", "FLOW_DISSECTOR"])
def test_every_field_that_may_be_set(bpf: Bpf, name: str) -> None:
    prog = loaded(bpf, name)
    if name == "XDP" and release(bpf) < (5, 14):
        result = run(bpf, planned(prog, name, FRAME, ctx={"data_end": len(FRAME)}))
        assert isinstance(result, Failed), "a kernel before 5.14 takes no context for XDP programs"
        pytest.skip("this kernel takes no context for XDP programs (before 5.14)")
    context = CONTEXTS[RUN_RULES[PROG_TYPES.index(name)].context]
    refused = {}
    for field in (field.name for field in context.fields if field.settable):
        result = run(bpf, planned(prog, name, FRAME, ctx={field: VALUES.get(field, 1)}))
        if not isinstance(result, Ran):
            refused[field] = result
    for late in (
        field for field in context.fields if field.since and release(bpf) < tuple(map(int, field.since.split(".")))
    ):
        refused.pop(late.name)
    assert refused == {}


@pytest.mark.parametrize("field", ["len", "pkt_type", "queue_mapping", "vlan_tci", "tc_index", "napi_id", "hash"])
def test_a_field_that_may_not_be_set(bpf: Bpf, field: str) -> None:
    """The kernel refuses what the table refuses (otherwise the table forbids too much)."""
    (row,) = [row for row in CONTEXTS["__sk_buff"].fields if row.name == field]
    ctx = bytearray(CONTEXTS["__sk_buff"].size)
    ctx[row.offset] = 1
    result = run(bpf, ProgRun(loaded(bpf, "SCHED_CLS"), data=FRAME, ctx=bytes(ctx)))
    assert isinstance(result, Failed), result
    assert result.errno == errno.EINVAL


LATE = [(name, field.name) for name, row in CONTEXTS.items() for field in row.fields if field.since]
OF_CONTEXT = {"xdp_md": "xdp_firewall:firewall", "__sk_buff": "tc_rewrite:redirect_service"}


def sample(bpf: Bpf, where: str) -> Program:
    path, _, name = where.partition(":")
    return bpf.load(ROOT / f"sample_programs/built/{path}.bpf.o")[name]


@pytest.mark.parametrize(("context", "field"), LATE)
def test_15_fields_of_later_kernels_are_refused_before_the_call(bpf: Bpf, context: str, field: str) -> None:
    """The kernel takes them, or the error names the field, the first release and what may be set."""
    prog = sample(bpf, OF_CONTEXT[context])
    value = {"data_end": len(FRAME), "data": 4}.get(field, 1)
    ctx = {field: 1, "ingress_ifindex": 1} if field == "rx_queue_index" else {field: value}
    since = next(row.since for row in CONTEXTS[context].fields if row.name == field)
    if field == "rx_queue_index":
        with pytest.raises(KernelCallError, match=f"(?s){field}.*(a queue that the interface|first that does)"):
            prog.run(FRAME, ctx=ctx)
    elif release(bpf) >= tuple(map(int, since.split("."))):
        prog.run(FRAME, ctx=ctx)
    else:
        with pytest.raises(KernelCallError, match=f"does not let a test run set '{field}'") as refused:
            prog.run_many([FRAME], ctx=ctx)
        assert refused.value.errno == 0
        assert f"Linux {since} is the first that does. Here a run may set: " in refused.value.hint


@pytest.mark.parametrize("context", OF_CONTEXT)
def test_15_a_context_that_came_back_runs_again(bpf: Bpf, context: str) -> None:
    prog = sample(bpf, OF_CONTEXT[context])
    back = prog.run(FRAME, ctx={"ifindex": 1} if context == "__sk_buff" else None)
    late = [name for of, name in LATE if of == context and name in ("ingress_ifindex", "hwtstamp")]
    again = RunContext(back.ctx) | dict.fromkeys(late, 1)
    assert prog.run(FRAME, ctx=again).retval == back.retval


@pytest.mark.parametrize(
    ("ctx", "field"),
    [
        ({"mark": 7, "wire_len": 3}, "wire_len"),
        ({"ifindex": 12345, "mark": 1}, "ifindex"),
        ({"gso_segs": 70000}, "gso_segs"),
    ],
)
def test_15_a_refused_value_is_named(bpf: Bpf, ctx: dict[str, int], field: str) -> None:
    with pytest.raises(KernelCallError) as refused:
        sample(bpf, OF_CONTEXT["__sk_buff"]).run(FRAME, ctx=ctx)
    assert f"does not take {field}={ctx[field]}." in refused.value.hint
    assert not any(f"take {other}=" in refused.value.hint for other in ctx if other != field)


@pytest.mark.parametrize("where", OF_CONTEXT.values())
def test_15_the_limits_of_a_packet_are_named_and_true(bpf: Bpf, where: str) -> None:
    prog = sample(bpf, where)
    for size in (14, 200_000):
        data = (FRAME + bytes(size))[:size]
        try:
            prog.run(data)
        except KernelCallError as refused:
            hint = refused.hint
            limit = re.search(r"this kernel runs \w+ programs on ([\d,]+) (or more|at most)", hint)
            assert limit is not None, hint
            at = int(limit[1].replace(",", ""))
            over = at - 1 if limit[2] == "or more" else at + 1
            assert prog.run((FRAME + bytes(size))[:at]).sent[:14] == FRAME[:14]
            with pytest.raises(KernelCallError, match="packet 1"):
                prog.run_many([FRAME, (FRAME + bytes(over))[:over]])


def test_15_packets_that_are_invalid_are_left_out(bpf: Bpf) -> None:
    prog = sample(bpf, OF_CONTEXT["__sk_buff"])
    ran = prog.run_valid([FRAME, FRAME + bytes(200_000), FRAME + b"2"])
    assert {number: len(result.sent) for number, result in ran.items()} == {0: len(FRAME), 2: len(FRAME) + 1}
