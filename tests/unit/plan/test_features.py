"""What probes ask, and what their answers mean. The kernel's words are those of real kernels."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from plan_facts import facts, types

from pytest_ebpf.agent.ops import (
    Data,
    Failed,
    Handle,
    Made,
    MapCreate,
    NotRun,
    ProgLoad,
    ProgLoaded,
    ProgRejected,
    Result,
    Try,
)
from pytest_ebpf.btf import types as t
from pytest_ebpf.errors import UsageError
from pytest_ebpf.obj.section_table import MAP_TYPES, PROG_TYPES
from pytest_ebpf.plan.feature_base import Answer
from pytest_ebpf.plan.features import FEATURES, feature, names, probe_ops, read_probe
from pytest_ebpf.plan.helper_table import HELPERS

KERNEL = types(t.FuncProto(0), t.Func("bpf_fentry_test1", 1), t.Func("bpf_task_acquire", 1))
FACTS = facts(btf=KERNEL)
HANDLE = Handle(1, "b")
MADE, LOADED = Made(HANDLE), ProgLoaded(HANDLE)


def failed(errno: int) -> Failed:
    return Failed("X", errno, "words")


def rejected(errno: int, log: str = "") -> ProgRejected:
    return ProgRejected(errno, log.encode())


def answer(name: str, *results: Result, **changes: object) -> Answer:
    return read_probe(name, results, facts=facts(btf=KERNEL, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_every_feature_makes_a_batch_that_cannot_stop_half_way(name: str) -> None:
    ops = probe_ops(name, FACTS)
    assert all(isinstance(op, Try) for op in ops[-1:])
    refused: Sequence[Result] = [failed(22)] * len(ops)
    assert read_probe(name, refused, facts=FACTS).supported in (False, None) or name == "btf"


def test_every_map_and_program_type_up_to_linux_6_19_has_a_probe() -> None:
    lacking = {"UNSPEC", "STRUCT_OPS", "RHASH"}
    assert {n.lower() for n in MAP_TYPES if n not in lacking} <= FEATURES.keys()
    assert {n.lower() for n in PROG_TYPES if n != "UNSPEC"} <= FEATURES.keys()
    assert len(HELPERS) == 212


@pytest.mark.parametrize(
    ("name", "results", "supported", "words"),
    [
        ("ringbuf", [MADE], True, "map type RINGBUF: works"),
        ("ringbuf", [failed(22)], False, "map type RINGBUF: EINVAL"),
        ("ringbuf", [failed(12)], None, "map type RINGBUF: ENOMEM"),
        ("task_storage", [MADE, failed(22)], False, "map type TASK_STORAGE: EINVAL"),
        ("hash_of_maps", [MADE, MADE], True, "map type HASH_OF_MAPS: works"),
        ("hash_of_maps", [failed(12), NotRun()], None, "map type HASH_OF_MAPS: not tried"),
        ("xdp", [LOADED], True, "program type XDP: works"),
        ("netfilter", [rejected(22)], False, "program type NETFILTER: EINVAL, and no verifier log"),
        (
            "tracing",
            [rejected(22, "Tracing programs must provide btf_id\nprocessed 0 insns (limit 1000000)\n")],
            True,
            "program type TRACING: EINVAL: Tracing programs must provide btf_id",
        ),
        ("struct_ops", [rejected(524)], True, "program type STRUCT_OPS: ENOTSUPP, and no verifier log"),
        ("bpf_loop", [LOADED], True, "helper bpf_loop: works"),
        ("bpf_loop", [rejected(22, "0: (85) call unknown#181\ninvalid func unknown#181\n")], False,
         "helper bpf_loop: EINVAL: invalid func unknown#181"),
        ("bpf_loop", [rejected(22, "R1 !read_ok\n")], True, "helper bpf_loop: known to this kernel"),
        ("bpf_redirect", [rejected(22, "unknown func bpf_redirect#23\n")], True,
         "helper bpf_redirect: known to this kernel"),
        ("helper:bpf_redirect@socket_filter", [rejected(22, "unknown func bpf_redirect#23\n")], False,
         "helper bpf_redirect in SOCKET_FILTER programs: EINVAL: unknown func bpf_redirect#23"),
        ("fentry", [LOADED, MADE], True, "fentry: attaching to bpf_fentry_test1: works"),
        ("fentry", [LOADED, failed(524)], False, "fentry: attaching to bpf_fentry_test1: ENOTSUPP"),
        ("fentry", [rejected(1), failed(0)], False,
         "fentry: loading a program for bpf_fentry_test1: EPERM, and no verifier log"),
        ("kprobe", [failed(2), LOADED], False, "kprobe: the kernel has no kprobe event source (CONFIG_KPROBE_EVENTS)"),
        ("kprobe", [Data(b"8\n"), LOADED], True, "kprobe: event source 8"),
        ("tcx", [Data(b"")], True, "tcx: asking what is attached to lo: works"),
        ("tcx", [failed(22)], False, "tcx: asking what is attached to lo: EINVAL"),
        ("perf_link", [LOADED, failed(9)], True, "perf_link: known to this kernel"),
        ("perf_link", [LOADED, failed(22)], False, "perf_link: EINVAL"),
        ("lsm", [Data(b"lockdown,bpf"), LOADED], True, "lsm: lockdown,bpf"),
        ("lsm", [Data(b"lockdown,yama\n"), LOADED], False,
         "lsm: active are lockdown,yama, and not bpf (boot with lsm=...,bpf)"),
    ],
)  # fmt: skip
def test_answers(name: str, results: list[Result], supported: bool | None, words: str) -> None:
    found = answer(name, *results)
    assert (found.supported, found.words) == (supported, words)


def test_eperm_is_a_no_only_to_who_may_do_everything_else() -> None:
    assert answer("xdp", rejected(1)).supported is False
    assert answer("xdp", rejected(1), euid=1000, cap_bpf=False).supported is None
    assert answer("xdp", rejected(1), euid=1000, cap_bpf=True).supported is False


def test_without_btf_there_is_nothing_to_trace() -> None:
    bare = facts(btf=None, has_btf=False)
    assert probe_ops("fentry", bare) == []
    assert read_probe("fentry", [], facts=bare) == Answer(False, "fentry: this kernel has no BTF", "5.5")
    assert read_probe("btf", [], facts=bare).supported is False
    assert read_probe("btf", [], facts=FACTS).supported is True


def test_kfuncs_are_in_the_types_or_not() -> None:
    assert probe_ops("kfunc:bpf_task_acquire", FACTS) == []
    assert answer("kfunc:bpf_task_acquire").supported is True
    assert answer("kfunc:bpf_nope").supported is False


def test_configuration() -> None:
    assert len(probe_ops("config:BPF_LSM", FACTS)) == 3
    found = answer("config:BPF_LSM", failed(2), Data(b"CONFIG_BPF_LSM=y\n"), failed(2))
    assert (found.supported, found.words) == (True, "CONFIG_BPF_LSM=y")
    assert answer("config:CONFIG_X", Data(b"CONFIG_Y=y\n")).words == "CONFIG_X is not set"
    assert answer("config:X", failed(2), failed(2), failed(2)).supported is None
    known = facts(kconfig="CONFIG_X=m\n")
    assert probe_ops("config:X", known) == []
    assert read_probe("config:X", [], facts=known).words == "CONFIG_X=m"


def test_since() -> None:
    assert feature("ringbuf").since == "5.8"
    assert feature("bpf_loop").since == "5.17"
    assert feature("helper:ringbuf_output").since == "5.8"
    assert feature("helper:bpf_get_attach_cookie").since == "5.15"
    assert feature("bpf_map_lookup_elem").since == ""


def test_a_prefix_says_which_table() -> None:
    assert isinstance(probe_ops("prog:kprobe", FACTS)[0], Try)
    (op,) = probe_ops("prog:kprobe", FACTS)
    assert isinstance(op, Try)
    assert isinstance(op.op, ProgLoad)
    (op,) = probe_ops("map:stack", FACTS)
    assert isinstance(op, Try)
    assert isinstance(op.op, MapCreate)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ringbuff", "did you mean ringbuf or user_ringbuf?"),
        ("helper:bpf_lop", "bpf_loop"),
        ("map:xdp", "xdp"),
        ("helper:bpf_loop@nope", "bpf_loop"),
        ("zzzzz", "helper:NAME, kfunc:NAME, config:NAME"),
    ],
)
def test_an_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match="no feature") as caught:
        feature(name)
    assert hint in caught.value.hint


def test_names_leave_helpers_out() -> None:
    assert "ringbuf" in names()
    assert not any(name.startswith("bpf_") for name in names())
