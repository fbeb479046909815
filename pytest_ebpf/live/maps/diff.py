"""How a map differs from what a test expected, element by element and in values rather than hex."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from pytest_ebpf.agent.ops import Entries
from pytest_ebpf.btf.values import OverlappingFields
from pytest_ebpf.live.maps.codec import MapCodec
from pytest_ebpf.live.run.retvals import render_retval
from pytest_ebpf.live.run.test_run import RunResult

__all__ = ["DumpedMap", "explain_map", "explain_result", "is_snapshot", "map_differences", "value_differences"]

_MOST_SHOWN = 20


class DumpedMap(Protocol):
    """A map as far as it is compared."""

    @property
    def codec(self) -> MapCodec: ...
    def dump(self) -> Entries:
        """Every entry."""
        ...


def map_differences(map: DumpedMap, expected: Mapping[object, object]) -> list[str]:
    """One line per element that differs; empty when map and dict hold the same. One round trip."""
    codec = map.codec
    wanted = {codec.key(key): (key, value) for key, value in expected.items()}
    lines: list[str] = []
    for key, value in map.dump().pairs():
        shown = codec.show_key(key)
        if key not in wanted:
            if not (codec.kind.indexed and not any(value)):  # arrays are full of zeros that nobody lists
                lines.append(f"  {shown}: {codec.read(value)!r} is there, nothing was expected")
            continue
        _, expected_value = wanted.pop(key)
        if isinstance(expected_value, bytes) and expected_value == value:
            continue
        lines += (f"  {shown}{line}" for line in value_differences(codec.read(value), codec.by_name(expected_value)))
    lines += (f"  {key!r}: is missing, expected {value!r}" for key, value in wanted.values())
    return lines


def is_snapshot(other: object, access: str) -> bool:
    """Whether something that is no dict knows how to compare itself with what is in a map that can be listed."""
    return type(other).__module__ != "builtins" and access == "keyed"


def value_differences(got: object, expected: object) -> Iterator[str]:
    """``.field: 1, expected 2`` for every leaf that differs. Dicts are compared field by field (every field, of those
    that share bytes the ones that are expected)."""
    if isinstance(got, Mapping) and isinstance(expected, Mapping):
        for name in dict.fromkeys((*got, *expected)):
            if name not in expected:
                if isinstance(got, OverlappingFields) and got.stands_for(name, expected):
                    continue
                yield f".{name}: {got[name]!r}, not mentioned in what was expected"
            elif name not in got:
                yield f".{name}: there is no such field, expected {expected[name]!r}"
            else:
                yield from (f".{name}{line}" for line in value_differences(got[name], expected[name]))
    elif isinstance(got, list) and isinstance(expected, list | tuple) and len(got) == len(expected):
        for index, (one, other) in enumerate(zip(got, expected, strict=True)):
            yield from (f"[{index}]{line}" for line in value_differences(one, other))
    elif got != expected:
        yield f": {got!r}, expected {expected!r}"


def explain_map(map: DumpedMap, expected: Mapping[object, object]) -> list[str]:
    """Lines for pytest's assertion report."""
    lines = map_differences(map, expected)
    if not lines:
        return [f"{map!r} was not equal, and is now: a program is still writing to it"]
    rest = [f"  ... and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
    return [f"{map!r} does not hold what was expected", *lines[:_MOST_SHOWN], *rest]


def explain_result(got: RunResult, expected: RunResult) -> list[str]:
    """Lines for pytest's assertion report: what differs between two runs."""
    lines = ["the runs differ"]
    if got.retval != expected.retval:
        lines.append(f"  retval: {render_retval(got.retval)}, expected {render_retval(expected.retval)}")
    if got.data != expected.data:
        lines.append(f"  data: {got.data.hex(' ', 4)}, expected {expected.data.hex(' ', 4)}")
    if got.ctx != expected.ctx:
        lines += (f"  ctx{line}" for line in value_differences(got.ctx, expected.ctx))
    return lines
