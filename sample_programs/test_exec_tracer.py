"""exec_tracer.bpf.c: attach to a tracepoint, cause the event, read the ring buffer."""

from unittest.mock import ANY

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
    obj = bpf.load("exec_tracer.bpf.o")
    with obj.faults("bpf_ringbuf_reserve") as fault, obj["trace_exec"].attach():
        bpf_vm.run(["/bin/true"])
    assert obj.maps["counts"].sum(1) == fault.failed > 0
    assert (obj.maps["counts"].sum(0), obj.maps["events"].events()) == (0, [])


def test_who_it_was(bpf: Bpf, bpf_vm: BpfVm) -> None:
    """Numbers of a process that no process has here."""
    who = {"bpf_get_current_pid_tgid": (77 << 32) + 78, "bpf_get_current_uid_gid": (5 << 32) + 1000}
    obj = bpf.load("exec_tracer.bpf.o", doubles=who)
    calls = obj.calls()
    with obj["trace_exec"].attach():
        bpf_vm.run(["/bin/true"])
    obj.maps["events"].expect({"pid": 77, "uid": 1000, "filename": "/bin/true"}, timeout=5)
    assert {call.args for call in calls if call.function == "bpf_ringbuf_reserve"} == {("events", 280, 0)}
    obj.calls("bpf_ringbuf_submit").assert_any_call(ANY, 0)
    assert obj.maps["counts"].sum(0) == obj.calls("bpf_ringbuf_submit").call_count
