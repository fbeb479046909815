"""The loader in a script that runs commands: open_kernel() without pytest."""

from __future__ import annotations

from pathlib import Path

from pytest_ebpf import open_kernel

OBJECTS = Path(__file__).parents[3] / "sample_programs" / "built"


def test_a_script_loads_runs_and_leaves_nothing() -> None:
    with open_kernel("host", directories=[OBJECTS]) as bpf:
        loaded = bpf.load("xdp_firewall.bpf.o")
        assert loaded["firewall"].run(bytes(64)).retval is not None
        assert bpf.machine.run(["true"]).returncode == 0
        ids = {loaded["firewall"].id}  # only ours: the host may have others, which come and go
    with open_kernel("host") as bpf:
        assert not {program.id for program in bpf.loaded.programs()} & ids
