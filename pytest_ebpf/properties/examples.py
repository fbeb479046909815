"""Where packets come from: a seed, Hypothesis, the decisions behind one packet."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.database import ExampleDatabase, InMemoryExampleDatabase, choices_from_bytes, choices_to_bytes
from hypothesis.errors import NoSuchExample
from hypothesis.strategies import SearchStrategy

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.packets.generate import Mix, make_packet
from pytest_ebpf.packets.packet import Packet

__all__ = ["Decided", "batch_of", "decisions_of", "saved", "shrink"]


@dataclass(frozen=True, slots=True)
class Decided:
    """A packet and the decisions that make it again."""

    packet: Packet
    decisions: tuple[int, ...]


def batch_of(seed: int, count: int, *, mix: Mix) -> list[Packet]:
    """The packets of a seed: always the same."""
    uniform = random.Random(seed).random

    def below(count: int) -> int:
        return int(uniform() * count) if count > 1 else 0

    return [make_packet(below, mix) for _ in range(count)]


def decisions_of(seed: int, index: int, *, mix: Mix) -> Decided:
    """One packet of the batch of a seed, with its decisions."""
    uniform, made = random.Random(seed).random, []

    def below(count: int) -> int:
        if count <= 1:
            return 0
        made.append(int(uniform() * count))
        return made[-1]

    packet = Packet()
    for _ in range(index + 1):
        made.clear()
        packet = make_packet(below, mix)
    return Decided(packet, tuple(made))


def saved(database: ExampleDatabase | None, key: bytes, *, mix: Mix) -> Iterator[Decided]:
    """The packets that failed the last times, as Hypothesis keeps them."""
    for data in sorted(database.fetch(key), key=len) if database is not None else ():
        choices = choices_from_bytes(data)
        if choices is not None and all(isinstance(choice, int) for choice in choices):
            yield _replayed([int(choice) for choice in choices], mix=mix)


def _replayed(choices: Sequence[int], *, mix: Mix) -> Decided:
    left, made = iter(choices), []

    def below(count: int) -> int:
        if count <= 1:
            return 0
        made.append(min(next(left, 0), count - 1))
        return made[-1]

    return Decided(make_packet(below, mix), tuple(made))


def shrink(
    decided: Decided,
    strategy: SearchStrategy[Packet],
    *,
    fails: Callable[[Packet], bool],
    key: bytes,
    database: ExampleDatabase | None,
) -> Packet | None:
    """The smallest packet for which ``fails``, found by Hypothesis from one that does, which its database then has
    under ``key``. None when that one does not fail again."""
    kept = InMemoryExampleDatabase() if database is None else database
    for old in list(kept.fetch(key)):
        kept.delete(key, old)
    kept.save(key + b".secondary", choices_to_bytes(decided.decisions))  # of what is still to be shrunk
    quiet = settings(
        database=kept,
        phases=[Phase.reuse, Phase.shrink],
        max_examples=2000,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    try:
        return find(strategy, fails, settings=quiet, database_key=key)
    except NoSuchExample:
        return None
