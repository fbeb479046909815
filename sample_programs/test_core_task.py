"""core_task.bpf.c: the same object reads structures of every kernel."""

from pytest_ebpf import Bpf, BpfVm


def test_parent_is_found_through_two_pointers(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("core_task.bpf.o")
    obj["read_family"].run()
    family = obj.globals["family"]
    status = bpf_vm.run(["/bin/cat", f"/proc/{family['tgid']}/status"]).stdout.decode()
    assert f"\nPPid:\t{family['parent_tgid']}\n" in status
    assert f"Name:\t{family['comm']}\n" in status


def test_the_kernel_answers_about_its_types(bpf: Bpf) -> None:
    obj = bpf.load("core_task.bpf.o")
    obj["ask_kernel"].run()
    assert obj.globals["task_size"] > 1000
    assert obj.globals["has_comm"]


def test_a_field_no_kernel_has(bpf: Bpf) -> None:
    obj = bpf.load("core_task.bpf.o")  # loads, although it would read that field: the branch is dead
    obj["ask_kernel"].run()
    assert not obj.globals["has_moon_phase"]


def test_the_size_is_the_kernels(bpf: Bpf) -> None:
    """Both programs say the same twice, and the names are whole."""
    obj = bpf.load("core_task.bpf.o")
    obj["read_family"].run()
    obj["ask_kernel"].run()
    assert len(obj.globals["family"]["comm"]) < 16
    assert obj.globals["task_size"] % 8 == 0
