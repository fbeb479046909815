"""Test runs: what goes into the op, what is refused before the kernel sees it, what comes back."""

from __future__ import annotations

import pytest

from pytest_ebpf.agent.ops import Handle, Ran
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.run.contexts import CONTEXTS, decode_ctx, encode_ctx
from pytest_ebpf.live.run.retvals import CGROUP, FLOW, NF, SK, TC, XDP, decode_retval, render_retval
from pytest_ebpf.live.run.rules import RUN_RULES, type_name, way_out
from pytest_ebpf.live.run.test_run import RunInput, plan_run, read_run
from pytest_ebpf.live.typed.shape import Shape
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.uapi.sections import PROG_TYPES
from support.paths import ROOT

OBJECTS = ROOT / "sample_programs" / "built"
PROG = Handle(1, "b")
SOCKET_FILTER, KPROBE, TC_CLS, TRACEPOINT, XDP_TYPE, CGROUP_SKB = 1, 2, 3, 5, 6, 8
RAW_TP, FLOW_DISSECTOR, TRACING, LSM, SK_LOOKUP, SYSCALL, NETFILTER = 17, 22, 26, 29, 30, 31, 32
FRAME = bytes(range(64))


def plan(prog_type: int, data: object = b"", **given: object):
    given = RunInput(data, **given)
    return plan_run(given, PROG, prog_type=prog_type, program="p", byteorder="little")


@pytest.mark.parametrize(
    ("prog_type", "raw", "value", "text"),
    [
        (XDP_TYPE, 1, XDP.DROP, "XDP.DROP (1)"),
        (XDP_TYPE, 77, 77, "77"),
        (TC_CLS, 2, TC.SHOT, "TC.SHOT (2)"),
        (TC_CLS, 0xFFFFFFFF, TC.UNSPEC, "TC.UNSPEC (-1)"),
        (TC_CLS, 0xFFFFFFF0, -16, "-16"),
        (CGROUP_SKB, 1, CGROUP.ALLOW, "CGROUP.ALLOW (1)"),
        (SK_LOOKUP, 0, SK.DROP, "SK.DROP (0)"),
        (FLOW_DISSECTOR, 129, FLOW.CONTINUE, "FLOW.CONTINUE (129)"),
        (NETFILTER, 1, NF.ACCEPT, "NF.ACCEPT (1)"),
        (SYSCALL, 0xFFFFFFEA, -22, "-22"),
        (SOCKET_FILTER, 0xFFFFFFFF, 0xFFFFFFFF, "4294967295"),
    ],
)
def test_retval(prog_type: int, raw: int, value: int, text: str) -> None:
    decoded = decode_retval(prog_type, raw)
    assert decoded == value
    assert type(decoded) is type(value)
    assert render_retval(decoded) == text


@pytest.mark.parametrize("prog_type", range(1, len(PROG_TYPES)))
def test_every_type_runs_or_says_what_to_do_instead(prog_type: int) -> None:
    if prog_type in RUN_RULES:
        return
    with pytest.raises(KernelCallError, match=f"p: no kernel can test_run a {type_name(prog_type)} program") as error:
        plan(prog_type, FRAME)
    assert error.value.errno == 0
    assert way_out(prog_type) in error.value.hint
    assert "xdp" in error.value.hint


def test_refusal_of_a_kprobe_says_how_to_test_it() -> None:
    with pytest.raises(KernelCallError, match=r"Instead, attach it .*bpf_vm.run.*Types that can run: socket_filter"):
        plan(KPROBE)


@pytest.mark.parametrize("prog_type", [SOCKET_FILTER, TC_CLS, XDP_TYPE, CGROUP_SKB, FLOW_DISSECTOR])
def test_short_frames_are_refused(prog_type: int) -> None:
    with pytest.raises(KernelCallError, match="an Ethernet frame of at least 14 bytes, got 13"):
        plan(prog_type, bytes(13))
    assert plan(prog_type, bytes(14)).data == bytes(14)


def test_netfilter_takes_an_ip_packet() -> None:
    with pytest.raises(KernelCallError, match="an IP packet of at least 20 bytes"):
        plan(NETFILTER, bytes(19))


