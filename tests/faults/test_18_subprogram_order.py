"""Line 18: subprograms come in libbpf's order (depth first); ELF machine 0 is read as BPF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_ebpf import Bpf
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.link import Prepared, function_index, link
from support import fault_objects

Parsed = Callable[[str], ObjectFile]


def test_a_function_follows_its_first_call_with_all_that_it_calls(parsed: Parsed) -> None:
    obj = parsed("subprog_order")
    (program,) = obj.programs
    linked = link(program, function_index(obj), prepare=lambda function: Prepared(function, function.insns))
    assert [function.name for _, function in linked.starts] == ["gives_11", "a", "b", "c", "d"]
    starts = [start for start, _ in linked.starts]
    assert starts == sorted(starts)


def test_the_program_runs(bpf: Bpf, built: Path) -> None:
    assert bpf.load(built / "subprog_order.bpf.o")["gives_11"].run(bytes(64)).retval == 11


def test_machine_0_is_bpf(bpf: Bpf, tmp_path: Path) -> None:
    assert [program.name for program in parse_object(fault_objects.machine_0(), name="a.o").programs] == ["gives_2"]
    path = tmp_path / "machine_0.bpf.o"
    path.write_bytes(fault_objects.machine_0())
    assert bpf.load(path)["gives_2"].run(bytes(64)).retval == 2
