"""Doubles, calls and faults on a kernel: the host, unless kernels are named. ``doubles.bpf.o`` has the calls."""

from __future__ import annotations

import errno
from unittest.mock import ANY

import pytest

from pytest_ebpf import XDP, Bpf, BpfObject, BpfUsageError, Eth, ObjectError, PlanError
from support.paths import ROOT

BUILT = ROOT / "tests/objects/built"
OBJECT, FAKES, KFUNCS = (str(BUILT / f"{name}.bpf.o") for name in ("doubles", "doubles_fakes", "doubles_kfuncs"))
PACKET = bytes(Eth() / (b"x" * 30))
SHORT = bytes(Eth() / b"1234")


@pytest.fixture
def outside(bpf: Bpf) -> dict[str, object]:
    """Doubles of everything that ``values`` asks for: helpers that are not for XDP, and that old kernels lack."""
    return {
        **bpf.frozen_clock(5_000_000_000),
        **bpf.seeded_random(3),
        "bpf_get_current_cgroup_id": 9,
        "bpf_get_socket_cookie": [4, 5],
        "bpf_xdp_get_buff_len": bpf.fake(77),
    }


def test_what_no_kernel_would_load_runs_with_doubles(bpf: Bpf, outside: dict[str, object]) -> None:
    with bpf.rejects():
        bpf.load(OBJECT, only="values")
    obj = bpf.load(OBJECT, only="values", doubles=outside)
    assert obj["values"].run(PACKET).retval == XDP.PASS
    values = list(obj.globals["value"])
    assert values[:5] == [5_000_000_000] * 4 + [1250]  # the last one in jiffies of 4 ms
    assert values[7:10] == [9, 4, 77]
    assert obj.doubles["bpf_get_socket_cookie"].used == 1
    again = bpf.load(OBJECT, only="values", doubles=outside)
    again["values"].run(PACKET)
    assert list(again.globals["value"])[5:7] == values[5:7], "random numbers follow from the seed"
    assert values[5] != values[6]


def test_a_clock_moves_when_the_test_moves_it(bpf: Bpf, outside: dict[str, object]) -> None:
    obj = bpf.load(OBJECT, only="values", doubles=outside)
    obj.doubles["bpf_ktime_get_ns"].value += 1e9
    obj["values"].run(PACKET)
    assert list(obj.globals["value"])[:5] == [6_000_000_000] * 4 + [1500]


def test_a_constant_becomes_a_value_that_changes(bpf: Bpf, outside: dict[str, object]) -> None:
    obj = bpf.load(OBJECT, only="values", doubles=outside)
    obj.doubles["bpf_get_current_cgroup_id"].value = 1 << 40
    obj["values"].run(PACKET)
    assert obj.globals["value"][7] == 1 << 40


def test_a_sequence_ends_with_an_error_or_repeats(bpf: Bpf, outside: dict[str, object]) -> None:
    obj = bpf.load(OBJECT, only="values", doubles={**outside, "bpf_get_prandom_u32": [1, 2, 3]})
    obj["values"].run(PACKET)
    assert list(obj.globals["value"])[5:7] == [1, 2]
    with pytest.raises(BpfUsageError, match="bpf_get_prandom_u32 has 3 values, and the run called it 1 more time"):
        obj["values"].run(PACKET)
    repeat = {"bpf_get_prandom_u32": bpf.fake(values=[1, 2, 3], end="repeat"), "bpf_get_socket_cookie": 0}
    obj = bpf.load(OBJECT, only="values", doubles={**outside, **repeat})
    obj["values"].run_many([PACKET] * 2)
    assert list(obj.globals["value"])[5:7] == [3, 1]


def test_functions_of_the_object_are_doubled(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT, doubles={"parse": bpf.fake(retval=-1), "weigh": 5, "note": None})
    assert obj["functions"].run(PACKET).retval == XDP.ABORTED
    obj.doubles["parse"].value = 30
    assert obj.doubles["parse"].value == 30
    assert obj["functions"].run(PACKET).retval == XDP.PASS
    assert (obj.globals["value"][11], obj.globals["answer"][15]) == (5, 0)


