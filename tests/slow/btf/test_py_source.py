"""Python classes made from random BTF, run and compared with what the decoder makes of the same bytes."""

from __future__ import annotations

import random

import pytest

from pytest_ebpf.btf.codec import decode
from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.btf.types import Struct
from support.made_classes import check_places, run_classes
from support.random_structs import random_structs

each_order = pytest.mark.parametrize("byteorder", ["little", "big"])


@each_order
@pytest.mark.parametrize("seed", range(4))
def test_every_field_is_where_btf_says(byteorder: str, seed: int) -> None:
    btf = parse_btf(random_structs(random.Random(seed), byteorder=byteorder).build())
    assert check_places(btf, run_classes(btf)) > 300


@each_order
@pytest.mark.parametrize("seed", range(4))
def test_numbers_and_bitfields_read_as_the_decoder_reads_them(byteorder: str, seed: int) -> None:
    rng = random.Random(seed)
    btf = parse_btf(random_structs(rng, byteorder=byteorder).build())
    made = run_classes(btf)
    compared = 0
    for type_id, found in btf:
        if not isinstance(found, Struct) or not found.name or found.is_union:
            continue
        data = rng.randbytes(found.size)
        value, wanted = made[found.name].from_buffer_copy(data), decode(btf, type_id, data=data)
        again = made[found.name]()
        for name, number in wanted.items():
            if isinstance(number, int) and isinstance(seen := getattr(value, name, None), int):
                assert seen == number, (found.name, name)
                setattr(again, name, number)
                assert getattr(again, name) == number
                compared += 1
        for name in wanted:  # setting one leaves the others alone
            if isinstance(seen := getattr(value, name, None), int):
                assert getattr(again, name) == seen
    assert compared > 200
