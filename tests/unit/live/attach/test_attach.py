"""Attaching: which operations a kernel is asked for, and what is said when something is missing."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

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
    PerfAttach,
    PerfEventOpen,
    ProgAttach,
    ProgDetach,
    ProgQuery,
    RawTracepointOpen,
    Try,
)
from pytest_ebpf.errors import BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.attach.table import ATTACHERS
from pytest_ebpf.live.attach.uprobe import read_user_target
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.sections import ROWS
from support.attach_session import FILES, NO_LINKS, Make, sent


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
