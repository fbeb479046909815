"""The function under a property, called for a batch of packets or for one."""

from __future__ import annotations

import errno
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import pytest

from pytest_ebpf.errors import BpfUsageError, HarnessError, KernelCallError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.properties.state import Reset, Restore, remember

__all__ = ["Body", "FailedBatch", "Found", "Prepared", "UnderWay"]

T = TypeVar("T")

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


class Prepared(NamedTuple):
    """A batch, and the bytes of its packets if the program is to run on them."""

    packets: Sequence[Packet]
    data: Sequence[bytes]


_Taken = tuple[Sequence[Packet], Sequence[Any]]


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
        return self.begin(self.prepare(packets))()

    def prepare(self, packets: Sequence[Packet]) -> Prepared:
        """What there is to do before a batch, without the kernel."""
        wanted = self.given & {"result", "results"}
        return Prepared(packets, [bytes(packet) for packet in packets] if wanted else [])

    def begin(self, batch: Prepared) -> Callable[[], Found | None]:
        """Have the program run on a batch. What is returned waits for that, calls the function, and returns what
        ``first_failure`` does; it has to be called before anything else is asked of the kernel."""
        finish = self._begin(batch)
        return lambda: self._found(batch.packets, finish())

    def _found(self, packets: Sequence[Packet], found: Found | None) -> Found | None:
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
        return self._begin(self.prepare(packets))()

    def _begin(self, batch: Prepared) -> Callable[[], Found | None]:
        self.restore()
        if not self.given & {"result", "results"}:
            return lambda: self._judge((batch.packets, ()), every=batch.packets)
        taken = _begin(self.program, batch, restore=self.restore)
        return lambda: self._judge(taken(), every=batch.packets)

    def _judge(self, taken: _Taken, *, every: Sequence[Packet]) -> Found | None:
        packets, results = taken
        if not packets:
            return None
        if "packet" not in self.given:
            more = {"packets": list(packets), "results": results}
            failed = self._call({name: value for name, value in more.items() if name in self.given})
            return Found(len(packets) - 1, failed) if failed is not None else None
        found = self._one_by_one(packets, results)
        return found and Found(list(every).index(packets[found.index]), found.error)

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


class UnderWay:
    """The batch that the kernel runs while the next one is made; ``failed`` is the first in which a packet fails. An
    error that is nobody's example is raised again by each later call: Hypothesis tries once more what raised it."""

    __slots__ = ("_error", "_finish", "_held", "_seed", "failed")

    def __init__(self, held: Body) -> None:
        self._held = held
        self._finish: Callable[[], Found | None] | None = None
        self._seed = 0
        self._error: Exception | None = None
        self.failed: FailedBatch | None = None

    def begin(self, batch: Prepared, *, seed: int) -> None:
        """Have the kernel run a batch, the one before being settled."""
        self._seed = seed
        self._finish = self._trying(lambda: self._held.begin(batch))

    def settle(self) -> None:
        """Wait for the batch, if there is one, and see whether a packet fails."""
        if self._error is not None:
            raise self._error
        if self._finish is not None:
            finish, self._finish = self._finish, None
            found = self._trying(finish)
            self.failed = FailedBatch(found, self._seed) if found is not None else None

    def _trying(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except Exception as error:
            self._error = error
            raise


def _begin(program: Any, batch: Prepared, *, restore: Restore) -> Callable[[], _Taken]:
    """What waits for the packets that the kernel runs a program of this type on, and for the results. Kernels refuse
    some that are cut off: too short for an Ethernet header, or (skb programs) for the IP header that its type
    announces."""
    start, valid = getattr(program, "start_valid", None), getattr(program, "run_valid", None)
    if start is not None:
        finish = start(batch.data)
        return lambda: _valid(program, batch, ran=finish())
    taken = (
        _valid(program, batch, ran=valid(batch.data)) if valid is not None else _taken(program, batch, restore=restore)
    )
    return lambda: taken


def _valid(program: Any, batch: Prepared, *, ran: Mapping[int, Any]) -> _Taken:
    packets = batch.packets
    if not ran and len(packets) > 1:
        program.run(batch.data[0])  # none at all: an error that says why, not a property that holds
    return packets if len(ran) == len(packets) else [packets[number] for number in ran], list(ran.values())


def _taken(program: Any, batch: Prepared, *, restore: Restore) -> _Taken:
    left, data = list(batch.packets), list(batch.data)
    while left:
        try:
            return left, program.run_many(data)
        except KernelCallError as error:
            refused = re.search(r", packet (\d+)", str(error))
            if error.errno != errno.EINVAL or refused is None or len(left) > _MOST:
                raise
            del left[int(refused[1])], data[int(refused[1])]
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
