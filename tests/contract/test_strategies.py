"""Strategies from what is loaded: whatever they draw, the kernel takes."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies as hypothesis_strategies

from pytest_ebpf import BpfUsageError, SharedBpf, strategies as st
from pytest_ebpf.properties import refusals, remember, same_verdict
from support.paths import ROOT

SAMPLES = ROOT / "sample_programs" / "built"
FEW = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def drawn(strategy, check) -> None:
    FEW(given(value=strategy)(lambda value: check(value)))()


def test_keys_and_values_go_into_maps(bpf_shared: SharedBpf) -> None:
    obj = bpf_shared.load(SAMPLES / "map_kinds.bpf.o")
    for name in ("by_protocol", "last_seen"):
        table = obj.maps[name]
        pairs = hypothesis_strategies.tuples(st.keys(table), st.values(table))

        def stored(pair, table=table) -> None:
            key, value = pair
            table[key] = value
            got = table[key]
            assert (got[0] if isinstance(got, list) else got) == value
            table.clear()

        drawn(pairs, stored)


def test_keys_of_a_trie_are_prefixes(bpf_shared: SharedBpf) -> None:
    blocked = bpf_shared.load(SAMPLES / "xdp_firewall.bpf.o").maps["blocked"]
    lengths = set()

    def stored(prefix) -> None:
        blocked[prefix] = 1
        assert blocked[prefix] == 1
        lengths.add(int(prefix.partition("/")[2]))
        blocked.clear()

    drawn(st.keys(blocked), stored)
    assert len(lengths) > 10


def test_values_of_a_c_type(bpf_shared: SharedBpf) -> None:
    obj = bpf_shared.load(SAMPLES / "map_kinds.bpf.o")
    with pytest.raises(BpfUsageError, match="there is no type 'struct trafic'") as refused:
        st.from_btf(next(iter(obj.programs.values())), "struct trafic")
    assert "traffic" in str(refused.value)

    def has_fields(value) -> None:
        assert set(value) == {"packets", "bytes"}

    drawn(st.from_btf(next(iter(obj.programs.values())), "struct traffic"), has_fields)


def test_globals_that_may_be_set(bpf_shared: SharedBpf) -> None:
    obj = bpf_shared.load(SAMPLES / "config.bpf.o")
    restore = remember(obj)
    before = {name: obj.globals[name] for name in obj.globals.settable()}
    assert before
    assert "limits" not in before  # a constant

    def stored(values) -> None:
        for name, value in values.items():
            obj.globals[name] = value
            assert obj.globals[name] == value

    drawn(st.globals_of(obj), stored)
    restore()
    assert {name: obj.globals[name] for name in before} == before


def test_contexts_are_what_the_kernel_takes(bpf_shared: SharedBpf) -> None:
    packet = b"\x02" * 12 + b"\x08\x00" + b"\x45" + bytes(60)
    for path, name in (("xdp_firewall", "firewall"), ("tc_rewrite", "redirect_service")):
        prog = bpf_shared.load(SAMPLES / f"{path}.bpf.o")[name]
        seen: set[str] = set()

        def run(ctx, prog=prog, seen=seen) -> None:
            seen.update(ctx)
            prog.run(packet, ctx=ctx)

        drawn(st.ctx(prog), run)
        assert seen


def test_maps_are_put_back(bpf_shared: SharedBpf) -> None:
    obj = bpf_shared.load(SAMPLES / "map_kinds.bpf.o")
    obj.maps["by_protocol"][0x0800] = {"packets": 1, "bytes": 2}
    restore = remember(obj)
    before = dict(obj.maps["by_protocol"].items())
    obj.maps["by_protocol"].clear()
    obj.maps["by_protocol"][7] = {"packets": 9, "bytes": 9}
    obj.maps["first_sizes"].push(1)
    restore()
    assert dict(obj.maps["by_protocol"].items()) == before
    obj.maps["by_protocol"].clear()


def test_programs_are_accepted_or_refused_with_a_reason(bpf_shared: SharedBpf) -> None:
    verdicts = set()

    def load(text) -> None:
        (reason,) = refusals({"this": bpf_shared.bpf}, text).values()
        verdicts.add(not reason)
        same_verdict({"one": bpf_shared.bpf, "other": bpf_shared.bpf}, text)

    drawn(st.programs(), load)
    assert verdicts == {True, False}
    assert refusals({"this": bpf_shared.bpf}, "r0 = r6\nexit")["this"].endswith("R6 !read_ok")