def test_a_function_of_another_object_stands_in(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT, doubles={"bpf_fib_lookup": f"{FAKES}:fib", "parse": f"{FAKES}:parse_fast"})
    obj["actions"].run(PACKET)
    assert obj.globals["answer"][6] == 7
    assert obj.maps["routes_asked"][0] == 1
    obj["functions"].run(PACKET)
    assert obj.globals["value"][11] == 15


def test_kfuncs_of_a_device_are_doubled(bpf: Bpf) -> None:
    """Also where the kernel has none of them."""
    doubles = {
        "bpf_xdp_metadata_rx_timestamp": f"{FAKES}:timestamp",
        "bpf_xdp_metadata_rx_hash": -95,
        "bpf_rcu_read_lock": None,
        "bpf_rcu_read_unlock": None,
    }
    obj = bpf.load(KFUNCS, doubles=doubles)
    assert obj["metadata"].run(PACKET).retval == XDP.PASS
    assert obj.globals["arrived"] == 1234567
    obj.doubles["bpf_xdp_metadata_rx_hash"].value = 0
    obj["metadata"].run(PACKET)
    assert obj.globals["hashed"] == 5


def test_kfuncs_fail_above_their_doubles(bpf: Bpf) -> None:
    doubles = {
        "bpf_xdp_metadata_rx_timestamp": f"{FAKES}:timestamp",
        "bpf_xdp_metadata_rx_hash": 0,
        "bpf_rcu_read_lock": None,
        "bpf_rcu_read_unlock": None,
    }
    obj = bpf.load(KFUNCS, doubles=doubles)
    with obj.faults("bpf_xdp_metadata_rx_hash"), obj.faults("bpf_xdp_metadata_rx_timestamp", errno="ENODATA") as fault:
        assert obj["metadata"].run(PACKET).retval == XDP.DROP
        assert (obj.globals["arrived"], obj.globals["hashed"], fault.failed) == (0, 0, 1)
    assert obj["metadata"].run(PACKET).retval == XDP.PASS
    assert obj.globals["hashed"] == 5


@pytest.mark.parametrize(
    ("doubles", "message"),
    [
        ({"pars": 1}, "no program of doubles.bpf.o calls 'pars'\ndid you mean parse"),
        ({"parse": "x"}, "names no function of an object"),
        ({"parse": []}, "has no value for the first call"),
        ({"parse": 1.5}, "is not a number of 64 bits"),
        ({"parse": object()}, "is no double"),
        ({"parse": f"{FAKES}:one_argument"}, "it takes 1 arguments, not 2"),
        ({"bpf_get_prandom_u32": f"{FAKES}:fib"}, "cannot stand in"),
        ({"weigh": f"{FAKES}:parse_fast"}, "cannot stand in"),
    ],
    ids=["unknown", "no path", "empty", "fraction", "nothing", "arguments", "helper", "types"],
)
def test_doubles_that_cannot_be(bpf: Bpf, doubles: dict[str, object], message: str) -> None:
    with pytest.raises(BpfUsageError) as error:
        bpf.load(OBJECT, doubles=doubles)
    assert message in str(error.value)


def test_a_double_that_is_not_there(bpf: Bpf) -> None:
    with pytest.raises(ObjectError, match="no function 'fi' to stand in for parse\ndid you mean fib"):
        bpf.load(OBJECT, doubles={"parse": f"{FAKES}:fi"})


def test_the_verifier_refuses_a_double(bpf: Bpf) -> None:
    """A plan error that names the double: no log, which would be about instructions that nobody wrote."""
    with pytest.raises(
        PlanError, match="actions: the verifier does not take it with the doubles of bpf_map_lookup_elem"
    ):
        bpf.load(OBJECT, doubles={"bpf_map_lookup_elem": 5})


