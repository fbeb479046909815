"""A trace of limited length, and a program loaded again by what loaded it first."""

from __future__ import annotations

from pytest_ebpf.agent.ops import Close, Made, MapCreate, ProgLoaded, Ref
from pytest_ebpf.kernels.base import check
from pytest_ebpf.live.reload import Reload, resolved
from support.bpf_asm import R0, add, counting, exit_, mov, program
from support.contract_kernels import Run


def test_a_trace_of_limited_length(run: Run) -> None:
    """The verdict stays; ``truncated`` says that there is more: before Linux 6.4 behind it, since then before it."""
    insns = mov(R0, 0) + add(R0, 1) * 2000 + exit_()
    whole = check(run(program(insns, log_level=2))[0], ProgLoaded)
    cut = check(run(program(insns, log_level=2, log_limit=8192))[0], ProgLoaded)
    assert (whole.truncated, cut.truncated) == (False, True)
    assert cut.handle != whole.handle
    assert 4096 < len(cut.log) <= 8192 + 512 < len(whole.log)
    assert cut.log[1000:3000] in whole.log


def test_a_program_is_loaded_again_with_the_maps_it_has(run: Run) -> None:
    """By itself: what the batch made is named by handles."""
    load = program(counting(), maps=(Ref(0),))
    results = run(MapCreate(2, 4, 8, 1), load)
    first = check(results[1], ProgLoaded)
    again = Reload(load, results, line_info=()).op
    assert again == resolved(load, results)
    assert [patch.target for patch in again.patches] == [check(results[0], Made).handle]
    second = check(run(again)[0], ProgLoaded)
    assert second.id != first.id
    run(Close(second.handle))
