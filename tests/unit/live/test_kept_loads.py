"""What one process made of an object is found by the next for the same bytes, code, kernel and options, and for nothing
else; a file that is damaged, foreign or hostile is none."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from pytest_ebpf import kept_loads
from pytest_ebpf.agent.ops import MapSet, ProgLoad
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.frozen import fields, is_dataclass, replace
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.load_plan import LoadOptions, plan_load
from support.paths import ROOT

OBJECTS = ROOT / "sample_programs" / "built"
SAMPLES = sorted([*OBJECTS.glob("*.bpf.o"), *(ROOT / "sample_programs" / "aya" / "built").glob("*.o")])
Target = Callable[..., Any]


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The objects that were parsed ("parse") and planned ("plan"), as it happens."""
    happened: list[str] = []

    def parse(data: bytes, *, name: str) -> ObjectFile:
        happened.append("parse")
        return parse_object(data, name=name)

    def plan(obj: ObjectFile, facts: Facts, **options: Any) -> Any:
        happened.append("plan")
        return plan_load(obj, facts, **options)

    monkeypatch.setattr("pytest_ebpf.live.load_cache.parse_object", parse)
    monkeypatch.setattr("pytest_ebpf.live.load_cache.plan_load", plan)
    return happened


def load(target: Any, folder: Path, path: Path = OBJECTS / "config.bpf.o", **options: Any) -> list[Any]:
    """The operations of a load in a process of its own."""
    cache = LoadCache(folder)
    before = len(target.kernel.batches)
    Bpf(target, cache=cache).load(path, **options)
    cache.save()
    return [getattr(op, "op", op) for batch in target.kernel.batches[before:] for op in batch]


def alike(value: Any, other: Any) -> bool:
    """Equality that looks into types, which are compared by identity elsewhere."""
    if isinstance(value, Btf):
        return isinstance(other, Btf) and value.data == other.data
    if is_dataclass(value):
        return type(value) is type(other) and all(
            alike(getattr(value, one.name), getattr(other, one.name)) for one in fields(value)
        )
    if isinstance(value, tuple | list):
        same = type(value) is type(other) and len(value) == len(other)
        return same and all(map(alike, value, other))
    if isinstance(value, Mapping):
        return value.keys() == other.keys() and all(alike(value[key], other[key]) for key in value)
    return type(value) is type(other) and bool(value == other)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_comes_back_as_it_was(path: Path, tmp_path: Path, target_on: Target) -> None:
    """A plan that says what this kernel cannot do is made anew: those of some samples want the kernel's types."""
    facts, data = target_on().facts(), path.read_bytes()
    made = []
    for cache in (LoadCache(tmp_path), LoadCache(tmp_path)):
        obj = cache.object(data, name=str(path))
        made.append((obj, cache.plan(obj, facts, options=LoadOptions())))
        cache.save()
    (obj, plan), (other, again) = made
    assert other is not obj
    assert alike(other, obj)
    assert again is not plan
    if not plan.problems and not plan.lost:
        assert alike(again, plan)
        assert (again.obj is other) == (plan.obj is obj)


def test_the_next_process_neither_parses_nor_plans(tmp_path: Path, target_on: Target, planned: list[str]) -> None:
    first = load(target_on(), tmp_path)
    assert planned == ["parse", "plan"]
    again = load(target_on(), tmp_path)
    assert planned == ["parse", "plan"]
    assert [replace(op, site="") for op in again if isinstance(op, ProgLoad)] == [
        replace(op, site="") for op in first if isinstance(op, ProgLoad)
    ]
    assert [op.value for op in again if isinstance(op, MapSet)] == [op.value for op in first if isinstance(op, MapSet)]


def test_a_rebuilt_object_finds_nothing(tmp_path: Path, target_on: Target, planned: list[str]) -> None:
    path = tmp_path / "a.bpf.o"
    data = (OBJECTS / "xdp_decap.bpf.o").read_bytes()
    path.write_bytes(data)
    insns = next(op.insns for op in load(target_on(), tmp_path / "kept", path) if isinstance(op, ProgLoad))
    at = data.index(insns[:8])
    path.write_bytes(data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :])
    changed = next(op.insns for op in load(target_on(), tmp_path / "kept", path) if isinstance(op, ProgLoad))
    assert changed[0] == insns[0] ^ 8
    assert planned == ["parse", "plan"] * 2


def test_another_name_finds_nothing(tmp_path: Path, target_on: Target, planned: list[str]) -> None:
    """Messages name the file."""
    shutil.copy(OBJECTS / "config.bpf.o", tmp_path / "other.o")
    load(target_on(), tmp_path / "kept")
    load(target_on(), tmp_path / "kept", tmp_path / "other.o")
    assert planned == ["parse", "plan"] * 2


TYPES = parse_object((OBJECTS / "config.bpf.o").read_bytes(), name="x").btf_raw
OTHER = parse_object((OBJECTS / "xdp_decap.bpf.o").read_bytes(), name="x").btf_raw