@pytest.mark.parametrize("prog_type", [RAW_TP, TRACING, SK_LOOKUP, SYSCALL])
def test_types_without_data_refuse_it(prog_type: int) -> None:
    with pytest.raises(KernelCallError, match="takes no data"):
        plan(prog_type, FRAME)


@pytest.mark.parametrize("prog_type", [RAW_TP, TRACING, SYSCALL])
def test_types_that_run_once(prog_type: int) -> None:
    assert plan(prog_type).repeat == 0
    with pytest.raises(KernelCallError, match="repeat=5 is not possible"):
        plan(prog_type, repeat=5)


def test_xdp_context_only_when_asked_for() -> None:
    """Linux before 5.14 takes none at all."""
    assert plan(XDP_TYPE, FRAME).ctx == b""
    assert plan(XDP_TYPE, FRAME).ctx_out_size == 0
    op = plan(XDP_TYPE, FRAME, ctx={"ingress_ifindex": 3})
    assert decode_ctx(CONTEXTS["xdp_md"], op.ctx, byteorder="little") == {
        "data": 0,
        "data_end": 64,
        "data_meta": 0,
        "ingress_ifindex": 3,
        "rx_queue_index": 0,
        "egress_ifindex": 0,
    }


def test_skb_context_comes_back_always() -> None:
    op = plan(TC_CLS, FRAME)
    assert (op.ctx, op.ctx_out_size) == (b"", 192)


@pytest.mark.parametrize(
    ("field", "why"), [("len", "cannot be set"), ("data", "does not exist"), ("marc", "does not exist")]
)
def test_context_fields_are_checked_by_name(field: str, why: str) -> None:
    with pytest.raises(KernelCallError, match=f"struct __sk_buff: field '{field}' {why}") as error:
        plan(TC_CLS, FRAME, ctx={field: 1})
    assert "mark, priority" in error.value.hint


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_context_values_are_checked(value: object) -> None:
    with pytest.raises(KernelCallError, match="mark"):
        plan(TC_CLS, FRAME, ctx={"mark": value})


@pytest.mark.parametrize(
    ("prog_type", "ctx", "message"),
    [
        (TC_CLS, {"mark": "x"}, r"struct __sk_buff, field 'mark' \(32 bits\) takes a number, not str: 'x'"),
        (TC_CLS, {"mark": [1, 2]}, r"field 'mark' \(32 bits\) takes a number, not list"),
        (TC_CLS, {"mark": 1.5}, r"takes a number, not float: 1\.5"),
        (TC_CLS, {"cb": "abc"}, r"field 'cb' \(32 bits\) takes up to 5 numbers, not str"),
        (TC_CLS, {"ifindex": "eth0"}, r"takes a number or an interface of the test \(veth\.b\), not str: 'eth0'"),
        (TC_CLS, 7, r"ctx= is a dict of fields of struct __sk_buff, or bytes, not int: 7"),
        (XDP_TYPE, [1], r"ctx= is a dict of fields of struct xdp_md, or bytes, not list"),
        (SK_LOOKUP, {"remote_ip4": "nowhere"}, r"field 'remote_ip4': 'nowhere' is not an IPv4 address"),
        (RAW_TP, ["x"], r"argument 0 takes a number, not str"),
        (RAW_TP, "xy", r"a list of its arguments \(u64\), not str"),
    ],
)
def test_c6_a_wrong_type_in_a_context_names_field_and_type(prog_type: int, ctx: object, message: str) -> None:
    data = FRAME if RUN_RULES[prog_type].takes_data else b""
    with pytest.raises(BpfUsageError, match=message):
        plan(prog_type, data, ctx=ctx)


def test_arrays_and_byte_orders_in_contexts() -> None:
    skb = encode_ctx(CONTEXTS["__sk_buff"], {"cb": [1, 2], "mark": 7}, byteorder="big")
    assert skb[8:12] == bytes([0, 0, 0, 7])
    assert decode_ctx(CONTEXTS["__sk_buff"], skb, byteorder="big")["cb"] == (1, 2, 0, 0, 0)
    lookup = encode_ctx(CONTEXTS["bpf_sk_lookup"], {"remote_port": 0x1234, "local_port": 80}, byteorder="little")
    assert lookup[36:38] == bytes([0x12, 0x34])
    assert lookup[60:64] == bytes([80, 0, 0, 0])