def test_calls_of_the_last_run(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT)
    obj["actions"].run(PACKET)
    obj["actions"].run(PACKET)
    obj.calls("bpf_map_update_elem").assert_called_once_with("seen", 7, 1, "BPF_NOEXIST")
    obj.calls("bpf_redirect").assert_called_once_with(3, 0)
    obj.calls("bpf_xdp_adjust_meta").assert_called_with(ANY, -4)
    obj.calls("bpf_perf_event_output").assert_any_call(ANY, "events", 0xFFFFFFFF, (7).to_bytes(4, "little"), 4)
    obj.calls("bpf_map_push_elem").assert_has_calls([("waiting", 9, 0)])
    obj.calls("parse").assert_not_called()
    calls = obj.calls()
    assert [call.function for call in calls][:3] == [f"bpf_map_{what}_elem" for what in ("update", "lookup", "delete")]
    assert calls[0].source_line is not None
    assert calls[0].source_line.text.startswith("answer[0] = bpf_map_update_elem")
    assert calls[0].retval == 0
    with pytest.raises(
        AssertionError, match=r"bpf_redirect: expected one call, bpf_redirect\(4, 0\); got 1 call:\n  .*3"
    ):
        obj.calls("bpf_redirect").assert_called_once_with(4, 0)


def test_calls_of_functions_and_tail_calls(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT)
    assert obj["functions"].run(SHORT).retval == XDP.DROP
    calls = obj.calls()
    assert [call.function for call in calls] == ["parse", "note", "weigh", "bpf_tail_call"]
    assert [(call.args[-1:], call.retval) for call in calls[1:3]] == [((18,), None), ((18,), 54)]
    obj.calls("bpf_tail_call").assert_called_once_with(ANY, "next", 0)


def test_doubles_are_recorded_under_the_name_they_stand_in_for(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT, doubles={"bpf_fib_lookup": f"{FAKES}:fib", "bpf_redirect": 1})
    obj["actions"].run(PACKET)
    assert obj.calls("bpf_fib_lookup")[0].retval == 7
    assert obj.calls("bpf_redirect")[0].retval == 1


def test_calls_that_nothing_makes(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT)
    with pytest.raises(BpfUsageError, match=r"no program of .* calls 'bpf_redirec'\ndid you mean bpf_redirect"):
        obj.calls("bpf_redirec")


FAILING = {  # name -> its place in answer[], what the plain call gives, what the failing one gives
    "bpf_map_update_elem": (0, 0, -errno.E2BIG),
    "bpf_map_lookup_elem": (1, 1, -1),
    "bpf_map_delete_elem": (2, 0, -errno.ENOENT),
    "bpf_map_push_elem": (3, 0, -errno.E2BIG),
    "bpf_map_pop_elem": (4, 0, -errno.ENOENT),
    "bpf_perf_event_output": (5, 0, -errno.ENOSPC),
    "bpf_fib_lookup": (6, 5, -errno.EINVAL),
    "bpf_csum_diff": (7, 7, -errno.EINVAL),
    "bpf_xdp_adjust_head": (8, 0, -errno.EINVAL),
    "bpf_xdp_adjust_meta": (9, 0, -errno.EINVAL),
    "bpf_xdp_adjust_tail": (10, 0, -errno.EINVAL),
}


# Answers that hang on another call: what is not stored is not found.
DEPEND = {
    "bpf_map_delete_elem": {0, 2},
    "bpf_map_update_elem": {0, 1, 2},
    "bpf_map_push_elem": {3, 4},
    "bpf_xdp_adjust_head": {8, 9, 10},
}


@pytest.fixture
def loaded(bpf: Bpf) -> BpfObject:
    return bpf.load(OBJECT, only=["actions", "functions", "to_drop"])


def test_each_helper_fails_and_then_works_again(loaded: BpfObject) -> None:
    for name, (place, plain, failing) in FAILING.items():
        with loaded.faults(name) as fault:
            loaded["actions"].run(PACKET)
            assert (name, loaded.globals["answer"][place]) == (name, failing)
            assert fault.failed == 1
        loaded["actions"].run(PACKET)
        assert (name, loaded.globals["answer"][place]) == (name, plain)


