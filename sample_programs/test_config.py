"""config.bpf.c: what is set before loading and what can change afterwards."""

import pytest

from pytest_ebpf import XDP, Bpf
from pytest_ebpf.errors import BpfUsageError

FRAME = bytes(100)


def test_values_from_c(bpf: Bpf) -> None:
    obj = bpf.load("config.bpf.o")
    assert obj.globals["limits"] == {"smallest": 64, "largest": 1500}
    assert obj.globals["label"] == "samples"
    assert obj.globals["budget"] == 3


def test_constants_are_set_before_loading(bpf: Bpf) -> None:
    obj = bpf.load("config.bpf.o", globals={"limits": {"smallest": 101, "largest": 200}, "strict": True})
    assert obj["police"].run(FRAME).retval == XDP.ABORTED
    assert obj["police"].run(bytes(101)).retval == XDP.PASS


def test_variables_can_be_set_before_and_after(bpf: Bpf) -> None:
    obj = bpf.load("config.bpf.o", globals={"budget": 1})
    assert [obj["police"].run(FRAME).retval for _ in range(2)] == [XDP.PASS, XDP.DROP]
    obj.globals["budget"] = 1
    assert obj["police"].run(FRAME).retval == XDP.PASS
    assert (obj.globals["accepted"], obj.globals["refused"], obj.globals["last_size"]) == (2, 1, 100)


def test_each_load_starts_afresh(bpf: Bpf) -> None:
    bpf.load("config.bpf.o")["police"].run(FRAME)
    assert bpf.load("config.bpf.o").globals["accepted"] == 0


def test_a_constant_cannot_change_any_more(bpf: Bpf) -> None:
    obj = bpf.load("config.bpf.o")
    with pytest.raises(BpfUsageError, match="'strict' is a constant"):
        obj.globals["strict"] = True
    assert not obj.globals["strict"]


def test_the_verifier_uses_the_constants(bpf: Bpf) -> None:
    """Known constants make branches dead, and dead code costs nothing."""
    walk = bpf.load("config.bpf.o", globals={"limits": {"smallest": 0, "largest": 0xFFFFFFFF}})["police"]
    assert walk.figures["insns"] < bpf.load("config.bpf.o")["police"].figures["insns"]


def test_the_bounds_are_allowed(bpf: Bpf) -> None:
    obj = bpf.load("config.bpf.o")
    assert [obj["police"].run(bytes(size)).retval for size in (63, 64, 1500, 1501)] == [
        *(XDP.DROP, XDP.PASS),
        *(XDP.PASS, XDP.DROP),
    ]
