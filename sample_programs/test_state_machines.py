"""State machines: Hypothesis makes sequences of packets and of changes to maps and globals, and compares what the
program does with a model in Python. A sequence that fails is shrunk to the steps that matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings, strategies as hypothesis_strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pytest_ebpf import IP, TCP, XDP, BpfObject, Eth, SharedBpf
from pytest_ebpf.properties import remember

OPENING, OPEN, INSIDE_DONE, OUTSIDE_DONE = 1, 2, 3, 4
INSIDE, OUTSIDE = "10.0.0.1", "198.51.100.7"
FEW = settings(max_examples=25, stateful_step_count=25, deadline=None)
PORTS = hypothesis_strategies.sampled_from([1000, 1001])
FLAGS = hypothesis_strategies.sampled_from(["S", "SA", "A", "FA", "R"])


class Tracking(RuleBasedStateMachine):
    """``conn_track.bpf.c`` and a dict: inside port -> [state, packets]."""

    obj: BpfObject
    restore: Callable[[], None]

    @initialize()
    def begin(self) -> None:
        self.restore()
        self.model: dict[int, list[int]] = {}

    @rule(port=PORTS, flags=FLAGS)
    def goes_out(self, port: int, flags: str) -> None:
        packet = Eth() / IP(src=INSIDE, dst=OUTSIDE) / TCP(sport=port, dport=80, flags=flags)
        assert self.obj["track"].run(packet).retval == self.out(port, flags)

    @rule(port=PORTS, flags=FLAGS)
    def comes_in(self, port: int, flags: str) -> None:
        packet = Eth() / IP(src=OUTSIDE, dst=INSIDE) / TCP(sport=80, dport=port, flags=flags)
        assert self.obj["track"].run(packet).retval == self.into(port, flags)

    @rule()
    def everything_is_forgotten(self) -> None:
        self.obj.maps["connections"].clear()
        self.model.clear()

    @invariant()
    def the_map_is_the_model(self) -> None:
        found = {
            int.from_bytes(int(flow["inside_port"]).to_bytes(2, "little"), "big"): [one["state"], one["packets"]]
            for flow, one in self.obj.maps["connections"].items()
        }
        assert found == getattr(self, "model", {})

    def out(self, port: int, flags: str) -> XDP:
        known = self.model.get(port)
        if known is None and flags == "S":
            self.model[port] = [OPENING, 1]
        return XDP.PASS if self._seen(port, flags, done=INSIDE_DONE, other=OUTSIDE_DONE, by=known) else self._new(flags)

    def into(self, port: int, flags: str) -> XDP:
        known = self.model.get(port)
        if known is not None and known[0] == OPENING and flags != "R":
            if flags != "SA":
                return XDP.DROP
            known[0] = OPEN
        return XDP.PASS if self._seen(port, flags, done=OUTSIDE_DONE, other=INSIDE_DONE, by=known) else XDP.DROP

    @staticmethod
    def _new(flags: str) -> XDP:
        return XDP.PASS if flags == "S" else XDP.DROP

    def _seen(self, port: int, flags: str, *, done: int, other: int, by: list[int] | None) -> bool:
        if by is None:
            return False
        by[1] += 1
        if flags == "R" or (flags == "FA" and by[0] == other):
            del self.model[port]
        elif flags == "FA" and by[0] == OPEN:
            by[0] = done
        return True


class Policing(RuleBasedStateMachine):
    """``config.bpf.c``: a budget of packets, refilled by the test, and its counters."""

    largest = 1500
    obj: BpfObject
    restore: Callable[[], None]

    @initialize()
    def begin(self) -> None:
        self.restore()
        self.left, self.accepted, self.refused = 3, 0, 0

    @rule(size=hypothesis_strategies.sampled_from([64, 63, 1500, 1501]), count=hypothesis_strategies.integers(1, 4))
    def packets_come(self, size: int, count: int) -> None:
        for result in self.obj["police"].run_many([bytes(size)] * count):
            good = 64 <= size <= self.largest and self.left > 0
            assert result.retval == (XDP.PASS if good else XDP.DROP)
            self.left, self.accepted, self.refused = self.left - good, self.accepted + good, self.refused + (not good)

    @precondition(lambda self: self.left < 3)
    @rule(tokens=hypothesis_strategies.integers(0, 5))
    def the_budget_is_refilled(self, tokens: int) -> None:
        self.obj.globals["budget"] = self.left = tokens

    @invariant()
    def the_counters_are_the_model(self) -> None:
        if hasattr(self, "left"):
            found = [self.obj.globals[name] for name in ("budget", "accepted", "refused")]
            assert found == [self.left, self.accepted, self.refused]


def run(machine: type[Any], obj: BpfObject) -> None:
    restore = remember(obj)
    machine.obj, machine.restore = obj, staticmethod(restore)
    try:
        run_state_machine_as_test(machine, settings=FEW)
    finally:
        restore()


def test_connections_are_tracked(bpf_shared: SharedBpf) -> None:
    run(Tracking, bpf_shared.load("conn_track.bpf.o"))


def test_the_rate_is_limited(bpf_shared: SharedBpf) -> None:
    run(Policing, bpf_shared.load("config.bpf.o"))
