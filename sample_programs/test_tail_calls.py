"""tail_calls.bpf.c: a program array, filled by the loader and by the test."""

import pytest

from pytest_ebpf import XDP, Bpf, Eth


@pytest.mark.parametrize(("kind", "verdict"), [(0, XDP.DROP), (1, XDP.TX)], ids=["drop", "bounce"])
def test_slots_filled_in_c(bpf: Bpf, kind: int, verdict: int) -> None:
    dispatch = bpf.load("tail_calls.bpf.o")["dispatch"]
    assert dispatch.run(Eth() / bytes([kind])).retval == verdict


@pytest.mark.parametrize("kind", [2, 3, 255])
def test_an_empty_slot_falls_through(bpf: Bpf, kind: int) -> None:
    dispatch = bpf.load("tail_calls.bpf.o")["dispatch"]
    assert dispatch.run(Eth() / bytes([kind])).retval == XDP.PASS


def test_slots_change_while_it_runs(bpf: Bpf) -> None:
    obj = bpf.load("tail_calls.bpf.o")
    obj.maps["handlers"][2] = obj["handle_redirect"]
    assert obj["dispatch"].run(Eth() / b"\2").retval == XDP.REDIRECT
    del obj.maps["handlers"][2]
    assert obj["dispatch"].run(Eth() / b"\2").retval == XDP.PASS
