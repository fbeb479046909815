from __future__ import annotations

import gzip

import pytest

from pytest_ebpf.agent.ops import (
    Close,
    Data,
    Describe,
    Done,
    Failed,
    Handle,
    Made,
    NotRun,
    ProgLoad,
    ProgLoaded,
    ProgRejected,
    ReadFile,
    Result,
    Try,
)
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.object import Extern
from pytest_ebpf.plan.btf_features import BTF_FEATURES
from pytest_ebpf.plan.facts import Facts, facts_ops, read_facts
from pytest_ebpf.plan.learn import learn, needs
from support.plan_facts import an_object, described, facts, types

NO = Failed("x", 22, "Invalid argument")
HANDLE = Handle(1, "b")


def answers(*, works: set[int]) -> list[Result]:
    """What a kernel says to ``facts_ops`` when the probes at ``works`` succeed."""
    results: list[Result] = []
    for index, op in enumerate(facts_ops()):
        inner = op.op if isinstance(op, Try) else op
        if isinstance(inner, Describe):
            results.append(described())
        elif isinstance(inner, Close):
            results.append(Done())
        elif isinstance(inner, ProgLoad):
            results.append(ProgLoaded(HANDLE) if index in works else ProgRejected(22))
        else:
            results.append(Made(HANDLE) if index in works else NO)
    return results


def test_every_probe_may_fail_alone_and_is_closed_again() -> None:
    ops = facts_ops()
    assert isinstance(ops[0], Describe)
    assert all(isinstance(op, Try) for op in ops[1:])
    probes = [op.op for op in ops[1:] if isinstance(op, Try) and not isinstance(op.op, Close)]
    closes = [op.op for op in ops if isinstance(op, Try) and isinstance(op.op, Close)]
    assert [close.obj.index for close in closes] == list(range(1, len(probes) + 1))  # type: ignore[union-attr]


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_each_probe_is_well_formed_btf_of_what_it_asks_for(byteorder: str) -> None:
    wanted = {
        "func": t.Func, "func_global": t.Func, "datasec": t.DataSec, "float": t.Float, "decl_tag": t.DeclTag,
        "type_tag": t.Modifier, "enum64": t.Enum, "datasec_name": t.DataSec, "attribute": t.Modifier, "btf": t.Int,
    }  # fmt: skip
    for feature in BTF_FEATURES:
        btf = parse_btf(feature.probe(byteorder=byteorder))
        assert btf.byteorder == byteorder
        assert any(isinstance(type_, wanted[feature.name]) for _, type_ in btf), feature.name


def test_a_kernel_that_can_do_nothing() -> None:
    found = read_facts(answers(works=set()), btf=None)
    assert found == Facts(described(), None, frozenset(), False, False, False, False, names=False)


def test_a_kernel_that_can_do_everything() -> None:
    btf = types(t.Float("f", 4))
    found = read_facts(answers(works=set(range(100))), btf=btf)
    assert found.btf is btf
    assert found.btf_features == {feature.name for feature in BTF_FEATURES}
    assert (found.array_mmap, found.attach_type, found.attach_cookie) == (True, True, True)


def test_features_are_told_apart() -> None:
    names = [feature.name for feature in BTF_FEATURES]
    for index, name in enumerate(names, 1):
        assert read_facts(answers(works={index}), btf=None).btf_features == {name}
    count = len(names)
    assert read_facts(answers(works={count + 1}), btf=None).array_mmap
    assert read_facts(answers(works={count + 2}), btf=None).attach_type
    assert read_facts(answers(works={count + 3}), btf=None).attach_cookie
    assert not read_facts(answers(works={count + 3}), btf=None).callbacks


def test_a_kernel_that_knows_callbacks_says_what_is_missing() -> None:
    results = answers(works=set())
    at = len(BTF_FEATURES) + 4
    results[at] = ProgRejected(22, b"BPF_LD_IMM64 uses reserved fields\n")
    assert not read_facts(results, btf=None).callbacks
    results[at] = ProgRejected(22, b"0: (18) r1 = pc+3\nmissing btf func_info\n")
    assert read_facts(results, btf=None).callbacks


def test_a_kernel_that_does_not_answer() -> None:
    with pytest.raises(PlanError, match="did not describe itself"):
        read_facts([NotRun()], btf=None)


KCONFIG = Extern("CONFIG_HZ", "kconfig", 1)


def test_files_are_read_only_for_objects_that_need_them() -> None:
    assert needs(an_object(externs=(Extern("f", "kfunc", 1),)), facts()) == []
    obj = an_object(externs=(KCONFIG, Extern("_text", "ksym")))
    paths = [op.op.path for op in needs(obj, facts()) if isinstance(op, Try) and isinstance(op.op, ReadFile)]
    assert paths == [
        "/proc/config.gz",
        "/boot/config-6.18.44",
        "/lib/modules/6.18.44/config",
        "/proc/kallsyms",
    ]
    assert needs(obj, facts(kconfig="", kallsyms="")) == []


def test_an_extern_of_type_void_is_found_by_its_address() -> None:
    btf = types(t.Modifier(t.Kind.CONST, 0), t.Int("int", 4, 32))
    untyped = an_object(btf=btf, externs=(Extern("_text", "ksym", 1),))
    assert len(needs(untyped, facts())) == 1
    typed = an_object(btf=btf, externs=(Extern("runqueues", "ksym", 2),))
    assert needs(typed, facts()) == []


def test_the_first_place_with_a_configuration_wins_and_may_be_compressed() -> None:
    ops = needs(an_object(externs=(KCONFIG,)), facts())
    found = learn(facts(), ops, results=[NO, Data(gzip.compress(b"CONFIG_A=y\n")), Data(b"CONFIG_B=y\n")])
    assert found.kconfig == "CONFIG_A=y\n"
    assert found.kallsyms is None
    assert learn(facts(), ops, results=[NO, NO, NO]).kconfig == ""
