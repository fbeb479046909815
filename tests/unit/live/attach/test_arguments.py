"""The arguments of attaching: what is missing or wrong is named, targets by position, options by their types."""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from pytest_ebpf.agent.ops import (
    LinkCreate,
    OpenFile,
    PerfEventOpen,
    RawTracepointOpen,
)
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach.arguments import AttachOptions
from pytest_ebpf.live.attach.link import Mechanism
from pytest_ebpf.live.attach.table import ATTACHERS
from pytest_ebpf.live.machine.cgroup import Cgroup
from pytest_ebpf.uapi.links import LinkType
from support.attach_session import Make, sent

U64 = "must be an unsigned 64-bit integer"


@pytest.mark.parametrize(
    ("section", "named", "message"),
    [
        ("xdp", {}, r"p is a xdp program in section 'xdp': attach\(\) needs interface="),
        ("xdp", {"interface": "lo", "speed": 1}, r"attach\(\) takes no speed=; it takes interface=, mode="),
        ("xdp", {"interface": "lo", "mode": "fast"}, "mode= must be one of skb, generic, .*, got 'fast'"),
        ("xdp", {"interface": "lo", "mechanism": "tcx"}, "mechanism= must be one of link, netlink, got 'tcx'"),
        ("xdp", {"interface": "eth7"}, "kernel fake has no network interface 'eth7'"),
        ("xdp", {"interfac": "lo"}, r"takes no interfac=(.|\n)*did you mean interface\?"),
        ("xdp", {"interface": 1.5}, r"p is a xdp program: interface= expects a network interface: .*got 1.5 \(float\)"),
        ("xdp", {"interface": True}, r"interface= expects .*got True \(bool\)"),
        ("xdp", {"interface": "lo", "netns": 3}, r"netns= expects a network namespace: .*got 3 \(int\)"),
        ("kprobe/x", {"cookie": "y"}, f"cookie= {U64}, got 'y'"),
        ("kprobe/x", {"offset": -1}, f"offset= {U64}, got -1"),
        ("kprobe", {"function": b"x"}, "function= expects the name of a kernel function or an address, got b'x'"),
        ("kprobe.multi", {"function": []}, "function= expects a name, a pattern such as 'vfs_\\*', or a list"),
        ("kprobe.multi/x", {"cookies": [1, 2]}, "cookies= expects a list of 1 integers"),
        ("kprobe.multi/x", {"cookies": [-1]}, "cookies= expects unsigned 64-bit integers"),
        ("uprobe", {}, r"attach\(\) needs binary="),
        ("uprobe", {"binary": 7}, "binary= expects a path, or the name of a program or library; got 7"),
        ("uprobe//bin/sh", {}, r"needs symbol= \(a function of /bin/sh\) or offset="),
        ("uprobe//bin/sh", {"offset": "x"}, f"offset= {U64}, got 'x'"),
        ("uprobe.multi//bin/sh", {}, r"attach\(\) needs symbol="),
        ("uprobe.multi//bin/sh", {"symbol": [1]}, "symbol= expects the name of a function, a pattern, or a list of"),
        ("perf_event", {}, r"needs event=(.|\n)*Write p.attach\(event=\"cpu-clock\", frequency=99\)"),
        ("perf_event", {"event": "cpu-clock"}, "needs either period=.* or frequency="),
        ("perf_event", {"event": "nothing", "period": 1}, "unknown perf event 'nothing'"),
        ("perf_event", {"event": "cpu-clock", "period": -1}, f"period= {U64}, got -1"),
        ("iter/bpf_map_elem", {"map": "counts"}, "map= expects a loaded map, .* got 'counts'"),
        ("iter/task", {"pid": 0}, "pid= must be an integer from 1 to .*, got 0"),
        ("netfilter", {"family": "ipv5", "hook": "input"}, "family= must be one of ipv4, ipv6, got 'ipv5'"),
        ("netfilter", {"family": "ipv4", "hook": "input", "priority": "x"}, "priority= must be an integer from -.*'x'"),
        ("sk_msg", {"map": 1}, r"map= expects a loaded map.* got 1 \(int\)"),
        ("socket", {"socket": 3}, r"socket= expects a socket from bpf.socket\(...\).*got 3"),
        ("tc", {"interface": "lo"}, r"attach\(\) needs direction="),
        ("tc", {"interface": "lo", "direction": "up"}, "direction= must be one of ingress, egress, got 'up'"),
        ("tc/ingress", {"interface": "lo", "mechanism": "clsact", "before": "all"}, "is for clsact filters"),
        ("kprobe", {}, r"attach\(\) needs function="),
        ("tracepoint", {"event": "sched_switch"}, "event= expects 'category:name'"),
        ("cgroup/connect4", {}, r"attach\(\) needs cgroup="),
        ("cgroup/connect4", {"cgroup": 5}, r"cgroup= expects a cgroup from bpf.cgroup\(\) or its path; got 5"),
        ("fentry/x", {"function": "y"}, "p was loaded for 'x' and cannot be attached to 'y'"),
        ("lsm/file_open", {"function": "y"}, r"attach\(\) takes no function=; it takes cookie="),
        ("syscall", {}, r"is not attached to anything: run it with prog.run\(...\)"),
        ("struct_ops/x", {}, "attaching struct_ops programs is not supported yet"),
    ],
)
def test_what_is_missing_or_wrong_is_named(make: Make, section: str, named: dict[str, Any], message: str) -> None:
    program, _ = make(section)
    with pytest.raises(BpfUsageError, match=message):
        program.attach(**named)


