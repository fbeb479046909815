"""State machines over maps and packets (sample_programs/test_state_machines.py): a model that differs from the program
is found, shrunk to the steps that matter and replayed first by the next run; maps and globals are as before."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.stateful import run_state_machine_as_test

from pytest_ebpf import SharedBpf
from pytest_ebpf.properties import remember
from support.paths import ROOT

SAMPLES = ROOT / "sample_programs"
MACHINES = runpy.run_path(str(SAMPLES / "test_state_machines.py"))

SEED = 3  # the same sequences each time
AROUND = ("begin", "teardown", "is_the_model", "are_the_model")  # what each sequence has, and invariants


class NeverReset(MACHINES["Tracking"]):  # type: ignore[misc]  # a class that runpy found
    """Believes that a RST ends nothing."""

    def _seen(self, port: int, flags: str, *, done: int, other: int, by: list[int] | None) -> bool:
        return bool(super()._seen(port, "A" if flags == "R" else flags, done=done, other=other, by=by))


class OneMore(MACHINES["Policing"]):  # type: ignore[misc]  # a class that runpy found
    """Believes that packets may be one byte longer."""

    largest = 1501


def failing(machine: type[Any], obj: object, **options: object) -> tuple[list[str], int]:
    """The steps that Hypothesis shows at the end, and how many sequences it ran."""
    restore, begun = remember(obj), []

    def again() -> None:
        begun.append(1)
        restore()

    machine.obj, machine.restore = obj, staticmethod(again)
    how = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=False, **options)
    with pytest.raises(AssertionError) as failure:
        run_state_machine_as_test(seed(SEED)(machine), settings=how)
    restore()
    steps = [line for line in "\n".join(failure.value.__notes__).splitlines() if line.startswith("state.")]
    return [step for step in steps if not any(name in step for name in AROUND)], len(begun)


def test_15_a_wrong_model_of_connections_is_shrunk_and_replayed(bpf_shared: SharedBpf) -> None:
    obj = bpf_shared.load(SAMPLES / "built" / "conn_track.bpf.o")
    database = InMemoryExampleDatabase()
    steps, _ = failing(NeverReset, obj, database=database, max_examples=200, stateful_step_count=8)
    assert steps == [
        "state.goes_out(flags='S', port=1000)",
        "state.comes_in(flags='R', port=1000)",
    ]
    assert obj.maps["connections"] == {}
    again, sequences = failing(NeverReset, obj, database=database, max_examples=1, phases=[Phase.reuse])
    assert again == steps
    assert sequences <= 4


def test_15_a_wrong_model_of_a_limit_is_shrunk(bpf_shared: SharedBpf) -> None:
    obj = bpf_shared.load(SAMPLES / "built" / "config.bpf.o")
    steps, _ = failing(OneMore, obj, database=None, max_examples=200, stateful_step_count=8)
    assert steps == ["state.packets_come(count=1, size=1501)"]
    assert [obj.globals[name] for name in ("budget", "accepted", "refused")] == [3, 0, 0]
