"""tc_marks.rs: a classifier that marks and drops TCP by its port, in a test run and on an interface."""

import pytest

from pytest_ebpf import IP, TC, TCP, Bpf, BpfLog, Eth, Veth

pytestmark = pytest.mark.bpf_feature("ringbuf", "little_endian")
OBJECT = "built/tc_marks.bpf.o"
WEB = Eth() / IP() / TCP(dport=80)
PADDING = bytes(40)


def test_a_mark_by_port(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT)
    obj.maps["RULES"][80] = {"mark": 7}
    result = obj["tc_marks"].run(bytes(WEB) + PADDING)
    assert (result.retval, result.ctx["mark"]) == (TC.OK, 7)
    assert obj["tc_marks"].run(bytes(Eth() / IP() / TCP(dport=81)) + PADDING).ctx["mark"] == 0
    assert obj.globals["MARKED"] == 1


def test_a_rule_drops_and_says_so(bpf: Bpf, bpf_log: BpfLog) -> None:
    obj = bpf.load(OBJECT)
    obj.maps["RULES"][80] = {"drop": 1}
    assert obj["tc_marks"].run(bytes(WEB) + PADDING).retval == TC.SHOT
    bpf_log.expect(f"dropped port 80 of {len(bytes(WEB) + PADDING)} bytes", level="WARN")


def test_on_an_interface(bpf: Bpf, bpf_veth: Veth, bpf_log: BpfLog) -> None:
    obj = bpf.load(OBJECT)
    obj.maps["RULES"][80] = {"drop": 1}
    obj["tc_marks"].attach(bpf_veth.b, direction="ingress")
    with bpf_veth.b.behind_tc(0x0800) as seen:
        bpf_veth.send(WEB)
        bpf_veth.send(Eth() / IP() / TCP(dport=81))
        (passed,) = seen.take(timeout=2, count=1)
    assert passed[TCP].dport == 81
    bpf_log.expect(f"dropped port 80 of {len(bytes(WEB))} bytes", level="WARN", timeout=5)
