"""Attaching: which operations a kernel is asked for, and what is said when something is missing."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from pytest_ebpf.agent.ops import (
    Close,
    Data,
    Done,
    Failed,
    Handle,
    LinkCreate,
    Made,
    MapCreate,
    Mount,
    Netlink,
    OpenFile,
    PerfAttach,
    PerfEventOpen,
    ProgAttach,
    ProgDetach,
    ProgLoad,
    ProgLoaded,
    ProgQuery,
    RawTracepointOpen,
    ReadFile,
    Try,
)
from pytest_ebpf.errors import BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.attach.arguments import AttachOptions
from pytest_ebpf.live.attach.link import Mechanism
from pytest_ebpf.live.attach.table import ATTACHERS
from pytest_ebpf.live.attach.uprobe import read_user_target
from pytest_ebpf.live.machine.cgroup import Cgroup
from pytest_ebpf.live.program import Program
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import ObjectFile, ProgramDef
from pytest_ebpf.obj.sections import parse_section
from pytest_ebpf.uapi.links import LinkType
from pytest_ebpf.uapi.sections import ROWS

Make = Callable[..., tuple[Program, Session]]
NO_LINKS = {LinkCreate: Failed("LinkCreate", errno.EINVAL, "invalid")}
FILES = {
    "/sys/class/net/lo/ifindex": b"1\n",
    "/sys/kernel/tracing/trace_clock": b"[local]",
    "/sys/kernel/tracing/events/sched/sched_switch/id": b"314\n",
    "/sys/bus/event_source/devices/kprobe/type": b"8\n",
    "/sys/bus/event_source/devices/kprobe/format/retprobe": b"config:0\n",
    "/sys/devices/system/cpu/online": b"0,2-3\n",
    "/proc/7/comm": b"demo\n",
    "/proc/mounts": b"none /sys/fs/cgroup cgroup2 rw 0 0\n",
}


def read(op: ReadFile) -> Data | Failed:
    if op.path in FILES:
        return Data(FILES[op.path])
    return Failed("ReadFile", errno.ENOENT, f"{op.path}: no such file")


@pytest.fixture
def make(session_on: Callable[..., Session]) -> Make:
    def make(section: str, answers: dict[Any, Any] | None = None) -> tuple[Program, Session]:
        session = session_on({ReadFile: read, **(answers or {})})
        definition = ProgramDef("p", section, parse_section(section), insns=b"")
        obj = ObjectFile("o", "little", "GPL", (definition,))
        (loaded,) = session.run([ProgLoad(1, b"", "GPL")])
        assert isinstance(loaded, ProgLoaded)
        return Program(session, definition=definition, loaded=loaded, obj=obj), session

    return make


def sent(session: Session, *kinds: type) -> list[Any]:
    ops = [op for batch in session.target.kernel.batches for op in batch]
    flat = [op.op if isinstance(op, Try) else op for op in ops]
    return [op for op in flat if isinstance(op, kinds)]


def test_every_row_is_of_a_known_section() -> None:
    known = {row[0] for row in ROWS} | {row[0].partition("/")[0] for row in ROWS}
    for row in ATTACHERS:
        assert set(row.prefixes) <= known, row.prefixes


def test_xdp(make: Make) -> None:
    program, session = make("xdp")
    link = program.attach(interface="lo", mode="skb")
    (op,) = sent(session, LinkCreate)
    assert (op.attach_type, op.target, op.flags) == (37, 1, 2)
    assert repr(link) == "<Link p on lo (xdp link)>"
    link.detach()
    link.detach()
    assert [close.obj for close in sent(session, Close)] == [link.handle]
    assert repr(link) == "<Link p on lo (xdp link, detached)>"


def test_a_link_ends_with_its_block(make: Make) -> None:
    program, session = make("xdp")
    with program.attach(interface=1) as link:
        assert link.attached
        with pytest.raises(BpfUsageError, match="p is not an iterator: its xdp link cannot be read"):
            link.read()
    assert not link.attached
    assert len(sent(session, Close)) == 1


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


def test_tc_takes_tcx_where_there_is_one(make: Make) -> None:
    program, session = make("tc")
    assert program.attach(interface="lo", direction="egress").mechanism == "tcx link"
    assert sent(session, Netlink) == []
    program, session = make("tc/ingress")
    program.attach(interface="lo")
    assert [op.attach_type for op in sent(session, LinkCreate)] == [46]


def test_tc_falls_back_to_clsact(make: Make) -> None:
    program, session = make(
        "classifier", {**NO_LINKS, ProgQuery: Failed("ProgQuery", errno.EINVAL, "invalid"), Netlink: Data(b"")}
    )
    link = program.attach(interface="lo", direction="ingress")
    assert link.mechanism == "clsact filter"
    qdisc, filter_ = sent(session, Netlink)
    assert b"bpf\0" in filter_.request
    assert b"clsact" in qdisc.request
    (place,) = filter_.fds
    assert place.target == program.handle
    session.close()  # takes filter and qdisc off again
    # the filter; whether others hang on the qdisc, in two directions; the qdisc, and again with the session
    assert [op.request[4] for op in sent(session, Netlink)[2:]] == [45, 46, 46, 37, 37]
    assert not link.attached


def test_a_qdisc_that_was_there_stays(make: Make) -> None:
    answers = [Failed("Netlink", errno.EEXIST, "exists"), Data(b""), Data(b"")]
    program, session = make(
        "tc", {**NO_LINKS, ProgQuery: Failed("ProgQuery", errno.EINVAL, "invalid"), Netlink: answers}
    )
    program.attach(interface="lo", direction="ingress").detach()
    assert len(sent(session, Netlink)) == 3


def test_xdp_falls_back_to_netlink(make: Make) -> None:
    """Linux 5.4: no XDP links."""
    program, session = make("xdp", {**NO_LINKS, Netlink: Data(b"")})
    link = program.attach(interface="lo", mode="generic")
    assert link.mechanism == "xdp netlink"
    assert not link.is_object
    other, _ = make("xdp")
    with pytest.raises(KernelCallError, match="earlier life"):
        link.update(other)
    link.detach()
    put, _, off = sent(session, Netlink)
    assert [place.target for place in put.fds + off.fds] == [program.handle, program.handle]


def test_xdp_that_is_refused_for_another_reason_is_an_error(make: Make) -> None:
    answers = [Failed("LinkCreate", errno.EINVAL, "too large"), Made(Handle(9, "b", "link"))]
    program, session = make("xdp", {LinkCreate: answers})
    with pytest.raises(KernelCallError, match="EINVAL"):
        program.attach(interface="lo")
    assert sent(session, Netlink) == []


@pytest.mark.parametrize(
    ("named", "flags"),
    [({}, [2]), ({"mode": "single"}, [0]), ({"mode": "override"}, [1]), ({"mechanism": "attach"}, [2])],
)
def test_cgroup_without_links(make: Make, named: dict[str, object], flags: list[int]) -> None:
    """Linux 5.4, or when asked for."""
    program, session = make("cgroup/connect4", {**NO_LINKS, ProgAttach: Done(), ProgDetach: Done()})
    link = program.attach(cgroup="/sys/fs/cgroup/x", **named)
    assert link.mechanism == "cgroup without link"
    assert [op.flags for op in sent(session, ProgAttach)] == flags
    link.update(program)
    replaced = sent(session, ProgAttach)[-1]
    assert (replaced.flags, replaced.replace) == ((6, program.handle) if flags == [2] else (flags[0], None))
    session.close()
    assert len(sent(session, ProgDetach)) == 1


def test_where_a_program_goes_among_others(make: Make) -> None:
    program, session = make("tcx/egress")
    program.attach(interface="lo", before="all")
    program.attach(interface="lo", after=program)
    first, second = sent(session, LinkCreate)
    assert (first.flags, second.flags) == (1 << 3, 1 << 4 | 1 << 5)
    assert second.extra[:4] == program.id.to_bytes(4, "little")


def test_what_goes_into_a_map_says_so(make: Make) -> None:
    program, _ = make("xdp/devmap")
    with pytest.raises(BpfUsageError, match=r'entry of a devmap that has it: obj.maps\["m"\]\[0\] = {"ifindex": 3'):
        program.attach(interface="lo")


def test_a_taken_tcx_is_an_error_not_a_fallback(make: Make) -> None:
    program, _ = make("tc", {LinkCreate: Failed("LinkCreate", errno.EPERM, "not permitted")})
    with pytest.raises(KernelCallError, match="EPERM"):
        program.attach(interface="lo", direction="ingress")


def test_tracepoint(make: Make) -> None:
    program, session = make("tracepoint/sched/sched_switch")
    assert program.attach().mechanism == "perf event link"
    (event,) = sent(session, PerfEventOpen)
    assert (event.type, event.config) == (2, 314)
    (link,) = sent(session, LinkCreate)
    assert link.attach_type == 41


def test_tracepoint_before_there_were_links(make: Make) -> None:
    """Linux 5.10."""
    program, session = make(
        "tp/sched/sched_switch", {LinkCreate: Failed("LinkCreate", errno.EINVAL, ""), PerfAttach: Done()}
    )
    link = program.attach()
    assert link.mechanism == "perf event"
    link.detach()
    assert [close.obj for close in sent(session, Close)] == [link.handle]


def test_a_tracepoint_that_this_kernel_lacks(make: Make) -> None:
    program, _ = make("tracepoint/sched/sched_nap")
    with pytest.raises(PlanError, match="this kernel has no tracepoint sched/sched_nap") as error:
        program.attach()
    assert error.value.feature == "tracepoint:sched/sched_nap"


def test_tracefs_is_mounted_where_it_is_not(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FILES, "/sys/kernel/tracing/trace_clock")
    program, session = make("tracepoint/sched/sched_switch", {Mount: Done()})
    program.attach()
    assert [op.fstype for op in sent(session, Mount)] == ["tracefs"]


@pytest.mark.parametrize(
    ("section", "config", "symbol"),
    [("kprobe/f", 0, "f"), ("kretprobe/f", 1, "f"), ("ksyscall/bpf", 0, "__x64_sys_bpf")],
)
def test_kprobe(make: Make, section: str, config: int, symbol: str) -> None:
    program, session = make(section)
    program.attach()
    (event,) = sent(session, PerfEventOpen)
    assert (event.type, event.config, event.config1, event.config2) == (8, config, symbol, 0)


def test_a_kernel_without_kprobes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FILES, "/sys/bus/event_source/devices/kprobe/type")
    program, _ = make("kprobe/f")
    with pytest.raises(PlanError, match="this kernel cannot attach kprobes"):
        program.attach()


@pytest.mark.parametrize(
    ("section", "name"), [("raw_tp/sys_enter", "sys_enter"), ("fentry/f", ""), ("lsm/file_open", ""), ("tp_btf/x", "")]
)
def test_raw_tracepoint_open(make: Make, section: str, name: str) -> None:
    program, session = make(section)
    program.attach()
    assert [op.name for op in sent(session, RawTracepointOpen)] == [name]


def test_cgroup(make: Make) -> None:
    program, session = make("cgroup/connect4")
    program.attach(cgroup="/sys/fs/cgroup/x")
    (op,) = sent(session, LinkCreate)
    assert op.attach_type == 10


def test_objects_are_signed_with_the_line_that_asked(session_on: Callable[..., Session]) -> None:
    session = session_on()
    session.run([MapCreate(1, 4, 4, 1), Try(MapCreate(1, 4, 4, 1)), MapCreate(1, 4, 4, 1, site="mine")])
    sites = [getattr(op, "op", op).site for op in session.target.kernel.batches[-1]]
    assert sites[0] == sites[1]
    assert sites[0].startswith(f"{Path(__file__).name}:")
    assert sites[2] == "mine"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("libc.so.6:getpid", {"binary": "libc.so.6", "symbol": "getpid"}),
        ("/bin/sh:main+0x10", {"binary": "/bin/sh", "symbol": "main", "offset": 16}),
        ("/bin/sh:0x1234", {"binary": "/bin/sh", "offset": 0x1234}),
        ("/bin/sh", {"binary": "/bin/sh"}),
    ],
)
def test_sections_of_uprobes(target: str, said: dict[str, object]) -> None:
    assert read_user_target(target) == said


def test_cookies_need_a_link(make: Make) -> None:
    """Without perf event links a cookie has no place: the attachment is refused and nothing stays."""
    program, session = make("kprobe/x", {LinkCreate: Failed("LinkCreate", errno.EINVAL, "invalid")})
    with pytest.raises(KernelCallError):
        program.attach(cookie=1)
    assert sent(session, PerfAttach) == []
    assert getattr(sent(session, Close)[0].obj, "kind", "") == "perf_event"


def test_a_perf_event_for_each_processor(make: Make) -> None:
    program, session = make("perf_event")
    link = program.attach(event="cpu-clock", frequency=99)
    opened = sent(session, PerfEventOpen)
    assert [op.cpu for op in opened] == [0, 2, 3]
    assert {(op.type, op.config, op.sample_period, op.bits) for op in opened} == {(1, 0, 99, 1 << 10)}
    link.detach()
    assert len(sent(session, Close)) == 2 * len(opened)
    program.attach(event="raw:0x1a8", period=5, pid=7, inherit=True)
    (op,) = sent(session, PerfEventOpen)[len(opened) :]
    assert (op.type, op.config, op.sample_period, op.pid, op.cpu, op.bits) == (4, 0x1A8, 5, 7, -1, 2)
