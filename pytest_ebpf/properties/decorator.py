"""``@bpf_property``: a test that holds for every packet, run in batches."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed as hypothesis_seed, settings, strategies as hypothesis_strategies
from hypothesis.strategies import SearchStrategy

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.parse import parse_packet
from pytest_ebpf.properties.batch import Body, FailedBatch, Found, UnderWay
from pytest_ebpf.properties.examples import Decided, batch_of, decisions_of, saved, shrink
from pytest_ebpf.properties.report import explained
from pytest_ebpf.properties.state import Reset
from pytest_ebpf.strategies.stacks import mix_of, packets as all_packets, silent_packets

__all__ = ["bpf_property"]

T = TypeVar("T", bound=Callable[..., None])
_GIVEN = ("packet", "packets", "result", "results")


@dataclass(frozen=True, slots=True)
class _Options:
    strategy: SearchStrategy[Packet]
    batch: int
    max_examples: int | None
    seed: int | None
    program: str | Callable[[Any], Any] | None
    reset: Reset
    examples: tuple[Packet, ...]


def bpf_property(
    *,
    packets: SearchStrategy[Packet] | None = None,
    batch: int = 256,
    max_examples: int | None = None,
    seed: int | None = None,
    program: str | Callable[[Any], Any] | None = None,
    reset: Reset = False,
) -> Callable[[T], T]:
    """Make a test of a function that asserts something of a packet. Its parameters:

    - ``packet``, and ``result`` for what the program made of it, once per packet; or ``packets`` (``results``), lists;
    - fixtures, as in any test: ``bpf_shared``, a fixture ``prog`` of your own.

    The program is the fixture ``prog`` or ``program``; or ``program="x.bpf.o:name"`` here; or a function of the loader.

    ``packets``: a strategy, ``st.packets()`` by default. ``batch`` packets go to the kernel at once; there are
    ``max_examples`` of them (by default as many batches as Hypothesis's profile has examples). Hypothesis draws
    the seed of each batch; ``seed`` here or ``--hypothesis-seed`` makes a run the same again. A packet of a batch that
    fails is run alone and shrunk by Hypothesis, whose database has it for the next run.

    ``reset``: True puts the maps and globals of the program back before each batch and each single run; or names of
    maps; or a function that does it."""
    if batch < 1 or (max_examples is not None and max_examples < 1):
        raise BpfUsageError("bpf_property: batch= and max_examples= are numbers of packets, at least 1")
    strategy = packets if packets is not None else all_packets()

    def decorate(body: T) -> T:
        examples = tuple(_explicit(body))
        options = _Options(strategy, batch, max_examples, seed, program, reset, examples)

        @functools.wraps(body)
        def test(**fixtures: Any) -> None:
            __tracebackhide__ = True
            _check(body, options, fixtures=fixtures)

        test.__signature__ = _signature(body, program=program)  # type: ignore[attr-defined]  # pytest reads it from there
        return test  # type: ignore[return-value]  # it has the parameters of the body but packets

    return decorate


def _signature(body: Callable[..., None], *, program: object) -> inspect.Signature:
    """The fixtures of the test: what pytest passes."""
    parameters = [one for name, one in inspect.signature(body).parameters.items() if name not in _GIVEN]
    names = {one.name for one in parameters}
    given = [name for name in inspect.signature(body).parameters if name in _GIVEN]
    if not given:
        raise BpfUsageError(f"bpf_property: {body.__name__} takes no packet: give it a parameter packet or packets")
    if program is not None and not names & {"bpf_shared", "bpf"}:
        parameters.append(inspect.Parameter("bpf_shared", inspect.Parameter.KEYWORD_ONLY))
    return inspect.Signature([one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters])


def _explicit(body: Callable[..., None]) -> Iterable[Packet]:
    """Those of ``@example(packet=...)`` or ``@example(...)`` below the decorator."""
    for one in getattr(body, "hypothesis_explicit_examples", ()):
        for value in (*one.args, *one.kwargs.values()):
            try:
                yield value if isinstance(value, Packet) else parse_packet(value)
            except TypeError as error:
                raise BpfUsageError(f"bpf_property: @example({value!r}): {error}") from None


def _check(body: Callable[..., None], options: _Options, *, fixtures: dict[str, Any]) -> None:
    __tracebackhide__ = True
    held = Body.made(body, fixtures, program=options.program, reset=options.reset)
    profile, mix = settings.default or settings(), mix_of(options.strategy)
    key = b"bpf_property:" + f"{body.__module__}.{body.__qualname__}".encode()
    if options.examples and (found := held.first_failure(list(options.examples))):
        raise explained(found, held, packets=[options.examples[found.index]] if found.alone else options.examples)
    if mix is None:
        _drawn(held, options, profile=profile)
        return
    for old in saved(profile.database, key, mix=mix):
        if found := held.first_failure([old.packet]):
            _fail(held, options, decided=old, found=found, key=key)
    failure = _batches(held, options, profile=profile)
    if failure is None:
        return
    found = failure.found
    if not found.alone:
        batch = batch_of(failure.seed, options.batch, mix=mix)[: found.index + 1]
        raise explained(found, held, packets=held.fewest(batch), seed=failure.seed)
    _fail(held, options, decided=decisions_of(failure.seed, found.index, mix=mix), found=found, key=key)


def _fail(held: Body, options: _Options, *, decided: Decided, found: Found, key: bytes) -> None:
    __tracebackhide__ = True
    database = (settings.default or settings()).database
    mix = mix_of(options.strategy)
    assert mix is not None
    smallest = shrink(decided, silent_packets(mix), fails=held.fails, key=key, database=database)
    packet = smallest if smallest is not None else decided.packet
    again = held.first_failure([packet])
    raise explained(again or found, held, packets=[packet], flaky=again is None) from None


def _batches(held: Body, options: _Options, *, profile: settings) -> FailedBatch | None:
    """Let Hypothesis draw seeds, up to the first batch with a packet that fails. A guest runs one batch while the next
    one is made here; what the body sees of the kernel is as if it waited."""
    mix = mix_of(options.strategy)
    assert mix is not None
    count = options.max_examples or options.batch * profile.max_examples
    rounds = math.ceil(count / options.batch)
    left = [count]

    @settings(
        profile,
        max_examples=rounds,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(number=hypothesis_strategies.integers(0, (1 << 32) - 1))
    def seeds(number: int) -> None:
        if under_way.failed is not None or left[0] <= 0:
            under_way.settle()
            return
        size = min(options.batch, left[0])
        left[0] -= size
        batch = held.prepare(batch_of(number, size, mix=mix))
        under_way.settle()
        if under_way.failed is None:
            under_way.begin(batch, seed=number)
            if left[0] <= 0:
                under_way.settle()  # here, since a body may call what works in an example of Hypothesis's only

    under_way = UnderWay(held)
    (hypothesis_seed(options.seed)(seeds) if options.seed is not None else seeds)()
    under_way.settle()
    return under_way.failed


def _drawn(held: Body, options: _Options, *, profile: settings) -> None:
    """For strategies of which only Hypothesis knows how they draw: it makes and shrinks the packets of a batch."""
    count = options.max_examples or profile.max_examples
    size = min(options.batch, 32)
    many = hypothesis_strategies.lists(options.strategy, min_size=1, max_size=size)
    last: list[tuple[Found, list[Packet]]] = []

    @settings(profile, max_examples=math.ceil(count / size), deadline=None, suppress_health_check=list(HealthCheck))
    @given(drawn=many)
    def batches(drawn: list[Packet]) -> None:
        found = held.first_failure(drawn)
        if found is not None:
            last[:] = [(found, drawn)]
            raise AssertionError(found.index)

    try:
        (hypothesis_seed(options.seed)(batches) if options.seed is not None else batches)()
    except AssertionError:
        found, drawn = last[0]
        packets = [drawn[found.index]] if found.alone else held.fewest(drawn)
        raise explained(found, held, packets=packets) from None
