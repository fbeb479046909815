"""What probes ask, and what their answers mean. The kernel's words are those of real kernels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass

import pytest

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Close,
    Data,
    Failed,
    Handle,
    Made,
    MapCreate,
    NotRun,
    ProgLoad,
    ProgLoaded,
    ProgQuery,
    ProgRejected,
    Queried,
    ReadFile,
    Ref,
    Result,
    Try,
)
from pytest_ebpf.btf import types as t
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.features.base import Answer
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.features.kfuncs import in_modules
from pytest_ebpf.features.table import (
    FEATURES,
    TABLE,
    batch_ops,
    feature,
    names,
    probe_ops,
    read_batch,
    read_probe,
)
from pytest_ebpf.uapi.sections import MAP_TYPES, PROG_TYPES
from support.plan_facts import facts, types

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


def test_every_feature_makes_a_batch_that_cannot_stop_half_way() -> None:
    for name in sorted(FEATURES):
        ops = probe_ops(name, FACTS)
        assert all(isinstance(op, Try) for op in ops[-1:]), name
        refused: Sequence[Result] = [failed(22)] * len(ops)
        assert read_probe(name, refused, facts=FACTS).supported in (False, None) or not ops, name


# Newer than the newest sources at hand: which commit brought them is not known yet.
NEWEST = {"flag:rb_overwrite", "map:rhash", "attach:fsession", "attach:fentry.multi"}


def test_every_row_says_since_when_and_says_so_in_its_answer() -> None:
    for name in TABLE:
        row = feature(name)
        assert row.group, name
        assert re.fullmatch(r"\d+\.\d+", row.since) or name == "flag:rb_overwrite", name
        assert re.fullmatch(r"[0-9a-f]{12}", row.source) or name in NEWEST, name
        ops = row.ops(FACTS)
        assert row.read([failed(22)] * len(ops), FACTS).since == row.since, name


def test_a_batch_of_everything_is_the_batches_of_each() -> None:
    """References move with their probes, and everything made is closed."""
    ops = batch_ops(TABLE, FACTS)
    assert all(isinstance(op, Try) for op in ops)
    for place, op in enumerate(ops):
        assert isinstance(op, Try)
        for index in references(op.op):
            assert index < place
            target = ops[index]
            assert isinstance(target, Try)
            assert not isinstance(target.op, Close | ReadFile | ProgQuery)
    made = [i for i, op in enumerate(ops) if isinstance(op, Try) and isinstance(op.op, MapCreate | ProgLoad | BtfLoad)]
    closed = [op.op.obj.index for op in ops if isinstance(op, Try) and isinstance(op.op, Close)]  # type: ignore[union-attr]
    assert set(made) <= set(closed)
    assert len(closed) == len(set(closed))


def test_answers_of_a_batch_find_their_questions() -> None:
    wanted = ["array_of_maps", "config:X", "perf_link", "kfunc:bpf_nope", "ringbuf", "task_storage"]
    ops = batch_ops(wanted, FACTS)
    results: list[Result] = [MADE] * len(ops)
    ringbuf = next(i for i, op in enumerate(ops) if getattr(op.op, "type", 0) == MAP_TYPES.index("RINGBUF"))  # type: ignore[union-attr]
    results[ringbuf] = failed(22)
    answers = read_batch(wanted, results, facts=FACTS)
    assert list(answers) == wanted
    assert {name: found.supported for name, found in answers.items()} == {
        "array_of_maps": True,
        "config:X": None,
        "perf_link": None,
        "kfunc:bpf_nope": False,
        "ringbuf": False,
        "task_storage": True,
    }


def references(value: object) -> Iterator[int]:
    if isinstance(value, Ref):
        yield value.index
    elif isinstance(value, tuple):
        for item in value:
            yield from references(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from references(getattr(value, field.name))


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
        ("tcx", [Queried(())], True, "tcx: asking what is attached to lo: works"),
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
    assert (found.supported, found.message) == (supported, words)


def test_eperm_is_a_no_only_to_who_may_do_everything_else() -> None:
    assert answer("xdp", rejected(1)).supported is False
    assert answer("xdp", rejected(1), euid=1000, cap_bpf=False).supported is None
    assert answer("xdp", rejected(1), euid=1000, cap_bpf=True).supported is False


def test_a_denial_is_no_lack() -> None:
    """EPERM to who may do everything else is a policy of the machine: it must not be kept for the kernel image."""
    assert (answer("xdp", rejected(1)).cause, answer("xdp", rejected(1)).conclusive) == ("denied", False)
    assert (answer("ringbuf", failed(1)).cause, answer("ringbuf", failed(22)).cause) == ("denied", "")
    assert answer("fentry", rejected(1), failed(0)).cause == "denied"
    assert answer("lsm", Data(b"lockdown,yama\n"), LOADED).cause == "off"
    assert answer("ringbuf", failed(22)).conclusive
    assert not answer("ringbuf", failed(12)).conclusive


def test_without_btf_there_is_nothing_to_trace() -> None:
    bare = facts(btf=None, has_btf=False)
    assert probe_ops("fentry", bare) == []
    assert read_probe("fentry", [], facts=bare) == Answer(False, "fentry: this kernel has no BTF", "5.5")
    assert read_probe("btf", [], facts=bare).supported is False
    assert read_probe("btf", [], facts=FACTS).supported is True


CALLED = rejected(22, "0: (85) call bpf_task_acquire#3\narg#0 is not a pointer\n")
BARRED = rejected(13, "calling kernel function bpf_task_acquire is not allowed\n")
TAGGED = types(t.FuncProto(0), t.Func("bpf_task_acquire", 1), t.Func("schedule", 1), t.DeclTag("bpf_kfunc", 2))


@pytest.mark.parametrize(
    ("name", "results", "supported", "words"),
    [
        ("kfunc:bpf_nope", [], False, "kfunc bpf_nope is not in the kernel's BTF"),
        ("kfunc:bpf_task_acquire", [CALLED] * 3, True, "kfunc bpf_task_acquire: programs may call it"),
        ("kfunc:bpf_task_acquire", [BARRED] * 3, True, "kfunc bpf_task_acquire is in the kernel's BTF"),
        ("kfunc:bpf_task_acquire@xdp", [BARRED], False,
         "kfunc bpf_task_acquire: EACCES: calling kernel function bpf_task_acquire is not allowed"),
        ("kfunc:bpf_fentry_test1", [BARRED] * 3, False,
         "kfunc bpf_fentry_test1: EACCES: calling kernel function bpf_task_acquire is not allowed"),
        ("kfunc:bpf_fentry_test1", [rejected(22, "BPF_CALL uses reserved fields\n")] * 3, False,
         "kfunc bpf_fentry_test1: this kernel lets programs call no kernel functions"),
        ("kfunc:bpf_task_acquire", [rejected(1)] * 3, False, "kfunc bpf_task_acquire: EPERM, and no verifier log"),
        ("kfunc:bpf_ct_release", [failed(2)], False,
         "kfunc bpf_ct_release is not in the kernel's BTF, and its module nf_conntrack is not loaded "
         "(modprobe nf_conntrack)"),
        ("kfunc:bpf_ct_release", [Data(KERNEL.data)], False,
         "kfunc bpf_ct_release is not in the BTF of module nf_conntrack"),
    ],
)  # fmt: skip
def test_kfuncs_of_kernels_without_tags(name: str, results: list[Result], supported: bool, words: str) -> None:
    found = answer(name, *results)
    assert (found.supported, found.message) == (supported, words)


def test_kfuncs_of_kernels_with_tags() -> None:
    tagged = facts(btf=TAGGED)
    assert read_probe("kfunc:bpf_task_acquire", [BARRED] * 3, facts=tagged).supported is True
    found = read_probe("kfunc:schedule", [BARRED] * 3, facts=tagged)
    assert (found.supported, found.message) == (
        False,
        "kfunc schedule is a kernel function, but no kfunc in the kernel's BTF",
    )


def test_kfuncs_of_modules_come_and_go() -> None:
    assert answer("kfunc:bpf_ct_release", failed(2)).cause == "module"
    assert not answer("kfunc:bpf_ct_release", Data(KERNEL.data)).conclusive
    assert answer("kfunc:bpf_nope").cause == "module"
    assert answer("kfunc:bpf_task_release").conclusive
    own = types(t.FuncProto(0), t.Func("bpf_mine", 1))
    assert in_modules("bpf_mine@xdp", {"mine": own}).message == "kfunc bpf_mine is in the BTF of module mine"
    assert in_modules("bpf_mine", {}) == Answer(
        False, "kfunc bpf_mine is not in the kernel's BTF, nor in that of a loaded module", "", "module"
    )


def test_kfuncs_that_went_away_have_no_first_release() -> None:
    assert feature("kfunc:bpf_task_acquire").since == "6.2"
    assert feature("kfunc:scx_bpf_dispatch").since == ""
    assert feature("kfunc:scx_bpf_kick_cpu").config == ("DEBUG_INFO_BTF", "BPF_JIT", "SCHED_CLASS_EXT")


@pytest.mark.parametrize(
    ("name", "results", "supported", "words"),
    [
        ("kprobe_multi", [LOADED, failed(14)], True, "kprobe_multi: known to this kernel"),
        ("kprobe_multi", [LOADED, failed(22)], False, "kprobe_multi: EINVAL"),
        ("kprobe_multi", [LOADED, failed(95)], False, "kprobe_multi: EOPNOTSUPP"),
        ("kprobe_multi", [LOADED, failed(7)], False, "kprobe_multi: E2BIG"),
        ("uprobe_multi", [LOADED, failed(14)], True, "uprobe_multi: known to this kernel"),
        ("netkit", [LOADED, failed(6)], True, "netkit: known to this kernel"),
        ("netfilter_link", [rejected(22), failed(0)], False, "netfilter_link: EINVAL, and no verifier log"),
        ("cgroup_link", [LOADED, failed(9)], True, "cgroup_link: known to this kernel"),
        ("xdp_link", [MADE, LOADED, MADE], True, "xdp_link: works"),
        ("xdp_link", [failed(1), LOADED, failed(0)], False, "xdp_link: EPERM"),
        ("raw_tp", [LOADED, failed(2)], True, "raw_tp: known to this kernel"),
        ("v4", [rejected(22, "0: (06) ???\nunknown opcode 06\n")], False,
         "v4: a move with sign extension and a long jump: EINVAL: unknown opcode 06"),
        ("bounded_loops", [rejected(22, "back-edge from insn 2 to 1\n")], False,
         "bounded_loops: a loop of ten rounds: EINVAL: back-edge from insn 2 to 1"),
        ("large_programs", [rejected(7)], False,
         "large_programs: a program of 4098 instructions: E2BIG, and no verifier log"),
        ("global_data", [MADE, LOADED], True, "global_data: the address of a map's value: works"),
        ("flag:mmapable", [failed(22)], False, "map flag BPF_F_MMAPABLE on ARRAY: EINVAL"),
        ("btf:enum64", [], True, "BTF with enum64: works"),
        ("callbacks", [], True, "a function passed to a helper: works"),
    ],
)  # fmt: skip
def test_links_instructions_flags(name: str, results: list[Result], supported: bool, words: str) -> None:
    found = answer(name, *results)
    assert (found.supported, found.message) == (supported, words)


def test_kinds_of_btf_are_known_from_the_facts() -> None:
    old = facts(features=["btf", "func"])
    assert read_probe("btf:func", [], facts=old).supported is True
    assert read_probe("btf:enum64", [], facts=old) == Answer(False, "BTF with enum64: refused", "6.0")
    nobody = facts(features=[], euid=1000, cap_bpf=False)
    assert read_probe("btf:func", [], facts=nobody).supported is None


def test_linux_7_3_says_more_than_why() -> None:
    log = "0: (85) call bpf_sys_bpf#166\nprogram of this type cannot use helper bpf_sys_bpf#166\n\n"
    log += "Verification failed: Policy: helper not allowed\n\nSuggestion:\n  Use a helper allowed for it.\n"
    found = answer("helper:bpf_sys_bpf@xdp", rejected(22, log))
    assert found.message.endswith("EINVAL: program of this type cannot use helper bpf_sys_bpf#166")


def test_configuration() -> None:
    assert len(probe_ops("config:BPF_LSM", FACTS)) == 3
    found = answer("config:BPF_LSM", failed(2), Data(b"CONFIG_BPF_LSM=y\n"), failed(2))
    assert (found.supported, found.message) == (True, "CONFIG_BPF_LSM=y")
    assert answer("config:CONFIG_X", Data(b"CONFIG_Y=y\n")).message == "CONFIG_X is not set"
    assert answer("config:X", failed(2), failed(2), failed(2)).supported is None
    known = facts(kconfig="CONFIG_X=m\n")
    assert probe_ops("config:X", known) == []
    assert read_probe("config:X", [], facts=known).message == "CONFIG_X=m"


def test_since() -> None:
    assert feature("ringbuf").since == "5.8"
    assert feature("bpf_loop").since == "5.17"
    assert feature("helper:ringbuf_output").since == "5.8"
    assert feature("helper:bpf_get_attach_cookie").since == "5.15"
    assert feature("bpf_map_lookup_elem").since == "3.18"
    assert feature("helper:bpf_loop@xdp").since == ""


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
        ("mmapable", "flag:mmapable"),
        ("enum64", "btf:enum64"),
        ("flag:mmapble", "flag:mmapable"),
        ("kfunc:bpf_task_acquire@nope", "kfunc:bpf_task_acquire"),
        ("config:a b", "helper:NAME"),
        ("helper:bpf_loop@nope", "bpf_loop"),
        ("zzzzz", "helper:NAME, kfunc:NAME, config:NAME"),
    ],
)
def test_an_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(BpfUsageError, match="no feature") as caught:
        feature(name)
    assert hint in caught.value.hint


def test_names_leave_helpers_out() -> None:
    assert "ringbuf" in names()
    assert not any(name.startswith("bpf_") for name in names())
