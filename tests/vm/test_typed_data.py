"""Typed data through everything that carries it, there and back, on the oldest kernel and on the newest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pytest_ebpf import XDP, Bpf, BpfUsageError
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from support.guests import images
from support.paths import TESTS

pytestmark = pytest.mark.slow

OBJECT = TESTS / "data" / "types" / "roundtrip.o"
KEY = {"id": 7, "name": "seven"}
VALUE: dict[str, Any] = {
    "count": 1 << 40,
    "points": [{"x": -5, "y": 6}, {"x": 7, "y": -8}],
    "whole": 0x04030201,
    "parts": b"\1\2\3\4",
    "low": 5,
    "high": -100,
    "color": 5,
    "text": "zwölf",
    "on": True,
    "weight": -0.125,
}


@pytest.fixture(scope="module", params=["oldest", "newest"])
def kernel(request: pytest.FixtureRequest) -> Iterator[tuple[KernelPool, str]]:
    found = images()
    pool = KernelPool(PoolConfig())
    yield pool, (found[0] if request.param == "oldest" else found[-1]).spec
    pool.close()


@pytest.fixture
def bpf(kernel: tuple[KernelPool, str]) -> Iterator[Bpf]:
    pool, spec = kernel
    loader = Bpf(pool.get(spec))
    yield loader
    loader.close()


def test_a_map_a_global_and_a_record(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT, globals={"wanted": KEY})
    assert obj.globals["wanted"] == KEY
    assert obj["copy"].run(bytes(64)).retval is XDP.DROP
    obj.maps["table"][KEY] = VALUE
    assert obj.maps["table"] == {(7, "seven"): VALUE}
    assert obj.maps["table"].items() == [(KEY, VALUE)]
    assert obj["copy"].run(bytes(64)).retval is XDP.PASS
    assert obj.globals["seen"] == VALUE
    assert obj.maps["table"][7, "seven"]["color"].name == "GREEN"
    (record,) = obj.maps["ring"].events(timeout=1)
    assert record == {"length": 5, "value": VALUE, "rest": "hello"}


def test_a_record_of_a_type_that_is_asked_for(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT)
    obj.maps["table"][{"id": 1, "name": "one"}] = VALUE
    assert obj["copy"].run(bytes(64)).retval is XDP.PASS
    assert obj["copy"].run(bytes(64)).retval is XDP.PASS
    assert obj.maps["ring"].expect({"length": 5}, type="struct record")["value"] == VALUE
    assert obj.maps["ring"].events(timeout=1, type="unsigned int") == [5]


def test_a_global_set_between_two_runs(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT)
    obj.globals["seen"] = {"text": "before", "color": "BLUE", "high": 12}
    seen = obj.globals["seen"]
    assert (seen["text"], seen["color"].name, seen["high"], seen["count"]) == ("before", "BLUE", 12, 0)
    with pytest.raises(ValueError, match=r"global 'seen': struct value: points\[0\]\.x: 40000 does not fit short"):
        obj.globals["seen"] = {"points": [{"x": 40000}]}
    with pytest.raises(BpfUsageError, match="constant"):
        obj.globals["wanted"] = KEY


def test_a_context(bpf: Bpf, kernel: tuple[KernelPool, str]) -> None:
    if kernel[1] == images()[0].spec:
        return  # SYSCALL programs came with 5.14
    obj = bpf.load(OBJECT, only="change")
    result = obj["change"].run(ctx=VALUE)
    changed = VALUE | {"count": VALUE["count"] + 1, "points": [VALUE["points"][0], {"x": 7, "y": -5}]}
    assert result.ctx == changed | {"high": -7, "color": 6, "on": True}
    assert result.retval == VALUE["low"]
