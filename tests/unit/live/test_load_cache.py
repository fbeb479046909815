"""What is kept between loads is found again for the same bytes, kernel and options, and for nothing else."""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf.agent.ops import MapSet, ProgLoad
from pytest_ebpf.live.load_cache import LoadCache, content_of
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.plan.options import ProgramOverride
from support.paths import ROOT

OBJECTS = ROOT / "sample_programs" / "built"
Target = Callable[..., Any]


def loaded(target: Any, *, cache: LoadCache, path: Path = OBJECTS / "config.bpf.o", **options: Any) -> ProgLoad:
    """The operation that loads the first program."""
    before = len(target.kernel.batches)
    Bpf(target, cache=cache).load(path, **options)
    ops = [getattr(op, "op", op) for batch in target.kernel.batches[before:] for op in batch]
    return next(op for op in ops if isinstance(op, ProgLoad))


def values(target: Any) -> list[Any]:
    """What the last load wrote into maps."""
    flat = [getattr(op, "op", op) for op in target.kernel.batches[-1]]
    return [op.value for op in flat if isinstance(op, MapSet)]


def test_a_rebuilt_object_misses_the_cache(target_on: Target, tmp_path: Path) -> None:
    target, cache, path = target_on(), LoadCache(), tmp_path / "a.bpf.o"
    shutil.copy(OBJECTS / "config.bpf.o", path)
    first = loaded(target, cache=cache, path=path)
    assert loaded(target, cache=cache, path=path).insns is first.insns
    shutil.copy(OBJECTS / "xdp_decap.bpf.o", path)
    assert loaded(target, cache=cache, path=path).insns not in (first.insns, b"")


def test_one_changed_byte_misses_the_cache(target_on: Target, tmp_path: Path) -> None:
    """As an object of the same size and age."""
    target, cache, path = target_on(), LoadCache(), tmp_path / "a.bpf.o"
    data = (OBJECTS / "xdp_decap.bpf.o").read_bytes()
    path.write_bytes(data)
    first = loaded(target, cache=cache, path=path)
    at = data.index(first.insns[:8])
    path.write_bytes(data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :])
    assert loaded(target, cache=cache, path=path).insns[0] == first.insns[0] ^ 8


def test_another_kernel_misses_the_cache(target_on: Target) -> None:
    cache, target = LoadCache(), target_on()
    first = loaded(target, cache=cache)
    assert loaded(target, cache=cache).insns is first.insns
    assert loaded(target_on(), cache=cache).insns is not first.insns


@pytest.mark.parametrize(
    "options",
    [
        {"globals": {"budget": 5}},
        {"license": "Proprietary"},
        {"log_level": 2},
        {"maps": {"limits": 3}},
        {"only": "police"},
        {"programs": {"police": "tcx/ingress"}},
        {"pin_path": "/sys/fs/bpf/x"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_changed_options_miss_the_cache(target_on: Target, options: Mapping[str, Any]) -> None:
    target, cache = target_on(), LoadCache()
    first = loaded(target, cache=cache)
    if "maps" in options:  # the object has no map of that name to change: another one has
        path = OBJECTS / "xdp_firewall.bpf.o"
        first = loaded(target, cache=cache, path=path)
        assert loaded(target, cache=cache, path=path, maps={"blocked": 3}).insns is not first.insns
        return
    changed = loaded(target, cache=cache, **options)
    assert changed.insns is not first.insns
    assert loaded(target, cache=cache, **options).insns is changed.insns


def test_a_value_that_was_written_to_misses_the_cache(target_on: Target) -> None:
    """A view of a buffer looks the same before and after."""
    target, cache, value = target_on(), LoadCache(), bytearray(8)
    view = memoryview(value)
    loaded(target, cache=cache, globals={"budget": view})
    before = values(target)
    value[0] = 7
    loaded(target, cache=cache, globals={"budget": view})
    assert values(target) != before


class Colour(enum.IntEnum):
    RED = 1


class Unknown:
    pass


class Table(Mapping[str, int]):
    """A mapping whose words say nothing about what it holds."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __getitem__(self, name: str) -> int:
        return self.value

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


ALIKE = [1, True, 1.0, "1", b"1", Colour.RED, None, 0, 0.0, -0.0, [1], (1,), {"a": 1}, Table(1), Table(2), [[1], 1]]


def test_values_that_are_equal_but_not_the_same_have_different_keys() -> None:
    keys = [content_of(value) for value in ALIKE]
    assert len(set(keys)) == len(ALIKE)
    assert keys == [content_of(value) for value in ALIKE]


def test_what_nothing_is_known_of_is_never_found_again() -> None:
    for value in (Unknown(), ctypes.c_uint(3)):
        assert content_of(value) != content_of(value)


def test_options_of_programs_are_compared_by_each_field() -> None:
    given = ProgramOverride(section="xdp", autoload=True)
    assert content_of(given) == content_of(dataclasses.replace(given))
    for field, other in (("section", "tc"), ("autoload", False), ("target", "f"), ("type", 1)):
        assert content_of(given) != content_of(dataclasses.replace(given, **{field: other}))


def test_each_line_signs_what_it_loads(target_on: Target) -> None:
    """Though the operations of the line before are kept."""
    target, cache, sites = target_on(), LoadCache(), []
    for line in range(3):
        bpf = Bpf(target, cache=cache)
        if line == 1:
            bpf.load(OBJECTS / "config.bpf.o")
        else:
            bpf.load(OBJECTS / "config.bpf.o")
        flat = [getattr(op, "op", op) for op in target.kernel.batches[-1]]
        assert len({op.site for op in flat if hasattr(op, "site")}) == 1
        sites.append(next(op for op in flat if isinstance(op, ProgLoad)).site)
    assert sites[0] == sites[2] != sites[1]
    assert all(site.startswith("test_load_cache.py:") for site in sites)


def test_bytes_are_compared_before_they_are_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of each file; a large one is hashed each time, for its bytes are not kept."""
    cache, data = LoadCache(), (OBJECTS / "config.bpf.o").read_bytes()
    first = cache.object(data, name="a.o")
    other = cache.object(data + b"\0", name="a.o")
    assert other is not first
    assert cache.object(bytes(bytearray(data)), name="a.o") is first
    assert cache.object(data, name="b.o") is not first
    monkeypatch.setattr("pytest_ebpf.live.load_cache._SMALL", 100)
    large = LoadCache()
    assert large.object(data, name="a.o") is large.object(data, name="a.o")
    assert not large._last
