"""Streams of programs, statistics of runs, trace_pipe: on real kernels. The host unless kernels are named."""

from __future__ import annotations

import errno

import pytest

from pytest_ebpf import Bpf, PlanError
from support.paths import TESTS

BUILT = TESTS / "objects" / "built"
FRAME = bytes(64)


def test_output_and_errors(bpf: Bpf) -> None:
    new, old = (bpf.has(f"kfunc:{name}") for name in ("bpf_stream_vprintk", "bpf_stream_vprintk_impl"))
    if not new and not old:
        quiet = bpf.load(BUILT / "map_memory.bpf.o")["count"]
        with pytest.raises(PlanError, match="no streams of programs") as error:
            quiet.stdout.read()
        assert error.value.since == "6.17"
        return
    obj = bpf.load(BUILT / ("prog_streams.bpf.o" if new else "prog_streams_old.bpf.o"))
    speak, silent = obj["speak"], obj["silent"]
    assert speak.stdout.read() == ""
    written = speak.run().retval
    silent.run()
    if written == -errno.ENOMEM:  # kernels that find no memory without waiting for it, on some machines
        assert (speak.stdout.read(), speak.stderr.read()) == ("", "")
        return
    assert written == 0
    assert speak.stdout.read() == "one is 1, two is 2\nbye 3\n"
    assert speak.stderr.lines() == ["trouble at 40"]
    assert (speak.stdout.read(), speak.stderr.lines(), silent.stdout.read()) == ("", [], "")


def test_runs_are_counted_and_timed(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "map_memory.bpf.o")["count"]
    program.run(FRAME)
    before = program.run_stats
    with bpf.count_runs():
        program.run_many([FRAME] * 100)
        inside = program.run_stats
    program.run(FRAME)
    assert inside.count - before.count == 100
    assert inside.time_ns > before.time_ns
    assert inside.mean_ns > 0
    assert program.run_stats.count == inside.count
