"""Do instrumented copies do what the programs do? For tests (some packets) and ci/doubles (many, on all kernels)."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_ebpf import IP, TCP, UDP, Bpf, BpfObject, Eth, Map
from pytest_ebpf.errors import EbpfError
from pytest_ebpf.live.instrument.failing import FaultPlan
from pytest_ebpf.live.run.rules import RUN_RULES
from support.paths import ROOT

SAMPLES = ROOT / "sample_programs/built"
CORPUS = (SAMPLES, ROOT / "tests/objects/built")
# What runs on packets and depends on nothing else: object, programs, maps and globals to set first.
PROGRAMS = ("bounded_loop", "config", "map_kinds", "skb_filters", "tail_calls", "tc_port_map", "tc_rewrite")
PROGRAMS += ("xdp_decap", "xdp_firewall", "xdp_lb")
SHORTEST = 54  # test runs of some kernels want whole headers of what the EtherType says, IPv6 at most
ADDRESSES = ("192.0.2.9", "198.51.100.7", "203.0.113.1", "203.0.113.80", "10.0.0.1")
PORTS = (53, 80, 8080, 1025)


def packets(count: int, *, seed: int = 17) -> list[bytes]:
    """Whole, cut and damaged packets."""
    chance = random.Random(seed)
    made: list[bytes] = []
    for _ in range(count):
        ip = IP(src=chance.choice(ADDRESSES), dst=chance.choice(ADDRESSES))
        kind = chance.choice((UDP, TCP))
        inner = (
            ip / kind(sport=chance.choice(PORTS), dport=chance.choice(PORTS)) / chance.randbytes(chance.randrange(80))
        )
        if chance.random() < 0.2:
            inner = IP(src=chance.choice(ADDRESSES), dst=chance.choice(ADDRESSES), proto=4) / inner
        data = bytearray(bytes(Eth() / inner))
        if chance.random() < 0.3:
            data = data[: chance.randrange(14, len(data) + 1)]
        if chance.random() < 0.3:
            data[chance.randrange(12, len(data))] = chance.randrange(256)
        made.append(bytes(data).ljust(14, b"\0"))
    return made


def prepare(obj: BpfObject) -> BpfObject:
    """Fill the maps that decide what happens."""
    if obj.name.startswith("xdp_firewall"):
        obj.maps["blocked"]["198.51.100.0/24"] = 1
    if obj.name.startswith("xdp_lb"):
        for slot in range(4):
            obj.maps["dns"][slot] = {"address": bytes([10, 0, 0, slot]), "mac": bytes(6), "weight": slot % 3}
        obj.maps["services"][53] = obj.maps["dns"]
    return obj


def outcome(obj: BpfObject, made: list[bytes]) -> dict[str, object]:
    """Verdicts, bytes and maps after all packets went through every program that takes packets."""
    runs: dict[str, object] = {}
    for name, program in obj.programs.items():
        rule = RUN_RULES.get(program.type_number)
        if rule is not None and rule.takes_data and rule.context != "bpf_flow_keys":
            fitting = made if rule.context == "xdp_md" else [data for data in made if len(data) >= SHORTEST]
            runs[name] = [(int(result.retval), bytes(result.data)) for result in program.run_many(fitting)]
    return {**runs, **{name: _contents(found) for name, found in obj.maps.items()}}


def _contents(found: Map) -> object:
    try:
        return sorted(map(repr, found.items()))
    except (EbpfError, TypeError, ValueError, KeyError):
        return None  # a map that cannot be listed


def instrumentations() -> Iterator[tuple[str, Callable[[BpfObject], None]]]:
    """Each way to look on, and each fault that is there and does not strike."""

    def idle_faults(obj: BpfObject) -> None:
        names = {site.function for parts in obj.instruments.programs.values() for site in parts.sites if site.can_fail}
        for name in sorted(names):
            obj.instruments.fail(FaultPlan(name, times=0))

    def count(obj: BpfObject) -> None:
        obj.instruments.count()

    def everything(obj: BpfObject) -> None:
        for instrument in (count, BpfObject.record_calls, idle_faults):
            instrument(obj)

    yield from (("coverage", count), ("calls", BpfObject.record_calls), ("faults", idle_faults), ("all", everything))


def double_everything(bpf: Bpf, path: Path) -> int:
    """Load an object once for each helper, kfunc and function that it calls, with this one doubled, run it where that
    goes, and say how many doubles the verifier took. What is loaded afterwards knows nothing of it."""
    with bpf.load(path) as plain:
        names = {site.function for parts in plain.instruments.programs.values() for site in parts.sites}
    taken = 0
    for name in sorted(names):
        try:
            with bpf.load(path, doubles={name: bpf.fake(retval=0)}) as doubled:
                taken += 1
                outcome(prepare(doubled), packets(20))
        except EbpfError:
            continue  # of a pointer that is used, or of a call that fills memory
    return taken


@dataclass(frozen=True, slots=True)
class Share:
    """Of how many programs that load an instrumented copy loads, too. ``refused``: which not, and why."""

    plain: int
    instrumented: int
    refused: tuple[str, ...]


def corpus_share(bpf: Bpf, directories: tuple[Path, ...] = CORPUS) -> Share:
    """Load every program of every object, and then a copy with counters."""
    plain = 0
    refused: list[str] = []
    files = {path for directory in directories for path in directory.rglob("*.o")}
    for path in sorted(path for path in files if not path.name.endswith(".bpfeb.o")):  # of other kernels
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for obj in _loaded(bpf, path):
                with obj:
                    plain += len(obj.programs)
                    obj.instruments.count()
                    refused += obj.instruments.notes
    return Share(plain, plain - len(refused), tuple(refused))


def _loaded(bpf: Bpf, path: Path) -> Iterator[BpfObject]:
    """The object, or each of its programs by itself where not all load."""
    try:
        yield bpf.load(path)
        return
    except (EbpfError, OSError, ValueError):
        pass
    try:
        names = list(bpf.open(path).programs)
    except (EbpfError, OSError, ValueError):
        return
    for name in names:
        try:
            yield bpf.load(path, only=name)
        except (EbpfError, OSError, ValueError):
            continue
