"""The function under a property, called for a batch of packets or for one."""

from __future__ import annotations

import errno
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from pytest_ebpf.errors import BpfUsageError, HarnessError, KernelCallError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.properties.state import Reset, Restore, remember

__all__ = ["Body", "FailedBatch", "Found"]

_MOST = 1000  # packets in one call, by which the error counts
_FAILING = (Exception, pytest.fail.Exception)


@dataclass(frozen=True, slots=True)
class Found:
    """The packet of a batch at which the property failed, and how. ``alone``: it fails without those before it."""

    index: int
    error: BaseException
    alone: bool = True


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """A batch, by its seed, in which a packet fails."""

    found: Found
    seed: int


@dataclass(frozen=True, slots=True)
class Body:
    """``function`` with its fixtures. ``given``: which of packet, packets, result and results it takes."""

    function: Callable[..., None]
    fixtures: Mapping[str, Any]
    given: frozenset[str]
    program: Any
    restore: Restore

    @classmethod
    def made(cls, function: Callable[..., None], fixtures: Mapping[str, Any], *, program: object, reset: Reset) -> Body:
        """Find the program, and remember the state to come back to."""
        parameters = inspect.signature(function).parameters
        given = frozenset(parameters) & {"packet", "packets", "result", "results"}
        found, state = _program(fixtures, program)
        if found is None and given & {"result", "results"}:
            raise BpfUsageError(
                f"bpf_property: {function.__name__} takes a result, but of which program?",
                hint='Add program="x.bpf.o:name" to bpf_property, or a fixture prog.',
            )
        own = {name: value for name, value in fixtures.items() if name in parameters}
        return cls(function, own, given, found, _restore(reset, state, program=found))

    def fails(self, packet: Packet) -> bool:
        """Whether it fails for this packet alone."""
        return self.first_failure([packet]) is not None

    def first_failure(self, packets: Sequence[Packet]) -> Found | None:
        """The first packet of a batch for which it fails; None when it holds for all."""
        found = self._run(packets)
        if found is None or len(packets) == 1:
            return found
        if "packet" in self.given:  # it is known which one: does it fail alone?
            again = self._run([packets[found.index]])
            return Found(found.index, (again or found).error, again is not None)
        for index, packet in enumerate(packets):
            if again := self._run([packet]):
                return Found(index, again.error)
        return Found(len(packets) - 1, found.error, False)

    def fewest(self, packets: Sequence[Packet]) -> list[Packet]:
        """As few packets as still fail together, in their order, for a failure that takes several."""
        kept, size = list(packets), len(packets) // 2
        while size:
            for start in range(len(kept) - size, -1, -size):
                fewer = kept[:start] + kept[start + size :]
                if fewer and self._run(fewer) is not None:
                    kept = fewer
            size //= 2
        return kept

    def _run(self, packets: Sequence[Packet]) -> Found | None:
        self.restore()
        every: list[Packet] = list(packets)
        results: Sequence[Any] = ()
        if self.given & {"result", "results"}:
            packets, results = _taken(self.program, packets, restore=self.restore)
            if not packets:
                return None
        if "packet" not in self.given:
            more = {"packets": list(packets), "results": results}
            failed = self._call({name: value for name, value in more.items() if name in self.given})
            return Found(len(packets) - 1, failed) if failed is not None else None
        found = self._one_by_one(packets, results)
        return found and Found(every.index(packets[found.index]), found.error)

    def _one_by_one(self, packets: Sequence[Packet], results: Sequence[Any]) -> Found | None:
        call, fixtures, done = self.function, self.fixtures, 0
        try:
            if results:
                for packet, result in zip(packets, results, strict=True):
                    call(packet=packet, result=result, **fixtures)
                    done += 1
            else:
                for packet in packets:
                    call(packet=packet, **fixtures)
                    done += 1
        except HarnessError:
            raise
        except _FAILING as error:
            return Found(done, error)
        return None

    def _call(self, given: Mapping[str, Any]) -> BaseException | None:
        try:
            self.function(**given, **self.fixtures)
        except HarnessError:
            raise
        except _FAILING as error:
            return error
        return None


def _taken(program: Any, packets: Sequence[Packet], *, restore: Restore) -> tuple[Sequence[Packet], Sequence[Any]]:
    """The packets that the kernel runs a program of this type on, and the results. Kernels refuse some that are cut
    off: too short for an Ethernet header, or (skb programs) for the IP header that its type announces."""
    valid = getattr(program, "run_valid", None)
    if valid is not None:
        ran = valid([bytes(packet) for packet in packets])
        if not ran and len(packets) > 1:
            program.run(bytes(packets[0]))  # none at all: an error that says why, not a property that holds
        return [packets[number] for number in ran], list(ran.values())
    left = list(packets)
    while left:
        try:
            return left, program.run_many([bytes(packet) for packet in left])
        except KernelCallError as error:
            refused = re.search(r", packet (\d+)", str(error))
            if error.errno != errno.EINVAL or refused is None or len(left) > _MOST:
                raise
            del left[int(refused[1])]
            restore()  # those before it ran
    return left, ()


def _program(fixtures: Mapping[str, Any], program: object) -> tuple[Any, Any]:
    """The program, and what has its maps and globals."""
    loader = fixtures.get("bpf_shared", fixtures.get("bpf"))
    if isinstance(program, str):
        path, colon, name = program.rpartition(":")
        if not colon:
            raise BpfUsageError(f"bpf_property: program={program!r}", hint='Write "object.bpf.o:program".')
        obj = loader.load(path)
        return obj[name], obj
    if callable(program):
        found = program(loader)
        return found, getattr(found, "maps", {})
    found = fixtures.get("prog", fixtures.get("program"))
    return found, getattr(found, "maps", {})


def _restore(reset: Reset, state: Any, *, program: object) -> Restore:
    if not reset:
        return lambda: None
    if callable(reset):
        takes = len(inspect.signature(reset).parameters)
        return (lambda: reset(program)) if takes else reset
    if not state:
        raise BpfUsageError(
            "bpf_property: reset= needs a program", hint='Add program="x.bpf.o:name", or a fixture prog.'
        )
    if isinstance(reset, bool):
        return remember(state)
    return remember(state, (reset,) if isinstance(reset, str) else tuple(reset))
