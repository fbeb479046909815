"""exec_tracer.bpf.c: attach to a tracepoint, cause the event, read the ring buffer."""

from pytest_ebpf import Bpf, BpfVm


def test_each_new_program_is_an_event(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("exec_tracer.bpf.o").attach()
    assert bpf_vm.run(["/bin/true"]).returncode == 0
    event = obj.maps["events"].expect({"comm": "true", "filename": "/bin/true"}, timeout=5)
    assert event["uid"] == 0
    assert event["pid"] > 1


def test_a_detached_program_sees_nothing(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("exec_tracer.bpf.o")
    with obj["trace_exec"].attach():
        bpf_vm.run(["/bin/true"])
    before = obj.maps["counts"].sum(0)
    bpf_vm.run(["/bin/true"])
    assert obj.maps["counts"].sum(0) == before > 0


def test_a_full_ring_counts_what_it_loses(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("exec_tracer.bpf.o", maps={"events": 4096}).attach()  # a page holds 14 records
    bpf_vm.run(["/bin/sh", "-c", "i=0; while [ $i -lt 20 ]; do /bin/true; i=$((i+1)); done"])
    assert obj.maps["counts"].sum(1) > 0
    assert len(obj.maps["events"].events()) == 4096 // (280 + 8)
