"""Rejections and their classes: over all logs of the test data, and by a table read by hand."""

from __future__ import annotations

from collections import defaultdict

import pytest

from pytest_ebpf.verifier.explain.explain import explain
from pytest_ebpf.verifier.rejection.classes import CLASSES, KINDS
from pytest_ebpf.verifier.rejection.classify import Rejection
from pytest_ebpf.verifier.rejection.loader_rules import LOADER_RULES
from pytest_ebpf.verifier.rejection.rules import RULES
from pytest_ebpf.verifier.verifier_log import parse_log
from support.verifier_logs import DATA, all_logs, kernel_of, program_of

LOGS = all_logs()
REJECTED = {name: rejection for name, text in LOGS.items() if (rejection := parse_log(text).rejection) is not None}

# Programs whose reason is another one on some kernels: program -> kernel -> class, kind.
OTHERWISE: dict[str, dict[str, tuple[str, str]]] = {
    # 5.10 has no pointers to memory as arguments of global functions (5.13), and no bpf_sock_from_file() (5.11).
    "c/global_func_null": {"5.10": ("subprog", "feature-missing")},
    "c/helper_wrong_btf": {"5.10": ("unknown-func", "feature-missing")},
    # XDP may call bpf_get_current_comm() in 6.18; then another helper, which it never may, is refused.
    "c/bad_helper": dict.fromkeys(("6.18", "7.2", "7.3"), ("unknown-func", "safety")),
    # Without CAP_PERFMON another check comes first.
    "asm/map_value_min_negative": {"6.18-unpriv": ("privilege", "environment")},
    # Recursion: the text of 6.12 and 6.18 is that of any call chain of nine functions.
    "asm/recursion": dict.fromkeys(("6.12", "6.18"), ("loop", "limit")),
}


def table() -> list[tuple[str, str, str, str, str, str]]:
    """Rows read by hand against their logs: log, class, kind, instruction, source, path (u update, b branch, a
    acquire)."""
    rows = (DATA / "verifier-logs" / "expected.tsv").read_text().splitlines()
    return [tuple(row.split("\t")) for row in rows]  # type: ignore[misc]


def test_by_hand() -> None:
    for name, class_id, kind, insn, source, path in table():
        found = explain(parse_log(LOGS[name]))
        assert found is not None, name
        assert (found.rejection.class_id, found.rejection.kind) == (class_id, kind), name
        assert (str(found.insn.index) if found.insn else "") == insn, name
        assert (str(found.source) if found.source else "") == source, name
        assert "|".join(f"{step.insn.index}{step.kind[0]}" for step in found.path) == path, name


def test_the_table_is_big_enough() -> None:
    rows = table()
    assert len(rows) >= 100
    assert len({row[1] for row in rows}) >= 20


def test_every_rejection_is_classified() -> None:
    unknown = [name for name, rejection in REJECTED.items() if rejection.class_id == "unknown"]
    assert len(REJECTED) > 900
    assert unknown == []


def test_the_same_program_has_the_same_class_on_every_kernel() -> None:
    classes: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for name, rejection in REJECTED.items():
        special = OTHERWISE.get(program_of(name), {}).get(kernel_of(name))
        if rejection.class_id == "no-verdict":
            continue
        if special is not None:
            assert (rejection.class_id, rejection.kind) == special, name
        else:
            classes[program_of(name)].add((rejection.class_id, rejection.kind))
    assert {name: found for name, found in classes.items() if len(found) > 1} == {}


def test_no_verdict_only_where_there_is_none() -> None:
    for name, rejection in REJECTED.items():
        if rejection.class_id == "no-verdict":
            assert not LOGS[name] or "processed" not in LOGS[name]


def messages() -> list[tuple[str, str, str]]:
    """Rules, the kernels that were seen to say it ("source": only in sources), and what they say."""
    rows = (DATA / "verifier-messages.tsv").read_text().splitlines()
    return [tuple(row.split("\t")) for row in rows]  # type: ignore[misc]


def test_every_rule_is_well_formed() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.cls in CLASSES
        assert rule.kind in ("", *KINDS)
    of_loaders = {rule.cls for rule in LOADER_RULES} - {""}
    assert {rule.cls for rule in RULES} | of_loaders | {"no-verdict", "unknown"} == set(CLASSES)
    assert {rule.kind for rule in LOADER_RULES} - {""} <= set(KINDS)


def classified(*messages: str) -> Rejection:
    found = parse_log("\n".join((*messages, "processed 3 insns (limit 1000000)\n"))).rejection
    assert found is not None
    return found


def test_an_unknown_message_is_shown_whole() -> None:
    found = classified("the moon is in the wrong phase for R3")
    assert (found.class_id, found.message) == ("unknown", "the moon is in the wrong phase for R3")
    assert "unknown message: " in found.headline


@pytest.mark.parametrize(
    ("message", "class_id", "kind"),
    [
        ("BPF_CALL uses reserved fields", "kfunc", "feature-missing"),
        ("invalid func unknown#181", "unknown-func", "feature-missing"),
        ("invalid func unknown#195896080", "core-reloc", "feature-missing"),
        ("invalid func unknown#2002000003", "kfunc", "feature-missing"),
        ("invalid func unknown#2001000001", "core-reloc", "feature-missing"),
        ("unknown opcode e5", "bad-code", "feature-missing"),
        ("BPF_STX uses reserved fields", "bad-code", "feature-missing"),
        ("number of funcs in func_info doesn't match number of subprogs", "btf", "feature-missing"),
        ("unknown func bpf_loop#181", "unknown-func", "feature-missing"),
        ("unknown func bpf_redirect_map#51", "unknown-func", "safety"),
        ("JIT does not support calling kernel function", "jit", "environment"),
        ("verifier bug: REG INVARIANTS VIOLATION (false_reg1)", "verifier-bug", "kernel-bug"),
        ("The sequence of 8193 jumps is too complex.", "too-complex", "limit"),
        ("combined stack size of 2 calls is 576. Too large", "stack-limit", "limit"),
    ],
)
def test_disguises(message: str, class_id: str, kind: str) -> None:
    found = classified(message)
    assert (found.class_id, found.kind) == (class_id, kind)


def test_packets_in_the_words_of_map_values() -> None:
    """7.1 and later; the trace tells what the register points to."""
    state = "5: (0f) r1 += r2                      ; R1=pkt(id=1,r=0,smin=-4) R2=scalar()\n6: (71) r0 = *(u8 *)(r1 +0)"
    message = "R1 min value is negative, either use unsigned index or do a if (index >=0) check."
    assert classified(state, message).class_id == "packet-bounds"
    assert classified(state.replace("pkt(id=1,r=0", "map_value(map=m,vs=8"), message).class_id == "memory-bounds"
    assert classified(message).class_id == "memory-bounds"


@pytest.mark.parametrize(
    ("name", "register", "kind"),
    [("cbase-5.10/pkt_short_check.l1", "R2", "pkt"), ("cbase-5.10/null_deref.l1", "R0", "map_value_or_null")],
)
def test_registers_where_no_state_is_printed(name: str, register: str, kind: str) -> None:
    """5.10 at level 1: the message is all there is."""
    found = explain(parse_log(LOGS[name]))
    assert found is not None
    assert [(one.name, one.type) for one in found.registers][:1] == [(register, kind)]