def test_a_context_of_an_older_kernel_is_shorter() -> None:
    assert "hwtstamp" not in decode_ctx(CONTEXTS["__sk_buff"], bytes(184), byteorder="little")


@pytest.mark.parametrize(
    ("struct", "object_file"),
    [("xdp_md", "xdp_firewall"), ("__sk_buff", "tc_rewrite"), ("bpf_sk_lookup", "sk_lookup")],
)
def test_layouts_are_those_of_the_kernel_headers(struct: str, object_file: str) -> None:
    """Compiled programs carry the struct of the header they were built with."""
    obj = parse_object((OBJECTS / f"{object_file}.bpf.o").read_bytes(), name=object_file)
    assert obj.btf is not None
    declared = _members(obj.btf, obj.btf.find(struct)[0], 0)
    for field in CONTEXTS[struct].fields:
        if field.name in declared:  # a header older than the table lacks the newest fields
            assert declared[field.name] == (field.offset, field.size * field.count), field.name
    known = {field.name for field in CONTEXTS[struct].fields}
    assert len(known & set(declared)) >= len(known) - 1


def _members(btf, type_id: int, base: int) -> dict[str, tuple[int, int]]:
    out = {}
    for member in btf.type(btf.resolve(type_id)).members:
        at = base + member.bit_offset // 8
        if member.name:
            out[member.name] = (at, btf.size(member.type))
        else:
            out |= _members(btf, member.type, at)
    return out


def test_raw_tracepoint_arguments() -> None:
    op = plan(RAW_TP, ctx=[1, -1])
    assert op.ctx[:16] == bytes([1, *[0] * 7]) + b"\xff" * 8
    assert len(op.ctx) == 96
    assert (op.data_out_size, op.ctx_out_size) == (0, 0)
    with pytest.raises(KernelCallError, match="at most 12 arguments"):
        plan(RAW_TP, ctx=[0] * 13)


def test_syscall_context() -> None:
    assert plan(SYSCALL, ctx=b"abc").ctx == b"abc"
    assert plan(SYSCALL, shape=Shape("ctx", 16, "little")).ctx == bytes(16)
    with pytest.raises(KernelCallError, match="ctx must be bytes"):
        plan(SYSCALL, ctx={"a": 1})
    assert read_run(Ran(0, b"", b"xyz", 5), prog_type=SYSCALL, byteorder="little").ctx == b"xyz"


def test_flow_dissector_answers_in_its_data() -> None:
    keys = bytearray(56)
    keys[12:14] = (443).to_bytes(2, "big")
    result = read_run(Ran(0, bytes(keys), b"", 1), prog_type=FLOW_DISSECTOR, byteorder="little")
    assert result.ctx["sport"] == 443
    assert result.retval is FLOW.OK


def test_result_reads_well() -> None:
    result = read_run(Ran(1, b"ab", b"", 7), prog_type=XDP_TYPE, byteorder="little")
    assert str(result) == "XDP.DROP (1), 2 bytes"
    assert (bytes(result), result.duration, result.ctx) == (b"ab", 7, {})


def test_data_can_be_whatever_has_bytes() -> None:
    class Built:
        def build(self) -> bytes:
            return FRAME

    assert plan(XDP_TYPE, Built()).data == FRAME
    assert plan(XDP_TYPE, bytearray(FRAME)).data == FRAME
    with pytest.raises(TypeError, match="need bytes or a packet, got int"):
        plan(XDP_TYPE, 64)


@pytest.mark.parametrize("repeat", [-1, 1 << 31, "3", 1.5, None])
def test_a_repeat_that_is_no_number_of_runs(repeat: object) -> None:
    with pytest.raises(KernelCallError, match=r"p: repeat is a number of runs below 2\*\*31, not"):
        plan(XDP_TYPE, FRAME, repeat=repeat)


@pytest.mark.parametrize("prog_type", [XDP_TYPE, TC_CLS, SYSCALL])
def test_a_cpu_is_for_raw_tracepoints(prog_type: int) -> None:
    """An XDP program would run somewhere, and nobody would know."""
    data = FRAME if RUN_RULES[prog_type].takes_data else b""
    with pytest.raises(KernelCallError, match="cpu= is for raw tracepoints alone"):
        plan(prog_type, data, cpu=1)
    assert plan(RAW_TP, cpu=1).cpu == 1
