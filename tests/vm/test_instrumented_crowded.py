"""Programs that leave an instrumented copy little room (``crowded.bpf.c``): a full stack, callbacks, global functions,
tail calls in functions, open-coded iterators, sleepable programs, extensions. On the host, unless kernels are named."""

from __future__ import annotations

import pytest

from pytest_ebpf import Bpf, BpfObject, PlanError, ProgramRejected
from support.instrumented import instrumentations
from support.paths import ROOT

OBJECT = ROOT / "tests/objects/built/crowded.bpf.o"
PACKET = bytes(range(64))
NEEDS = {"callbacks": "helper:bpf_loop", "iterates": "kfunc:bpf_iter_num_new", "sleepy": "prog:syscall"}


def done(obj: BpfObject, name: str) -> tuple[int, object, object]:
    """What a run of the program gives."""
    result = obj[name].run(ctx=b"") if name == "sleepy" else obj[name].run(PACKET)
    return int(result.retval), sorted(map(repr, obj.maps["seen"].items())), obj.globals["total"]


@pytest.mark.filterwarnings("ignore:.*its stack is full")
@pytest.mark.parametrize("name", ["full", "callbacks", "global", "left", "iterates", "sleepy"])
def test_they_do_the_same(bpf: Bpf, name: str) -> None:
    if name in NEEDS and not bpf.has(NEEDS[name]):
        with pytest.raises((PlanError, ProgramRejected)):
            bpf.load(OBJECT, only=name)
        return
    plain = done(bpf.load(OBJECT, only=name), name)
    assert plain[0] == (5 if name == "sleepy" else 2)
    for what, instrument in instrumentations():
        obj = bpf.load(OBJECT, only=name)
        if name == "iterates" and what in ("faults", "all"):
            with pytest.raises(PlanError, match="does not take it when bpf_iter_num_new fails"):
                instrument(obj)
            continue
        instrument(obj)
        assert obj.instruments.notes == []
        assert done(obj, name) == plain, what


def test_calls_that_nobody_can_see_are_said(bpf: Bpf) -> None:
    """The place of a record is kept on the stack, where this program leaves no room."""
    with pytest.warns(UserWarning, match=r"full: calls of bpf_map_lookup_elem are not recorded: its stack is full"):
        obj = bpf.load(OBJECT, only="full")  # a test with ".calls" in it records from the load on
    calls = obj.calls("bpf_map_lookup_elem")
    obj["full"].run(PACKET)
    assert len(calls) == 0
    assert calls.unseen == ["full: calls of bpf_map_lookup_elem are not recorded: its stack is full"]
    with pytest.raises(AssertionError, match=r"not to have been called; got no calls\n.*its stack is full"):
        calls.assert_not_called()


def test_more_calls_than_there_is_room_for(bpf: Bpf) -> None:
    """The first 1,024 are kept; what the rest would decide is no assertion that passes."""
    obj = bpf.load(OBJECT, only="global")
    lookups, other = obj.calls("bpf_map_lookup_elem"), obj.calls("weigh")
    obj["global"].run_many([PACKET] * 257)  # four calls each
    assert len(lookups) == len(other) == 512
    assert lookups.unseen == ["4 later calls of the run found no room: the first 1,024 are kept"]
    lookups.assert_any_call("seen", 1)
    for check in (lookups.assert_not_called, lookups.assert_called_once, lambda: lookups.assert_called_with("seen", 1)):
        with pytest.raises(AssertionError, match="4 later calls"):
            check()
    obj["global"].run(PACKET)
    assert lookups.unseen == []
    lookups.assert_called_with("seen", 1)


def test_pointers_that_are_returned_are_written_as_addresses(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT, only="global")
    calls = obj.calls("bpf_map_lookup_elem")
    obj["global"].run(PACKET)
    assert repr(calls[0].retval).startswith("0xffff")


def test_functions_fail(bpf: Bpf) -> None:
    """A global one, and one that makes a tail call."""
    obj = bpf.load(OBJECT, only=["global", "left"])
    with obj.faults("weigh", errno="ENOENT", after=1, times=1) as fault:
        assert int(obj["global"].run(PACKET).retval) == 1  # 3 - 2 is not 7
        assert fault.failed == 1
    with obj.faults("leave") as fault:
        assert (int(obj["left"].run(PACKET).retval), fault.failed) == (1, 1)
    assert [int(obj[name].run(PACKET).retval) for name in ("global", "left")] == [2, 2]


def test_an_iterator_that_ends_at_once(bpf: Bpf) -> None:
    if not bpf.has(NEEDS["iterates"]):
        return  # test_they_do_the_same shows that it cannot be loaded
    obj = bpf.load(OBJECT, only="iterates")
    with obj.faults("bpf_iter_num_next", after=2) as fault:
        assert (int(obj["iterates"].run(PACKET).retval), fault.failed) == (1, 1)
    assert int(obj["iterates"].run(PACKET).retval) == 2


@pytest.mark.attach_kind("freplace")
def test_extensions_and_what_they_extend(bpf: Bpf) -> None:
    """Each of the two instrumented, and both."""
    if not bpf.has("freplace"):
        return
    for what, instrument in (("plain", lambda obj: None), *instrumentations()):
        for which in ("target", "extension", "both"):
            target = bpf.load(OBJECT, only="replaced")
            if which != "extension":
                instrument(target)
            options = {"heavier": {"extends": (target["replaced"], "weigh")}}
            other = bpf.load(OBJECT, only="heavier", programs=options)
            if which != "target":
                instrument(other)
            with other["heavier"].attach():
                assert int(target["replaced"].run(PACKET).retval) == 102, (what, which)
            assert other.globals["total"] == 1
            assert (target.instruments.notes, other.instruments.notes) == ([], [])
            other.close()
