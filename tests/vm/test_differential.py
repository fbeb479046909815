"""Differential oracles: what two kernels, two builds or two paths make of the same packets. Each finds what is equal
equal, and reports what differs with both sides and the smallest packet."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from hypothesis.database import InMemoryExampleDatabase

from pytest_ebpf import (
    BpfDatapath,
    BpfMatrix,
    BpfUsageError,
    Packet,
    SharedBpf,
    bpf_property,
    oracles,
    strategies as st,
)
from support.paths import ROOT

SAMPLES = ROOT / "sample_programs"
OBJECTS = ROOT / "tests" / "objects" / "built"
KINDS = ["ip", "ipv6", "udp", "tcp", "vlan", "options"]
MANY = 1024
PAIRS = {"one build": "ttl", "another": "ttl_bug"}


@pytest.fixture(autouse=True)
def _nothing_is_kept(tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    before = settings.get_current_profile_name()
    settings.register_profile("differential", settings(), database=InMemoryExampleDatabase())
    settings.load_profile("differential")
    yield
    settings.load_profile(before)


def compared(test: Callable[[list[Packet]], None], *, broken: int = 4, count: int = MANY) -> None:
    bpf_property(packets=st.packets(KINDS, broken=broken), max_examples=count)(test)()


def told(test: Callable[[list[Packet]], None]) -> str:
    """What the failing property says, notes included."""
    with pytest.raises(AssertionError) as failure:
        compared(test, broken=0, count=8 * MANY)
    return "\n".join([str(failure.value), *failure.value.__notes__])


# across the kernels of the run


@pytest.mark.parametrize(
    ("path", "name", "maps"),
    [
        ("xdp_firewall", "firewall", "stats"),
        ("xdp_decap", "decap", ()),
        ("conn_track", "track", "connections"),
        ("tc_port_map", "map_in", ()),
    ],
)
def test_15_kernels_agree_about_a_sample(bpf_matrix: BpfMatrix, path: str, name: str, maps: str) -> None:
    loaded = bpf_matrix.load(SAMPLES / f"built/{path}.bpf.o")
    progs = {kernel: obj[name] for kernel, obj in loaded.items()}

    def same(packets: list[Packet]) -> None:
        oracles.same_on(progs, packets, maps=maps)

    compared(same)
    assert list(progs) == list(bpf_matrix.kernels)


def test_15_a_difference_between_kernels_has_both_sides(bpf_matrix: BpfMatrix) -> None:
    progs = {name: obj["by_kernel"] for name, obj in bpf_matrix.load(OBJECTS / "differs.bpf.o").items()}
    old = {name for name, bpf in bpf_matrix.loaders.items() if not bpf.has("helper:bpf_loop")}

    def same(packets: list[Packet]) -> None:
        oracles.same_on(progs, packets)

    if not old or len(old) == len(progs):  # no two kernels of this run differ
        compared(same)
        return
    text = told(same)
    first, *others = bpf_matrix.kernels
    other = next(name for name in others if (name in old) != (first in old))
    sides = ("XDP.PASS", "XDP.DROP") if first in old else ("XDP.DROP", "XDP.PASS")
    assert f"{first} and {other} differ for Eth() / IP(ttl=1) / UDP(dport=9)" in text
    assert f"<{sides[0]}: " in text.partition(f" on {first}")[0].splitlines()[-1]
    assert f"<{sides[1]}: " in text.partition(f" on {other}")[0].splitlines()[-1]
    assert "Falsifying packet:\n    Eth() / IP(ttl=1) / UDP(dport=9)\n" in text


# two builds


def test_15_two_builds_that_differ(bpf_shared: SharedBpf) -> None:
    obj = bpf_shared.load(OBJECTS / "seeded_bugs.bpf.o")

    def same(packets: list[Packet]) -> None:
        oracles.same_on({build: obj[name] for build, name in PAIRS.items()}, packets)

    text = told(same)
    assert "one build and another differ for Eth() / IP(ttl=0) / UDP(dport=9)" in text
    assert "verdict <XDP.DROP: 1> on one build, <XDP.TX: 3> on another" in text
    assert "ip.ttl" in text.partition("the packet of one build (expected) and of another (got):")[2]
    assert "Falsifying packet:\n    Eth() / IP(ttl=0) / UDP(dport=9)\n" in text


def test_15_map_changes_that_differ(bpf_shared: SharedBpf) -> None:
    """The verdict and the bytes are the same; the entry that one of them leaves is not."""
    spec = bpf_shared.open(OBJECTS / "seeded_bugs.bpf.o")
    mended, leaking = spec.load(), spec.load()
    progs = {"mended": mended["leak"], "leaking": leaking["leak_bug"]}

    def same(packets: list[Packet]) -> None:
        oracles.same_on(progs, packets, maps="flows")

    with pytest.raises(BpfUsageError, match="mended and again use one map 'flows'"):
        oracles.same_on({"mended": mended["leak"], "again": mended["leak_bug"]}, [b"x" * 60], maps="flows")
    text = told(same)
    assert "maps differ between mended and leaking:\n  flows[" in text
    assert "None on mended" in text
    assert "Falsifying packet:\n    Eth() / IP(ttl=1) / UDP(" in text
    assert leaking.maps["flows"] == {}  # as before


def test_15_builds_of_two_compilers_agree(bpf_shared: SharedBpf) -> None:
    """tests/objects/seeded_bugs.bpf.c by clang 14 and by clang 22."""
    builds = {name: bpf_shared.load(OBJECTS / f"{name}.bpf.o") for name in ("seeded_bugs", "seeded_bugs_22")}
    for obj in builds.values():
        obj.maps["blocked"]["192.0.2.1/32"] = 1

    def same(packets: list[Packet]) -> None:
        for name in ("bounds", "checksum", "vlan", "options", "order", "fragment", "lpm", "ttl"):
            oracles.same_on({build: obj[name] for build, obj in builds.items()}, packets)

    compared(same, count=MANY // 2)


@pytest.mark.bpf_feature("ringbuf")
def test_15_c_and_rust_agree(bpf_shared: SharedBpf) -> None:
    rust = bpf_shared.load(SAMPLES / "aya/built/xdp_counter.bpf.o", globals={"AYA_LOG_LEVEL": "error"})
    c = bpf_shared.load(OBJECTS / "differs.bpf.o")
    for obj in (rust, c):
        obj.maps["BLOCKED"][0xC0000201] = 1

    def same(packets: list[Packet]) -> None:
        progs = {"Rust": rust["xdp_counter"], "C": c["counter_twin"]}
        oracles.same_on(progs, packets, maps=["PACKETS", "BLOCKED"])

    compared(same)


# test_run and the wire


@pytest.fixture
def paths(bpf_datapath: BpfDatapath) -> dict[str, BpfDatapath]:
    if bpf_datapath.name == "wire":
        pytest.skip("both paths are in one test")
    return {name: bpf_datapath.on(name) for name in ("test_run", "wire")}


def test_15_a_test_run_and_the_wire_agree(bpf_shared: SharedBpf, paths: dict[str, BpfDatapath]) -> None:
    obj = bpf_shared.load(SAMPLES / "built/xdp_decap.bpf.o")

    def same(packets: list[Packet]) -> None:
        oracles.same_on({name: path.of(obj["decap"]) for name, path in paths.items()}, packets)

    bpf_property(packets=st.packets({"ipip": 60}, broken=0, least=60), batch=16, max_examples=48)(same)()


def test_15_a_difference_between_a_test_run_and_the_wire(bpf_shared: SharedBpf, paths: dict[str, BpfDatapath]) -> None:
    obj = bpf_shared.load(OBJECTS / "differs.bpf.o")

    def same(packets: list[Packet]) -> None:
        oracles.same_on({name: path.of(obj["by_interface"]) for name, path in paths.items()}, packets)

    with pytest.raises(AssertionError) as failure:
        bpf_property(packets=st.packets(["ip", "udp", "tcp"], broken=0), batch=16, max_examples=64)(same)()
    text = "\n".join([str(failure.value), *failure.value.__notes__])
    assert "verdict <XDP.DROP: 1> on test_run, <XDP.PASS: 2> on wire" in text
    assert "Falsifying packet:\n    Eth() / IP() / UDP(dport=9)\n" in text
