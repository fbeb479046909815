from __future__ import annotations

import pytest

from pytest_ebpf.agent.ops import Handle, Ref
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.plan.map_definitions import adjust_map, apply_overrides, create_op, kernel_name
from support.plan_facts import an_object, facts

HASH, ARRAY, PROG_ARRAY, PERF, HASH_OF_MAPS, RINGBUF, QUEUE, BLOOM = 1, 2, 3, 4, 13, 27, 22, 30


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 0), (1, 4096), (4096, 4096), (4097, 8192), (20000, 32768), (262144, 262144)]
)
def test_a_ring_is_a_power_of_two_of_pages(asked: int, given: int) -> None:
    ring = adjust_map(MapDef("r", RINGBUF, 4, 4, asked, value_type=7), facts())
    assert (ring.max_entries, ring.key_size, ring.value_size) == (given, 0, 0)
    assert (ring.value_type, create_op(ring, btf=Ref(0)).btf_value) == (7, 0)  # of its records; not for the kernel


def test_a_ring_on_a_machine_with_large_pages() -> None:
    assert adjust_map(MapDef("r", RINGBUF, max_entries=4096), facts(page_size=65536)).max_entries == 65536


def test_a_perf_array_is_as_long_as_there_are_cpus() -> None:
    assert adjust_map(MapDef("p", PERF, 4, 4, 0), facts()).max_entries == 3
    assert adjust_map(MapDef("p", PERF, 4, 4, 8), facts()).max_entries == 8


def test_a_perf_array_may_declare_its_records() -> None:
    adjusted = adjust_map(MapDef("p", PERF, 0, 16, 1, value_type=5), facts())
    assert (adjusted.key_size, adjusted.value_size, adjusted.value_type) == (4, 4, 5)


def test_maps_of_maps_hold_file_descriptors() -> None:
    adjusted = adjust_map(MapDef("m", HASH_OF_MAPS, 8, 0, 4), facts())
    assert (adjusted.key_size, adjusted.value_size) == (8, 4)


def test_an_ordinary_map_stays_as_declared() -> None:
    definition = MapDef("h", HASH, 4, 8, 100, flags=1)
    assert adjust_map(definition, facts()) is definition


def test_types_go_where_the_kernel_takes_them() -> None:
    btf = Ref(0)
    typed = create_op(MapDef("h", HASH, 4, 8, 1, key_type=3, value_type=4), btf=btf)
    assert (typed.btf, typed.btf_key, typed.btf_value) == (btf, 3, 4)
    for type_ in (PROG_ARRAY, PERF, QUEUE, HASH_OF_MAPS):
        op = create_op(MapDef("h", type_, 4, 4, 1, key_type=3, value_type=4), btf=btf)
        assert (op.btf, op.btf_key, op.btf_value) == (None, 0, 0)
    assert create_op(MapDef("b", BLOOM, 0, 4, 1, value_type=4), btf=btf).btf_value == 4
    assert create_op(MapDef("h", HASH, 4, 4, 1, value_type=4), btf=btf).btf is None  # a hash needs both
    assert create_op(MapDef("h", HASH, 4, 8, 1, key_type=3, value_type=4), btf=None).btf_value == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("events", "events"), ("a_name_of_20_letters", "a_name_of_20_le"), ("my-map/1", "my_map_1"), ("é", "_")],
)
def test_names_for_the_kernel(name: str, expected: str) -> None:
    assert kernel_name(name) == expected


OBJ = an_object(maps=(MapDef("flows", HASH, 4, 8, 100), MapDef("stats", ARRAY, 4, 8, 1)))


def test_overriding_a_size_a_field_and_a_whole_map() -> None:
    handle = Handle(7, "b", "map")
    found = apply_overrides(OBJ, {"flows": 5})
    assert [m.max_entries for m in found.maps] == [5, 1]
    found = apply_overrides(OBJ, {"flows": {"max_entries": 9, "flags": 64}, "stats": handle})
    assert (found.maps[0].max_entries, found.maps[0].flags) == (9, 64)
    assert found.reused == {"stats": handle}


def test_what_cannot_be_overridden_is_named() -> None:
    with pytest.raises(ObjectError, match=r"no map 'flow' to override\ndid you mean flows\?"):
        apply_overrides(OBJ, {"flow": 5})
    with pytest.raises(ObjectError, match="map 'flows' has no 'colour' to override"):
        apply_overrides(OBJ, {"flows": {"colour": 5}})
