"""Objects in the form that rustc and bpf-linker give programs of aya-ebpf, on real kernels. The host unless kernels are
named; the object is written in C (``tests/objects/aya_log.bpf.c``)."""

from __future__ import annotations

import pytest

from pytest_ebpf import XDP, Bpf, BpfUsageError, KernelCallError
from pytest_ebpf.events.aya_log import render_aya_record
from pytest_ebpf.events.levels import LOG_LEVELS
from support.paths import TESTS

BUILT = TESTS / "objects" / "built"
LOGS = BUILT / "aya_log.bpf.o"


def test_messages_are_text_with_their_values(bpf: Bpf) -> None:
    obj = bpf.load(LOGS)
    assert obj["log_len"].run(bytes(64)).retval == XDP.PASS
    record = obj.aya_logs.expect({"level": "info", "args": (64, "127.0.0.1")})
    assert record == {
        "level": "info", "target": "log", "module": "log", "file": "src/main.rs", "line": 14,
        "message": "len 64 ip 127.0.0.1", "args": (64, "127.0.0.1"),
    }  # fmt: skip
    assert render_aya_record(record) == "[INFO  log] len 64 ip 127.0.0.1 (src/main.rs:14)"


def test_every_message_in_order(bpf: Bpf) -> None:
    obj = bpf.load(LOGS)
    for size in (64, 65, 66):
        obj["log_len"].run(bytes(size))
    assert [record["args"][0] for record in obj.aya_logs.events()] == [64, 65, 66]
    assert obj.aya_logs.events() == []


def test_a_level_set_at_the_load_filters(bpf: Bpf) -> None:
    obj = bpf.load(LOGS, globals={"AYA_LOG_LEVEL": LOG_LEVELS["warn"]})
    obj["log_len"].run(bytes(64))
    assert obj.globals["runs"] == 1
    assert obj.aya_logs.events() == []


def test_wrapped_globals_are_plain_values(bpf: Bpf) -> None:
    obj = bpf.load(LOGS, globals={"runs": 254})
    assert (obj.globals["AYA_LOG_LEVEL"], obj.globals["runs"]) == (0xFF, 254)
    obj["log_len"].run(bytes(64))
    obj.globals["runs"] = 7
    assert obj.globals["runs"] == 7


def test_messages_of_no_match_are_shown(bpf: Bpf) -> None:
    obj = bpf.load(LOGS)
    obj["log_len"].run(bytes(64))
    with pytest.raises(AssertionError, match=r"'message': 'len 64 ip 127\.0\.0\.1'"):
        obj.aya_logs.expect({"level": "error"}, timeout=0.01)


def test_an_object_without_logs_says_so(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "options.bpf.o", maps={"shared": {"pin": False}})
    with pytest.raises(BpfUsageError, match=r"no map AYA_LOGS(?s:.*)Is aya-log-ebpf used"):
        _ = obj.aya_logs


def test_definitions_of_28_bytes(bpf: Bpf) -> None:
    obj = bpf.load(LOGS, maps={"OTHER": {"max_entries": 2}})
    obj.maps["OTHER"].update_many({1: 10, 2: 20})
    assert obj.maps["OTHER"] == {1: 10, 2: 20}
    assert obj.maps["OTHER"].definition.legacy


# -- objects that somebody else loaded: an Aya program started beside the test, say


def test_messages_of_a_program_that_others_loaded(bpf: Bpf) -> None:
    """What ``EbpfLogger::init_from_id`` does: from the id of a program to its AYA_LOGS map."""
    obj = bpf.load(LOGS)
    program = bpf.loaded.program(obj["log_len"].id)
    logs = next(each for each in program.maps if each.name == "AYA_LOGS").open()
    obj["log_len"].run(bytes(64))
    assert logs.expect({"message": "len 64 ip 127.0.0.1"}, timeout=0.1)


def test_a_map_by_its_id_and_by_its_pin(bpf: Bpf) -> None:
    obj = bpf.load(LOGS, maps={"OTHER": {"pin": "/sys/fs/bpf/aya-other", "contents": {7: 70}}})
    pinned = bpf.pinned_map("aya-other")
    pinned[8] = 80
    assert bpf.loaded.map(obj.maps["OTHER"].info.id).open() == {7: 70, 8: 80}
    with pytest.raises(BpfUsageError, match="is the pin of a map, expected one of a link"):
        bpf.pinned_link("aya-other")


def test_a_pinned_program(bpf: Bpf) -> None:
    program = bpf.load(LOGS)["log_len"].pin("aya-prog")
    with pytest.raises(BpfUsageError, match="is the pin of a prog, expected one of a map"):
        bpf.pinned_map("aya-prog")
    with pytest.raises(KernelCallError, match="exists already"):
        program.pin("aya-prog")


# -- frames that go on into the network, as with ``TestRunAttrs::xdp_live_frames``


@pytest.mark.bpf_kernel(">=5.18")
def test_live_frames(bpf: Bpf) -> None:
    obj = bpf.load(LOGS)
    ran = obj["log_len"].run_live([bytes(64)], repeat=8, batch=4)
    assert ran.frames == 8
    assert [record["args"][0] for record in obj.aya_logs.events()] == [64] * 8
