"""Guests without QEMU for pytest inside pytest: agents in processes of this machine, which die as guests do."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pytest_ebpf.kernels.boot
import pytest_ebpf.kernels.remote
from pytest_ebpf.errors import BootFailed
from pytest_ebpf.kernels.child import ChildAgent, agent_argv
from pytest_ebpf.kernels.loss import Loss
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.kernels.running import GuestState, RunningKernel, machine_loss
from pytest_ebpf.outcome import Outcome
from pytest_ebpf.vm.guest.process import End

__all__ = ["Fate", "FakeGuests", "install"]

ENDS = {
    "panic": End("kernel panic: sysrq triggered crash", Outcome.PANIC),
    "killed": End("QEMU was killed by SIGKILL", Outcome.INFRASTRUCTURE),
    "closed": End("the guest turned itself off: the agent ended with wait status 0x9", Outcome.FAILED),
    "hang": None,
}


class FakeMachine:
    """As ``vm.guest.machine.Machine``, as far as the pool uses it."""

    def __init__(self) -> None:
        self.accel: Any = SimpleNamespace(kind="tcg", factor=1.0, reason="")
        self.stream = ChildAgent(agent_argv())
        self.pid = self.stream.pid
        self.way = None
        self.end: End | None = None
        self.lines = ["booted"]
        self.mark = 0

    def alive(self) -> bool:
        return self.end is None

    def ended(self, patience: float = 0.0) -> End | None:
        return self.end

    def mark_console(self) -> None:
        self.mark = len(self.lines)

    def console_tail(self, lines: int = 40) -> str:
        return "\n".join(self.lines[self.mark :])

    def show_stack(self) -> None:
        self.lines.append("Call Trace: a stack")

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
        self.stream.close()


class FakeGuests:
    """The guests of one inner run. ``boots``: how many there were; ``fail_next``: so many boots fail."""

    def __init__(self) -> None:
        self.boots = 0
        self.fail_next = 0
        self.machine: FakeMachine | None = None

    def boot(self, image: Any, **named: Any) -> RunningKernel:
        self.boots += 1
        if self.fail_next:
            self.fail_next -= 1
            raise BootFailed("kernel 6.1 did not come up: its agent did not answer within 20 s", console="BIOS")
        machine = self.machine = FakeMachine()
        state = GuestState()

        def lost(found: Loss) -> Loss:
            state.loss = state.loss or machine_loss(machine, found)  # type: ignore[arg-type]  # as much of a machine as is asked for
            return state.loss

        kernel = RemoteKernel(machine.stream, name="6.1", on_lost=lost)
        return RunningKernel(
            "6.1",
            kernel=kernel,
            accel="TCG",
            state=state,
            cache=Path.cwd(),
            machine=machine,  # type: ignore[arg-type]  # as much of a machine as is asked for
        )

    def lose(self, how: str) -> None:
        """The guest of now is lost: panic, killed, closed or hang."""
        machine = self.machine
        assert machine is not None
        machine.lines.append(f"console: {how}")
        machine.end = ENDS[how]
        os.kill(machine.pid, signal.SIGSTOP if how == "hang" else signal.SIGKILL)


def install(monkey: Callable[[Any, str, Any], None]) -> FakeGuests:
    """Boot such guests instead of others: ``install(monkeypatch.setattr)``."""
    guests = FakeGuests()
    monkey(pytest_ebpf.kernels.boot, "boot_guest", guests.boot)
    monkey(pytest_ebpf.kernels.boot, "find_image", lambda spec, **named: SimpleNamespace(release="6.1", spec=spec))
    monkey(pytest_ebpf.kernels.boot, "is_cached", lambda spec, **named: True)
    monkey(pytest_ebpf.kernels.remote, "_SILENCE", 0.3)
    return guests


class Fate:
    """A plugin for the inner run: the first guest is lost in a way, at a moment. ``at(moment)`` is its fixture."""

    def __init__(self, guests: FakeGuests, *, how: str, at: str) -> None:
        self.guests = guests
        self.how = how
        self.moment = at

    def reach(self, moment: str) -> None:
        """A moment has come."""
        if moment == self.moment and self.guests.boots == 1:
            self.guests.lose(self.how)

    @pytest.fixture
    def at(self) -> Callable[[str], None]:
        return self.reach

    @pytest.fixture
    def torn_down(self, bpf_kernel: Any) -> Iterator[None]:
        yield
        self.reach("teardown")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if "test_lost" in nodeid:
            self.reach("between tests")

    def pytest_sessionfinish(self) -> None:
        self.reach("session end")
