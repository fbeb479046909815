"""Histograms as bpftrace prints them, from the slots that programs count in.

Slot N of a logarithmic histogram counts values from 2^N up to 2^(N+1), slot 0 those below 2: what ``log2l`` of
libbpf-tools and ``bpf_log2l`` of BCC give. Layout of the text: src/output.cpp of bpftrace 0.21.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pytest_ebpf.errors import BpfUsageError

__all__ = ["Bucket", "Histogram", "histogram"]

_BAR = 52  # characters
_UNITS = " KMGTPE"
_SLOTS = "slots"  # the member of a struct of libbpf-tools


class Bucket(NamedTuple):
    """``values``: how many are at least ``low`` and below ``high``."""

    low: int
    high: int
    values: int


class Histogram(tuple[Bucket, ...]):
    """The buckets from the first to the last that has a value; ``str()`` draws them."""

    __slots__ = ()

    @property
    def total(self) -> int:
        """How many values there are."""
        return sum(bucket.values for bucket in self)

    def __str__(self) -> str:
        most = max((bucket.values for bucket in self), default=0)
        return "".join(f"{_label(bucket):<16}{bucket.values:>8} |{_bar(bucket.values, most)}|\n" for bucket in self)


def histogram(value: Any, *, name: str, step: int = 0, first: int = 0) -> Histogram:
    """The histogram in a map or in one of its values: numbers by slot (a mapping or an array), those of each CPU added
    up, or a struct with an array of numbers in it. ``step``: values per slot of a linear one, whose slot 0 begins at
    ``first``; 0: logarithmic. ``BpfUsageError`` when it is nothing of the kind."""
    slots = _slots(value, name=name)
    full = [slot for slot, count in slots.items() if count]
    if not full:
        return Histogram()
    numbers = range(min(full), max(full) + 1)
    return Histogram(Bucket(*_bounds(slot, step=step, first=first), slots.get(slot, 0)) for slot in numbers)


def _bounds(slot: int, *, step: int, first: int) -> tuple[int, int]:
    if step:
        return first + slot * step, first + (slot + 1) * step
    return (1 << slot if slot else 0), 2 << slot


def _slots(value: Any, *, name: str) -> dict[int, int]:
    """Slot -> count."""
    if isinstance(value, Mapping) and all(isinstance(one, str) for one in value):
        arrays = {field: one for field, one in value.items() if isinstance(one, list | tuple)}
        found = arrays.get(_SLOTS) or (next(iter(arrays.values())) if len(arrays) == 1 else None)
        if found is None:
            raise _no_slots(name, f"a value has the fields {', '.join(value)}")
        return _slots(found, name=name)
    pairs: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else enumerate(value)
    return {_number(slot, name=name): _number(count, name=name) for slot, count in pairs}


def _number(value: Any, *, name: str) -> int:
    """A number, or the sum of those of each CPU."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, list | tuple) and value and all(isinstance(one, int) for one in value):
        return sum(value)
    raise _no_slots(name, f"it holds {value!r}")


def _no_slots(name: str, seen: str) -> BpfUsageError:
    return BpfUsageError(
        f"map {name!r} is no histogram: {seen}",
        hint="A histogram is a number per slot, or an array of them in a value: name its key, histogram(key).",
    )


def _label(bucket: Bucket) -> str:
    if bucket.high - bucket.low == 1:
        return f"[{bucket.low}]"
    return f"[{_short(bucket.low)}, {_short(bucket.high)})"


def _short(number: int) -> str:
    """``2048`` -> ``2K``, where that is exact."""
    unit = 0
    while number and not number % 1024 and unit < len(_UNITS) - 1:
        number, unit = number // 1024, unit + 1
    return f"{number}{_UNITS[unit].strip()}"


def _bar(count: int, most: int) -> str:
    return f"{'@' * (count * _BAR // most if most else 0):<{_BAR}}"