@pytest.mark.parametrize(
    "change",
    [
        {"btf": parse_btf(OTHER)},
        {"btf": None},
        {"core_btf": parse_btf(OTHER)},
        {"btf_features": frozenset({"btf"})},
        {"modules": {"nf": parse_btf(OTHER)}},
        {"modules": {"nf": parse_btf(TYPES)}},
        {"kallsyms": "ffffffff81000000 T a\n" * 100},
        {"kallsyms": "ffffffff82000000 T a\n" * 100},
        {"kconfig": "CONFIG_HZ=250\n"},
        {"names": False},
        {"data": {"arg_ctx": False}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_facts_of_a_kernel_find_nothing(
    change: dict[str, Any], tmp_path: Path, target_on: Target, planned: list[str]
) -> None:
    base = replace(target_on().facts(), btf=parse_btf(TYPES))
    for facts in (base, replace(base, **change), replace(base, described=replace(base.described, release="5.0"))):
        cache = LoadCache(tmp_path)
        obj = cache.object((OBJECTS / "config.bpf.o").read_bytes(), name="config.bpf.o")
        cache.plan(obj, facts, options=LoadOptions())
        cache.save()
    assert planned == ["parse", "plan", "plan", "plan"]


def test_each_field_of_a_description_but_those_of_one_boot_is_part_of_the_key(target_on: Target) -> None:
    base = target_on().facts()
    keeper, seen = kept_loads.KeptLoads(Path("/nowhere")), set()
    for one in fields(base.described):
        old = getattr(base.described, one.name)
        new = old + "x" if isinstance(old, str) else old + 1
        key = keeper.key_of(replace(base, described=replace(base.described, **{one.name: new})), ())
        if key == keeper.key_of(base, ()):
            seen.add(one.name)
    assert seen == {"boot", "cmdline", "python"}


def test_the_same_kernel_after_another_boot_finds_its_plan(
    tmp_path: Path, target_on: Target, planned: list[str]
) -> None:
    target = target_on()
    load(target, tmp_path)
    booted = replace(target.known, described=replace(target.known.described, boot="another"))
    load(replace(target, known=booted), tmp_path)
    assert planned == ["parse", "plan"]


@pytest.mark.parametrize(
    "options",
    [{"globals": {"budget": 5}}, {"license": "Proprietary"}, {"log_level": 2}, {"only": "police"}],
    ids=lambda options: next(iter(options)),
)
def test_changed_options_find_nothing_and_are_kept_beside(
    options: Mapping[str, Any], tmp_path: Path, target_on: Target, planned: list[str]
) -> None:
    load(target_on(), tmp_path)
    load(target_on(), tmp_path, **options)
    assert planned == ["parse", "plan", "plan"]
    load(target_on(), tmp_path, **options)
    load(target_on(), tmp_path)
    assert planned == ["parse", "plan", "plan"]


def test_another_version_of_the_code_finds_nothing(
    tmp_path: Path, target_on: Target, planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(target_on(), tmp_path)
    monkeypatch.setattr(kept_loads, "_code", lambda: "another")
    load(target_on(), tmp_path)
    assert planned == ["parse", "plan"] * 2
    monkeypatch.setattr(kept_loads, "_code", lambda: "")  # in no files: nothing is kept
    files = len(list(tmp_path.iterdir()))
    load(target_on(), tmp_path)
    assert len(list(tmp_path.iterdir())) == files


def test_the_version_of_the_code_follows_each_file_that_makes_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "pytest_ebpf"
    shutil.copytree(ROOT / "pytest_ebpf", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kept_loads, "__file__", str(copy / "kept_loads.py"))
    seen = {kept_loads._code.__wrapped__()}
    for name in ("plan/sanitise.py", "obj/elf.py", "btf/parse.py", "uapi/enums.py", "agent/ops/maps.py", "frozen.py"):
        os.utime(copy / name, ns=(1, 1))
        seen.add(kept_loads._code.__wrapped__())
    assert len(seen) == 7


def test_a_map_of_this_process_is_of_no_use_to_others(tmp_path: Path, target_on: Target, planned: list[str]) -> None:
    target, path = target_on(), OBJECTS / "xdp_firewall.bpf.o"
    given = Bpf(target).load(path).maps["blocked"]
    assert load(target, tmp_path, path, maps={"blocked": given})
    (file,) = tmp_path.iterdir()
    assert kept_loads._read(str(file))[2] == {}


def test_a_damaged_file_is_none(tmp_path: Path, target_on: Target, planned: list[str]) -> None:
    load(target_on(), tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for at in range(0, len(whole), 97):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        assert kept_loads.KeptLoads(tmp_path)._kept == {}
        with pytest.raises(EOFError):
            kept_loads._read(str(file))
    for size in (0, 3, 4, 5, len(whole) - 1):
        file.write_bytes(whole[:size])
        load(target_on(), tmp_path)
        assert file.read_bytes() == whole
    assert planned == ["parse", "plan"] * 6


@pytest.mark.parametrize("call", [os.system, eval, print, shutil.rmtree], ids=["system", "eval", "print", "rmtree"])
def test_a_file_cannot_call_what_is_no_class_of_ours(call: Any, tmp_path: Path, target_on: Target) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return call, ("echo hello",)

    body = pickle.dumps(Hostile())
    path = tmp_path / "x"
    path.write_bytes(crc32(body).to_bytes(4, "little") + body)
    with pytest.raises(pickle.UnpicklingError):
        kept_loads._read(str(path))


def test_a_file_of_another_user_is_not_read(
    tmp_path: Path, target_on: Target, planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(target_on(), tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    load(target_on(), tmp_path)
    assert planned == ["parse", "plan"] * 2


def test_a_folder_that_cannot_be_written_to_costs_nothing(tmp_path: Path, target_on: Target) -> None:
    (tmp_path / "file").write_text("")
    assert load(target_on(), tmp_path / "file" / "kept")


def test_the_oldest_files_are_removed(tmp_path: Path, target_on: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_loads, "KEPT", 2)
    for age, path in enumerate(SAMPLES[:4]):
        for old in tmp_path.iterdir():
            os.utime(old, (age, age))
        cache = LoadCache(tmp_path)
        cache.object(path.read_bytes(), name=path.name)
        cache.save()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_load_that_finds_everything_writes_nothing(tmp_path: Path, target_on: Target) -> None:
    load(target_on(), tmp_path)
    (file,) = tmp_path.iterdir()
    os.utime(file, (1, 1))
    load(target_on(), tmp_path)
    assert file.stat().st_mtime == 1