@pytest.mark.parametrize(
    ("section", "place", "named", "message"),
    [
        ("xdp", ("lo",), {"interface": "lo"}, r"attach\(\) got interface by position and by name: give it once"),
        ("xdp", ("lo", "skb"), {}, r"takes only interface by position, got 2 arguments; it takes interface=, mode="),
        ("xdp", (1.5,), {}, r"interface= expects a network interface"),
        ("perf_event", ("cpu-clock",), {}, r"p is a perf_event program: attach\(\) takes nothing by position, got 1 "),
        ("iter/task", (7,), {}, r"attach\(\) takes nothing by position.*it takes map=, cgroup=, order=, pid=, tid="),
        ("lsm/file_open", ("file_open",), {}, "takes nothing by position"),
        ("uprobe", ("libc.so.6", "getpid", 3), {}, "takes only binary and symbol by position, got 3 arguments"),
        ("usdt", ("python3", "gc__start"), {}, r"attach\(\) expects 'provider:name' as argument 2, got 'gc__start'"),
        ("usdt", ("python3", "a:b"), {"name": "c"}, "got name by position and by name"),
        ("fentry/x", ("y",), {}, "p was loaded for 'x' and cannot be attached to 'y'"),
    ],
)
def test_a_wrong_position_is_named(
    make: Make, section: str, place: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    program, _ = make(section)
    with pytest.raises(BpfUsageError, match=message):
        program.attach(*place, **named)


class End:
    """An interface as a test holds one."""

    index, name, netns = 7, "veth0", None


def test_the_target_by_position(make: Make) -> None:
    program, session = make("xdp")
    assert program.attach("lo", mode="skb").target == "lo"
    assert program.attach(End()).target == "veth0"
    assert [op.target for op in sent(session, LinkCreate)] == [1, 7]
    program, session = make("tc/egress")
    program.attach(7)
    assert [(op.attach_type, op.target) for op in sent(session, LinkCreate)] == [(47, 7)]
    program, session = make("kprobe")
    program.attach("do_unlinkat", offset=4)
    assert [(op.config1, op.config2) for op in sent(session, PerfEventOpen)] == [("do_unlinkat", 4)]
    program, session = make("cgroup/connect4")
    program.attach("/sys/fs/cgroup/x")
    program.attach(Cgroup(session, path="/x", handle=session.make(OpenFile("/x"))))
    assert [op.attach_type for op in sent(session, LinkCreate)] == [10, 10]


@pytest.mark.parametrize("event", ["sched:sched_switch", "sched/sched_switch"])
def test_the_event_of_a_tracepoint_by_position(make: Make, event: str) -> None:
    program, session = make("tp")
    assert program.attach(event).target == "sched/sched_switch"
    assert [op.config for op in sent(session, PerfEventOpen)] == [314]
    program, session = make("raw_tp")
    program.attach("sched_switch")
    assert [op.name for op in sent(session, RawTracepointOpen)] == ["sched_switch"]


def test_what_a_program_was_loaded_for_may_be_repeated(make: Make) -> None:
    program, session = make("fentry/do_unlinkat")
    program.attach("do_unlinkat")
    program.attach(function="do_unlinkat")
    program.attach()
    assert len(sent(session, RawTracepointOpen)) == 3


def test_none_is_as_if_left_out(make: Make) -> None:
    program, session = make("tc/ingress")
    program.attach("lo", mechanism=None, priority=None, before=None, netns=None)
    assert [op.attach_type for op in sent(session, LinkCreate)] == [46]


def test_options_are_those_of_the_functions() -> None:
    """Every option of a row is in ``AttachOptions``, with a type that holds that of the function, and no other is."""
    typed = {name: set(map(str, members(kind))) for name, kind in get_type_hints(AttachOptions).items()}
    seen: set[str] = set()
    for row in ATTACHERS:
        hints = get_type_hints(row.run)
        for name in (*row.needs, *row.takes):
            seen.add(name)
            assert set(map(str, members(hints[name]))) <= typed[name], (row.run.__name__, name)
        for position in row.positions:
            assert set(position.split(":")) <= {*row.needs, *row.takes}, row.prefixes
        assert set(row.preset) <= set(row.takes), row.prefixes
    assert seen == set(typed)


def members(kind: Any) -> set[Any]:
    """The types in a union; of a Literal its values."""
    if get_origin(kind) in (Union, UnionType):
        return {each for part in get_args(kind) for each in members(part)}
    return set(get_args(kind)) if get_origin(kind) is Literal else {kind}


def test_every_mechanism_of_tracing_programs_and_of_pinned_links_has_a_member() -> None:
    for row in ATTACHERS:
        if row.run.__module__.endswith((".tracing", ".tracing_multi")):
            assert {Mechanism(f"{prefix} link") for prefix in row.prefixes}
    for kind in LinkType:
        if kind is not LinkType.UNSPEC:
            assert Mechanism.of_link_type(kind.name.lower()) is not Mechanism.UNKNOWN_LINK, kind
    assert Mechanism.of_link_type("77") is Mechanism.UNKNOWN_LINK
    assert Mechanism.XDP_LINK == "xdp link"
    assert f"{Mechanism.XDP_LINK}" == "xdp link"
