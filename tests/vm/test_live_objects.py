"""Live objects on real kernels: what the sample programs do not show. Runs on the host unless kernels are named."""

from __future__ import annotations

import pytest

from pytest_ebpf import SK, XDP, Bpf, BpfUsageError, Eth, KernelCallError, ProgramRejected
from support.paths import ROOT

BUILT = ROOT / "sample_programs" / "built"


def test_map_in_map(bpf: Bpf) -> None:
    """What is read from the outer map is the inner one."""
    obj = bpf.load(BUILT / "xdp_lb.bpf.o")
    services, dns = obj.maps["services"], obj.maps["dns"]
    assert services.items() == []
    services[53] = dns
    dns[1] = {"weight": 7}
    inner = services[53]
    assert inner[1]["weight"] == 7
    inner[2] = {"weight": 8}
    assert dns[2]["weight"] == 8
    with pytest.raises(TypeError, match="takes a map, not"):
        services[1] = 5


def test_a_map_shared_by_two_loads(bpf: Bpf) -> None:
    first = bpf.load(BUILT / "exec_tracer.bpf.o")
    second = bpf.load(BUILT / "exec_tracer.bpf.o", maps={"counts": first.maps["counts"]})
    first.maps["counts"][0] = 5
    assert second.maps["counts"].sum(0) == 5 * bpf.session.target.described.cpus


def test_program_arrays_know_their_programs(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "tail_calls.bpf.o")
    (table,) = [table for table in obj.maps.values() if table.kind.name == "prog_array"]
    name, program = next(iter(obj.programs.items()))
    table[2] = program
    assert table[2] is program
    assert table[2].name == name
    del table[2]
    assert 2 not in table


def test_xdp_on_an_interface(bpf: Bpf) -> None:
    """Attached, seen by the kernel, and gone again."""
    obj = bpf.load(BUILT / "config.bpf.o")
    link = obj["police"].attach(interface="lo", mode="skb")
    with pytest.raises(KernelCallError, match="EBUSY") as error:
        obj["police"].attach(interface="lo", mode="skb")
    assert "detach it first" in str(error.value)
    link.detach()
    with obj["police"].attach(interface=1, mode="skb"):
        pass


def test_tc_filter_on_clsact(bpf: Bpf, bpf_vm) -> None:
    """With a priority it is a filter on every kernel."""
    obj = bpf.load(BUILT / "map_kinds.bpf.o")
    with obj["account"].attach(interface="lo", direction="egress", priority=7) as link:
        assert link.mechanism == "clsact filter"
        bpf_vm.run(["/bin/bash", "-c", "echo hello > /dev/udp/127.0.0.1/9"])
    seen = obj.maps["by_protocol"].sum(0x0800)["packets"]
    assert seen > 0
    bpf_vm.run(["/bin/bash", "-c", "echo hello > /dev/udp/127.0.0.1/9"])
    assert obj.maps["by_protocol"].sum(0x0800)["packets"] == seen
    with obj["account"].attach(interface="lo", direction="egress", priority=7):
        pass  # the first one is really gone


@pytest.mark.bpf_kernel(">=5.13")
def test_sk_lookup_on_a_namespace(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "sk_lookup.bpf.o")
    (program,) = obj.programs.values()
    with obj.attach() as attached:
        assert attached.links[0].target == "this network namespace"
        result = program.run(ctx={"family": 2, "protocol": 6, "local_port": 80, "remote_ip4": 0x7F000001})
        assert result.retval is SK.PASS
    assert not attached.links[0].attached
    assert program.run(ctx={"family": 2}).retval is not None  # the object is loaded behind the block
    obj.close()
    with pytest.raises(KernelCallError, match="was closed"):
        program.run(ctx={"family": 2})


def test_raw_tracepoint(bpf: Bpf, bpf_vm) -> None:
    obj = bpf.load(BUILT / "syscall_latency.bpf.o")
    links = [program.attach() for program in obj.programs.values()]
    assert {link.mechanism for link in links} == {"raw tracepoint link"}
    for link in links:
        link.detach()


def test_run_many_is_what_single_runs_are(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "config.bpf.o", globals={"budget": 10**6})["police"]
    packets = [bytes(size) for size in (20, 64, 100, 1500)] * 300
    many = program.run_many(packets)
    assert [result.retval for result in many[:4]] == [program.run(packet).retval for packet in packets[:4]]
    assert [result.data for result in many] == packets
    assert len(program.run_many(iter(packets), ctx={"rx_queue_index": 0} if _takes_context(program) else None)) == 1200
    assert program.run_many([]) == []


def _takes_context(program) -> bool:
    try:
        program.run(bytes(64), ctx={"rx_queue_index": 0})
    except KernelCallError:
        return False
    return True


@pytest.mark.bpf_kernel(">=5.15")
def test_xdp_context(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "config.bpf.o")["police"]
    result = program.run(Eth() / bytes(86), ctx={"ingress_ifindex": 1})
    assert result.ctx["ingress_ifindex"] == 1
    assert result.ctx["data_end"] == 100
    with_metadata = program.run(bytes(8) + bytes(100), ctx={"data": 8})
    assert (with_metadata.ctx["data"], with_metadata.ctx["data_end"]) == (8, 108)


def test_repeat_gives_a_duration(bpf: Bpf) -> None:
    result = bpf.load(BUILT / "config.bpf.o", globals={"budget": 10**6})["police"].run(bytes(100), repeat=10)
    assert result.retval == XDP.PASS
    assert result.duration >= 0


def test_statistics(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "xdp_firewall.bpf.o")["firewall"]
    assert program.stats.insns > 50
    assert program.stats.states > 0
    assert program.stats.stack
    assert program.id > 0
    assert (program.type, repr(program)) == ("xdp", "<Program firewall (xdp)>")
    traced = bpf.load(BUILT / "xdp_firewall.bpf.o", log_level=2)["firewall"]
    assert len(traced.log.text) > len(program.log.text)


def test_loading_fails_as_a_whole(bpf: Bpf) -> None:
    """What was made before the rejection is gone."""
    with pytest.raises(ProgramRejected):
        bpf.load(BUILT / "reject_null_value.bpf.o")
    assert bpf.close() == ()


def test_globals_round_trip(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "config.bpf.o")
    obj.globals["budget"] = 7
    assert obj.globals["budget"] == 7
    with pytest.raises(ValueError, match="budget"):
        obj.globals["budget"] = 1 << 64
    with pytest.raises(BpfUsageError, match="constant"):
        obj.globals["limits"] = {"smallest": 1, "largest": 2}
    assert "budget" in obj.globals
    assert len(obj.globals) == len(obj.globals.keys())


def test_data_sections_are_maps_of_one_entry(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "config.bpf.o", globals={"budget": 7})
    assert obj.maps[".data"] == {0: {"budget": 7}}
    obj.maps[".bss"][0] = {"accepted": 3}
    assert (obj.globals["accepted"], obj.globals["refused"]) == (3, 0)
    ((key, constants),) = obj.maps[".rodata"].items()  # a struct, a bool and a text: their places are in no type
    assert (key, constants["limits"]) == (0, {"smallest": 64, "largest": 1500})
    assert (constants["strict"], constants["label"]) == (False, "samples")
