"""What suites of real projects gave as interfaces and contexts: C9 and C10 of "the plugin tells the truth". The host
unless kernels are named."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_ebpf import IP, UDP, BpfUsageError, Eth
from support.paths import TESTS

BUILT = TESTS / "objects" / "built"
PACKET = Eth() / IP(dst="192.0.2.9") / UDP(dport=9) / b"payload"


@pytest.mark.bpf_kernel(">=5.15")  # xdp_md in a test run
def test_c9_an_interface_in_a_context_is_that_interface(bpf: Any, bpf_veth: Any) -> None:
    prog = bpf.load(BUILT / "any_verdict.bpf.o", only="any_xdp")["any_xdp"]
    end = bpf_veth.b
    for given in (end, end.index):
        ran = prog.run(PACKET, ctx={"ingress_ifindex": given})
        assert ran.ctx["ingress_ifindex"] == end.index
    with pytest.raises(OSError, match="ENODEV"):
        prog.run(PACKET, ctx={"ingress_ifindex": 4_000_000})
    assert len(prog.run_many([PACKET] * 3, ctx={"ingress_ifindex": end})) == 3


def test_c9_a_run_in_a_namespace(bpf: Any, bpf_veth: Any) -> None:
    """The end of a pair exists in its namespace only."""
    prog = bpf.load(BUILT / "any_verdict.bpf.o", only="any_tc")["any_tc"]
    end = bpf_veth.b
    index = 4321
    ran = prog.run(PACKET, ctx={"ifindex": int(end.index)}, netns=end.netns)
    assert ran.ctx["ifindex"] == end.index
    assert prog.run(PACKET, ctx={"ifindex": end}).ctx["ifindex"] == end.index
    with pytest.raises(OSError):
        prog.run(PACKET, ctx={"ifindex": index}, netns=end.netns)
    with pytest.raises(BpfUsageError, match="not all in the network namespace"):
        prog.run(PACKET, ctx={"ifindex": bpf_veth.a}, netns=end.netns)


def test_c9_a_bare_index_of_another_namespace_in_a_devmap(bpf: Any, bpf_veth: Any) -> None:
    obj = bpf.load(BUILT / "map_redirects.bpf.o")
    devices = obj.maps["ports"]
    devices[0] = bpf_veth.b.index
    devices[1] = bpf_veth.b
    assert devices[0] == devices[1]


def test_c10_a_context_is_given_back_as_it_came(bpf: Any) -> None:
    prog = bpf.load(BUILT / "any_verdict.bpf.o", only="any_tc")["any_tc"]
    first = prog.run(PACKET, ctx={"mark": 5, "priority": 3})
    assert {"len", "hash"} <= first.ctx.keys()  # fields that no run may set
    second = prog.run(first.data, ctx=first.ctx)
    assert (second.ctx["mark"], second.ctx["priority"]) == (5, 3)
    third = prog.run(bytes(1000), ctx=second.ctx | {"mark": 6})
    assert (third.ctx["mark"], third.ctx["priority"]) == (6, 3)


@pytest.mark.bpf_kernel(">=5.15")
def test_c10_a_context_of_xdp_and_of_socket_lookups(bpf: Any) -> None:
    prog = bpf.load(BUILT / "any_verdict.bpf.o", only="any_xdp")["any_xdp"]
    first = prog.run(PACKET, ctx={"ingress_ifindex": 1})
    assert prog.run(bytes(300), ctx=first.ctx).ctx["ingress_ifindex"] == 1
    lookup = bpf.load("sk_lookup.bpf.o")
    prog = next(iter(lookup.programs.values())) if hasattr(lookup, "programs") else None
    assert prog is not None
    ran = prog.run(
        ctx={"family": 2, "protocol": 6, "remote_ip4": "192.0.2.1", "local_ip4": "192.0.2.2", "local_port": 80}
    )
    assert prog.run(ctx=ran.ctx).ctx["remote_ip4"] == "192.0.2.1"