@pytest.mark.parametrize("name", sorted({*FAILING} - {"bpf_map_lookup_elem", "bpf_map_pop_elem"}))
def test_each_helper_is_doubled_and_the_rest_is_as_before(bpf: Bpf, name: str) -> None:
    """Where its answer goes stands the double's; every other answer is that of a program without it."""
    plain = bpf.load(OBJECT, only=["actions", "to_drop"])
    plain["actions"].run(PACKET)
    expected = list(plain.globals["answer"])
    obj = bpf.load(OBJECT, only=["actions", "to_drop"], doubles={name: bpf.fake(retval=0)})
    for value in (0, -77):
        obj.doubles[name].value = value
        obj["actions"].run(PACKET)
        answers = list(obj.globals["answer"])
        place = FAILING[name][0]
        assert answers[place] == value
        alike = [at for at in range(len(answers)) if at not in DEPEND.get(name, {place})]
        assert [answers[at] for at in alike] == [expected[at] for at in alike], name
    again = bpf.load(OBJECT, only=["actions", "to_drop"])
    again["actions"].run(PACKET)
    assert list(again.globals["answer"]) == expected


def test_after_times_and_errno(loaded: BpfObject) -> None:
    with loaded.faults("bpf_map_push_elem", errno="EPERM", after=3, times=1) as fault:
        answers = []
        for _ in range(6):
            loaded["actions"].run(PACKET)
            answers.append(loaded.globals["answer"][3])
    assert answers == [0, 0, 0, -errno.EPERM, 0, 0]
    assert fault.failed == 1


def test_faults_of_one_key(loaded: BpfObject) -> None:
    for key, expected in ((7, -1), (8, 1)):
        with loaded.faults("bpf_map_lookup_elem", key=key):
            loaded["actions"].run(PACKET)
        assert loaded.globals["answer"][1] == expected


def test_a_verdict_that_fails_is_the_one_that_drops(loaded: BpfObject) -> None:
    with loaded.faults("bpf_redirect"), loaded.faults("bpf_csum_diff", errno=5):
        assert loaded["actions"].run(PACKET).retval == XDP.ABORTED
        assert loaded.globals["answer"][7] == -5
    assert loaded["actions"].run(PACKET).retval == XDP.REDIRECT


def test_tail_calls_and_functions_fail(loaded: BpfObject) -> None:
    assert loaded["functions"].run(SHORT).retval == XDP.DROP
    with loaded.faults("bpf_tail_call"):
        assert loaded["functions"].run(SHORT).retval == XDP.PASS
    with loaded.faults("parse", errno="EINVAL"):
        assert loaded["functions"].run(SHORT).retval == XDP.ABORTED


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"name": "bpf_map_updat"}, "no program calls 'bpf_map_updat'\ndid you mean bpf_map_update_elem"),
        ({"name": "bpf_redirect", "errno": "EWRONG"}, "errno='EWRONG' is no error"),
        ({"name": "bpf_redirect", "key": 3}, "bpf_redirect takes no key"),
        (
            {"name": "bpf_map_lookup_elem", "key": "x"},
            "no call of bpf_map_lookup_elem is known to be about the key 'x'",
        ),
        ({"name": "weigh"}, "weigh returns no error"),
        ({"name": "bpf_redirect", "after": -1}, "it is how many calls pass"),
    ],
    ids=["unknown", "errno", "no key", "wrong key", "no error", "negative"],
)
def test_faults_that_cannot_be(loaded: BpfObject, fault: dict[str, object], message: str) -> None:
    with pytest.raises(BpfUsageError) as error, loaded.faults(**fault):  # type: ignore[arg-type]  # arguments that are wrong on purpose
        pass
    assert message in str(error.value)
    assert loaded["actions"].run(PACKET).retval == XDP.REDIRECT, "the programs are as before"
