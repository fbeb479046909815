"""A list whose items are made later behaves as the list it will be, whatever is done first."""

from __future__ import annotations

import copy
import json
import operator
import pickle
import pprint
from collections.abc import Callable
from typing import Any

import pytest

from pytest_ebpf.live.run.later import LaterList, MadeList

LOOKS: list[Callable[[list[int]], Any]] = [
    lambda given: (len(given), bool(given), given[0], given[-1], given[1:], given[::-1]),
    lambda given: (repr(given), str(given), f"{given}", pprint.pformat(given), json.dumps(given)),
    lambda given: (given == [3, 1, 2], given == [3, 1, 2], given != [3], given < [4], given < [4], given == (3, 1, 2)),
    lambda given: (
        [*given],
        tuple(given),
        sorted(given),
        max(given),
        list(reversed(given)),
        list(zip(given, given, strict=True)),
    ),
    lambda given: (3 in given, given.index(2), given.count(1), bytes(given), (lambda *all: all)(*given)),
    lambda given: operator.add(given, [4]),
    lambda given: operator.add([4], given),  # the list on the left would take the items without asking
    lambda given: (given * 2, given.copy()),
    lambda given: 2 * given,
    lambda given: (copy.copy(given), copy.deepcopy(given), pickle.loads(pickle.dumps(given))),
    lambda given: (given.append(4), given),
    lambda given: (given.pop(), given),
    lambda given: (given.sort(), given),
    lambda given: (given.clear(), given, len(given)),
    lambda given: (given.__delitem__(0), given, len(given)),
    lambda given: (given.__setitem__(0, 9), given),
    lambda given: given.__iadd__([4]),
]


def unpacked(given: list[int]) -> int:
    match given:
        case [_, _, last]:
            return last
    raise AssertionError(given)


@pytest.mark.parametrize("look", [*LOOKS, unpacked])
def test_15_the_first_look_sees_a_list(look: Callable[[list[int]], Any]) -> None:
    assert look(LaterList(lambda: [3, 1, 2], count=3)) == look([3, 1, 2])


def test_15_items_are_made_at_the_first_look_and_never_again() -> None:
    made: list[int] = []

    def make() -> list[object]:
        made.append(1)
        return [object(), object()]

    later = LaterList(make, count=2)
    assert isinstance(later, list)
    assert (len(later), bool(later), made) == (2, True, [])
    first = later[0]
    assert first is later[0]
    assert next(iter(later)) is first
    assert (made, type(later)) == ([1], MadeList)


def test_15_it_goes_into_other_lists() -> None:
    other = [0]
    other += LaterList(lambda: [1, 2], count=2)
    other[0:0] = LaterList(lambda: [8, 9], count=2)
    assert other == [8, 9, 0, 1, 2]


def test_15_it_has_no_hash_as_lists_have_none() -> None:
    with pytest.raises(TypeError):
        hash(LaterList(lambda: [1], count=1))
