"""bounded_loop.bpf.c and bpf_loop.bpf.c: two ways to loop, and what each costs the verifier."""

import pytest

from pytest_ebpf import XDP, Bpf, Eth


def test_bounded_loop_sums_the_payload(bpf: Bpf) -> None:
    obj = bpf.load("bounded_loop.bpf.o")
    assert obj["sum_payload"].run(Eth() / bytes(range(100))).retval == XDP.PASS
    assert obj.globals["sum"] == sum(range(100))
    assert obj.globals["steps"] == 100


def test_bounded_loop_ends_at_its_bound(bpf: Bpf) -> None:
    obj = bpf.load("bounded_loop.bpf.o")
    obj["sum_payload"].run(Eth() / bytes([1] * 500))
    assert obj.globals["sum"] == obj.globals["steps"] == 128


def test_the_verifier_walks_every_round_of_a_bounded_loop(bpf: Bpf) -> None:
    assert bpf.load("bounded_loop.bpf.o")["sum_payload"].figures["insns"] > 128


@pytest.mark.bpf_kernel(">=5.17")
@pytest.mark.parametrize("rounds", [0, 10, 100_000])
def test_bpf_loop_runs_as_often_as_configured(bpf: Bpf, rounds: int) -> None:
    obj = bpf.load("bpf_loop.bpf.o", globals={"rounds": rounds})
    assert obj["sum_up"].run(bytes(64)).retval == XDP.PASS
    assert obj.globals["done"] == rounds
    assert obj.globals["sum"] == sum(range(rounds))


@pytest.mark.bpf_kernel(">=5.17")
def test_the_callback_can_end_bpf_loop(bpf: Bpf) -> None:
    obj = bpf.load("bpf_loop.bpf.o", globals={"stop_at": 5})
    obj["sum_up"].run(bytes(64))
    assert obj.globals["done"] == 6
    assert obj.globals["sum"] == 0 + 1 + 2 + 3 + 4


@pytest.mark.bpf_kernel(">=5.17")
def test_the_verifier_walks_bpf_loop_once(bpf: Bpf) -> None:
    assert bpf.load("bpf_loop.bpf.o", globals={"rounds": 100_000})["sum_up"].figures["insns"] < 128
