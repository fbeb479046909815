"""Attaching: one row per family of program types, saying what it must be told and which function does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach import freplace as attach_special
from pytest_ebpf.live.attach import iter as attach_iter
from pytest_ebpf.live.attach import kprobe as attach_trace
from pytest_ebpf.live.attach import kprobe_multi as attach_multi
from pytest_ebpf.live.attach import netfilter as attach_filter
from pytest_ebpf.live.attach import netns as attach_net
from pytest_ebpf.live.attach import perf_event as attach_perf
from pytest_ebpf.live.attach import tcx as attach_tc
from pytest_ebpf.live.attach import uprobe as attach_user
from pytest_ebpf.live.attach import usdt as attach_usdt
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.cgroup import attach_cgroup
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.socket_filter import attach_socket
from pytest_ebpf.live.attach.xdp import attach_xdp
from pytest_ebpf.live.session import Session

__all__ = ["ATTACHERS", "Attacher", "attach_program", "attacher_for"]


class _Attach(Protocol):
    def __call__(self, session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link: ...


@dataclass(frozen=True, slots=True)
class Attacher:
    """``needs`` must be given, unless the section name says it; ``takes`` may be. ``prefixes`` are SEC() names without
    their target; a row is found by the longest prefix. ``from_section``: the argument that the target is, or
    ``read_target`` takes it apart."""

    prefixes: tuple[str, ...]
    run: _Attach
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    from_section: str = ""
    read_target: Callable[[str], Mapping[str, object]] | None = None


_TC = ("priority", "handle", "protocol", "classid", "netns", "mechanism", "before", "after")
_CGROUP = ("mode", "mechanism", "before", "after")

ATTACHERS: tuple[Attacher, ...] = (
    Attacher(("xdp", "xdp.frags"), attach_xdp, needs=("interface",), takes=("mode", "netns", "mechanism")),
    Attacher(("tc", "tcx", "classifier", "action"), attach_tc.attach_tc, needs=("interface", "direction"), takes=_TC),
    Attacher(
        ("tc/ingress", "tc/egress", "tcx/ingress", "tcx/egress"),
        attach_tc.attach_tc,
        needs=("interface",),
        takes=("direction", *_TC),
    ),
    Attacher(
        ("netkit/primary", "netkit/peer"),
        attach_tc.attach_netkit,
        needs=("interface",),
        takes=("netns", "before", "after"),
    ),
    Attacher(
        ("lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local"),
        attach_net.attach_lwt,
        needs=("route", "interface"),
        takes=("via", "headroom", "netns"),
    ),
    Attacher(("sk_lookup",), attach_net.attach_netns, takes=("netns",)),
    Attacher(("flow_dissector",), attach_net.attach_flow_dissector, takes=("netns", "mechanism")),
    Attacher(("socket",), attach_socket, needs=("socket",), takes=("reuseport",)),
    Attacher(("sk_reuseport", "sk_reuseport/migrate"), attach_socket, needs=("socket",)),
    Attacher(("lirc_mode2",), attach_special.attach_lirc, needs=("device",)),
    Attacher(("freplace",), attach_special.attach_freplace, takes=("target", "function")),
    Attacher(
        ("tracepoint", "tp", "tracepoint.s", "tp.s"),
        attach_trace.attach_tracepoint,
        needs=("event",),
        takes=("cookie",),
        from_section="event",
    ),
    Attacher(
        ("raw_tracepoint", "raw_tp", "raw_tracepoint.w", "raw_tp.w", "raw_tracepoint.s", "raw_tp.s"),
        attach_trace.attach_raw_tracepoint,
        needs=("event",),
        takes=("cookie",),
        from_section="event",
    ),
    Attacher(
        ("kprobe", "kretprobe", "ksyscall", "kretsyscall"),
        attach_trace.attach_kprobe,
        needs=("function",),
        takes=("offset", "cookie"),
        read_target=attach_trace.read_kprobe_target,
    ),
    Attacher(
        (
            *("tp_btf", "fentry", "fexit", "fmod_ret", "fsession", "lsm"),
            *("tp_btf.s", "fentry.s", "fexit.s", "fmod_ret.s", "fsession.s", "lsm.s"),
        ),
        attach_trace.attach_tracing,
        takes=("cookie",),
    ),
    Attacher(
        (
            *("fentry.multi", "fexit.multi", "fsession.multi"),
            *("fentry.multi.s", "fexit.multi.s", "fsession.multi.s"),
        ),
        attach_multi.attach_tracing_multi,
        needs=("function",),
        takes=("cookies",),
        from_section="function",
    ),
    Attacher(("iter", "iter.s"), attach_iter.attach_iter, takes=("map", "cgroup", "order", "pid", "tid")),
    Attacher(
        ("kprobe.multi", "kretprobe.multi", "kprobe.session"),
        attach_multi.attach_kprobe_multi,
        needs=("function",),
        takes=("cookies",),
        from_section="function",
    ),
    Attacher(
        ("uprobe", "uretprobe", "uprobe.s", "uretprobe.s"),
        attach_user.attach_uprobe,
        needs=("binary",),
        takes=("symbol", "offset", "pid", "cookie", "counter"),
        read_target=attach_user.read_user_target,
    ),
    Attacher(
        (
            *("uprobe.multi", "uretprobe.multi", "uprobe.session"),
            *("uprobe.multi.s", "uretprobe.multi.s", "uprobe.session.s"),
        ),
        attach_user.attach_uprobe_multi,
        needs=("binary",),
        takes=("symbol", "offset", "cookies", "pid"),
        read_target=attach_user.read_user_target,
    ),
    Attacher(
        ("usdt", "usdt.s"),
        attach_usdt.attach_usdt,
        needs=("binary", "provider", "name"),
        takes=("pid", "cookie"),
        read_target=attach_usdt.read_usdt_target,
    ),
    Attacher(
        ("perf_event",),
        attach_perf.attach_perf_event,
        needs=("event",),
        takes=("period", "frequency", "pid", "cpu", "inherit"),
    ),
    Attacher(
        ("netfilter",), attach_filter.attach_netfilter, needs=("family", "hook"), takes=("priority", "defrag", "netns")
    ),
    Attacher(
        ("sk_skb", "sk_msg", "sk_skb/stream_parser", "sk_skb/stream_verdict", "sk_skb/verdict"),
        attach_filter.attach_sockmap,
        needs=("map",),
        takes=("mechanism", "role"),
    ),
    Attacher(("cgroup/skb", "cgroup_skb"), attach_cgroup, needs=("cgroup", "direction"), takes=_CGROUP),
    Attacher(
        ("cgroup", "cgroup_skb/ingress", "cgroup_skb/egress", "sockops"),
        attach_cgroup,
        needs=("cgroup",),
        takes=_CGROUP,
    ),
    Attacher(("lsm_cgroup",), attach_cgroup, needs=("cgroup",), takes=("before", "after")),
)

# What cannot be attached because there is nothing to attach it to: it is called by name.
_EXT = 28  # enum bpf_prog_type
_CALLED = frozenset({"syscall"})
# What becomes the value of a map instead: prefix -> how.
_IN_MAPS: Mapping[str, str] = {
    f"{kind}/{map}": f"it runs for what is sent to an entry of a {map} that has it: "
    f'obj.maps["m"][0] = {{{field}, "program": program}}'
    for kind in ("xdp", "xdp.frags")
    for map, field in (("devmap", '"ifindex": 3'), ("cpumap", '"qsize": 192'))
}


def attacher_for(program: AttachableProgram) -> Attacher | None:
    """The row of a program, None for types that are not attached (or not yet, by this package)."""
    spec = program.definition.spec
    prefix = spec.prefix if spec is not None else ""
    if program.type_number == _EXT:
        prefix = "freplace"  # whatever its section says: load() was told that it extends another
    while prefix and prefix not in _IN_MAPS:
        for row in ATTACHERS:
            if prefix in row.prefixes:
                return row
        prefix = prefix.rpartition("/")[0]
    return None


def attach_program(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """Attach by the program's row. ``BpfUsageError`` names an argument that is missing or that the type does not
    take."""
    row = attacher_for(program)
    if row is None:
        raise BpfUsageError(*_no_row(program))
    known = (*row.needs, *row.takes)
    unknown = [name for name in named if name not in known]
    if unknown:
        raise BpfUsageError(_no_argument(program, unknown[0], known=known))
    given = {**_said_by_section(row, program), **named}
    for name in row.needs:
        if given.get(name) is None:
            raise BpfUsageError(
                f"{program.name} is a {program.type} program in section {program.definition.section!r}: "
                f"attach() needs {name}=",
                hint=f"Write {program.name}.attach({name}={_EXAMPLES.get(name, '...')}).",
            )
    return row.run(session, program, named=given)


def _no_argument(program: AttachableProgram, name: str, *, known: tuple[str, ...]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    near = f" (did you mean {close[0]}?)" if close else ""
    takes = f"it takes {', '.join(known)}" if known else "its section name says it all"
    return f"{program.name} is a {program.type} program: attach() takes no {name}{near}; {takes}"


def _said_by_section(row: Attacher, program: AttachableProgram) -> Mapping[str, object]:
    target = program.definition.spec.target if program.definition.spec is not None else ""
    if not target:
        return {}
    if row.read_target is not None:
        return row.read_target(target)
    return {row.from_section: target} if row.from_section else {}


_EXAMPLES: Mapping[str, str] = {
    "interface": '"lo"',
    "direction": '"ingress"',
    "event": '"sched/sched_process_exec"',
    "function": '"do_unlinkat"',
    "cgroup": "bpf.cgroup()",
    "binary": '"libc.so.6"',
    "symbol": '"getpid"',
    "provider": '"python"',
    "name": '"gc__start"',
    "family": '"ipv4"',
    "hook": '"input"',
    "map": 'obj.maps["sockets"]',
    "socket": 'bpf.socket("udp")',
    "route": '"192.0.2.0/24"',
    "device": '"/dev/lirc0"',
}


def _no_row(program: AttachableProgram) -> tuple[str]:
    section, spec = program.definition.section, program.definition.spec
    if spec is not None and spec.prefix in _IN_MAPS:
        return (f"{program.name} ({section}) is not attached: {_IN_MAPS[spec.prefix]}",)
    if spec is not None and spec.prefix in _CALLED:
        return (f"{program.name} ({section}) is not attached to anything: run it with prog.run(...)",)
    return (f"{program.name} ({section}): attaching {program.type} programs is not supported yet",)
