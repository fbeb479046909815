"""Attaching: one row per family of program types, with the function that attaches it. What a row needs and takes is
the signature of that function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import Parameter, signature
from types import MappingProxyType

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.live.attach.arguments import check_targets
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.cgroup import attach_cgroup, attach_cgroup_skb, attach_lsm_cgroup
from pytest_ebpf.live.attach.freplace import attach_freplace
from pytest_ebpf.live.attach.iter import attach_iter
from pytest_ebpf.live.attach.kprobe import attach_kprobe, read_kprobe_target
from pytest_ebpf.live.attach.kprobe_multi import attach_kprobe_multi
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.lirc import attach_lirc
from pytest_ebpf.live.attach.lwt import attach_lwt
from pytest_ebpf.live.attach.netfilter import attach_netfilter
from pytest_ebpf.live.attach.netkit import attach_netkit
from pytest_ebpf.live.attach.netns import attach_flow_dissector, attach_netns
from pytest_ebpf.live.attach.perf_event import attach_perf_event
from pytest_ebpf.live.attach.raw_tracepoint import attach_raw_tracepoint
from pytest_ebpf.live.attach.socket_filter import attach_reuseport, attach_socket
from pytest_ebpf.live.attach.sockmap import attach_sockmap
from pytest_ebpf.live.attach.tcx import attach_tc
from pytest_ebpf.live.attach.tracepoint import attach_tracepoint
from pytest_ebpf.live.attach.tracing import attach_lsm, attach_tp_btf, attach_trampoline
from pytest_ebpf.live.attach.tracing_multi import attach_tracing_multi
from pytest_ebpf.live.attach.uprobe import attach_uprobe, read_user_target
from pytest_ebpf.live.attach.uprobe_multi import attach_uprobe_multi
from pytest_ebpf.live.attach.usdt import attach_usdt, read_usdt_target
from pytest_ebpf.live.attach.xdp import attach_xdp
from pytest_ebpf.live.session import Session
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.uapi.enums import ProgType

__all__ = ["ATTACHERS", "Attacher", "attach_program", "attacher_for"]

Attach = Callable[..., Link]


@dataclass(frozen=True, slots=True)
class Attacher:
    """``prefixes`` are SEC() names without their target; a row is found by the longest prefix. ``positions``: the
    options that may be given by position; "provider:name" is one position for two options. ``from_section``: the option
    that the target in the section name is, unless ``read_target`` reads it. ``preset``: what the prefix states."""

    prefixes: tuple[str, ...]
    run: Attach
    positions: tuple[str, ...] = ()
    from_section: str = ""
    read_target: Callable[[str], Mapping[str, object]] | None = None
    preset: Mapping[str, object] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, ...]:
        """The options that must be given, unless the section name states them."""
        return tuple(name for name in _options(self.run)[0] if name not in self.preset)

    @property
    def takes(self) -> tuple[str, ...]:
        """The other options."""
        needed, optional = _options(self.run)
        return tuple(name for name in (*needed, *optional) if name not in self.needs)


@cache
def _options(run: Attach) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(keyword-only parameters without a default, those with one)."""
    options = [each for each in signature(run).parameters.values() if each.kind is Parameter.KEYWORD_ONLY]
    needed = tuple(each.name for each in options if each.default is Parameter.empty)
    return needed, tuple(each.name for each in options if each.default is not Parameter.empty)


def _sleepable(*prefixes: str) -> tuple[str, ...]:
    return (*prefixes, *(f"{prefix}.s" for prefix in prefixes))


_RAW_TRACEPOINTS = ("raw_tracepoint", "raw_tp", "raw_tracepoint.w", "raw_tp.w", "raw_tracepoint.s", "raw_tp.s")
_SOCKMAPS = ("sk_skb", "sk_msg", "sk_skb/stream_parser", "sk_skb/stream_verdict", "sk_skb/verdict")

ATTACHERS: tuple[Attacher, ...] = (
    Attacher(("xdp", "xdp.frags"), attach_xdp, ("interface",)),
    Attacher(("tc", "tcx", "classifier", "action"), attach_tc, ("interface",)),
    Attacher(("tc/ingress", "tcx/ingress"), attach_tc, ("interface",), preset={"direction": "ingress"}),
    Attacher(("tc/egress", "tcx/egress"), attach_tc, ("interface",), preset={"direction": "egress"}),
    Attacher(("netkit/primary", "netkit/peer"), attach_netkit, ("interface",)),
    Attacher(("lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local"), attach_lwt, ("interface",)),
    Attacher(("sk_lookup",), attach_netns, ("netns",)),
    Attacher(("flow_dissector",), attach_flow_dissector, ("netns",)),
    Attacher(("socket",), attach_socket, ("socket",)),
    Attacher(("sk_reuseport", "sk_reuseport/migrate"), attach_reuseport, ("socket",)),
    Attacher(("netfilter",), attach_netfilter),
    Attacher(_SOCKMAPS, attach_sockmap, ("map",)),
    Attacher(("cgroup/skb", "cgroup_skb"), attach_cgroup_skb, ("cgroup",)),
    Attacher(("cgroup", "cgroup_skb/ingress", "cgroup_skb/egress", "sockops"), attach_cgroup, ("cgroup",)),
    Attacher(("lsm_cgroup",), attach_lsm_cgroup, ("cgroup",)),
    Attacher(("lirc_mode2",), attach_lirc, ("device",)),
    Attacher(("freplace",), attach_freplace, ("target",)),
    Attacher(_sleepable("tracepoint", "tp"), attach_tracepoint, ("event",), from_section="event"),
    Attacher(_RAW_TRACEPOINTS, attach_raw_tracepoint, ("event",), from_section="event"),
    Attacher(
        ("kprobe", "kretprobe", "ksyscall", "kretsyscall"), attach_kprobe, ("function",), read_target=read_kprobe_target
    ),
    Attacher(_sleepable("fentry", "fexit", "fmod_ret", "fsession"), attach_trampoline, ("function",)),
    Attacher(_sleepable("tp_btf"), attach_tp_btf, ("event",)),
    Attacher(_sleepable("lsm"), attach_lsm),
    Attacher(
        _sleepable("fentry.multi", "fexit.multi", "fsession.multi"),
        attach_tracing_multi,
        ("function",),
        from_section="function",
    ),
    Attacher(
        ("kprobe.multi", "kretprobe.multi", "kprobe.session"),
        attach_kprobe_multi,
        ("function",),
        from_section="function",
    ),
    Attacher(_sleepable("uprobe", "uretprobe"), attach_uprobe, ("binary", "symbol"), read_target=read_user_target),
    Attacher(
        _sleepable("uprobe.multi", "uretprobe.multi", "uprobe.session"),
        attach_uprobe_multi,
        ("binary", "symbol"),
        read_target=read_user_target,
    ),
    Attacher(_sleepable("usdt"), attach_usdt, ("binary", "provider:name"), read_target=read_usdt_target),
    Attacher(_sleepable("iter"), attach_iter),
    Attacher(("perf_event",), attach_perf_event),
)

# What cannot be attached because it is called by name.
_CALLED = frozenset({"syscall"})
# What becomes the value of a map instead: prefix -> how.
_IN_MAPS: Mapping[str, str] = MappingProxyType(
    {
        f"{kind}/{map}": f"it runs for what is sent to an entry of a {map} that has it: "
        f'obj.maps["m"][0] = {{{entry}, "program": program}}'
        for kind in ("xdp", "xdp.frags")
        for map, entry in (("devmap", '"ifindex": 3'), ("cpumap", '"qsize": 192'))
    }
)


def attacher_for(program: AttachableProgram) -> Attacher | None:
    """The row of a program, None for types that are not attached (or not yet, by this package)."""
    spec = program.definition.spec
    prefix = spec.prefix if spec is not None else ""
    if program.type_number == ProgType.EXT:
        prefix = "freplace"  # whatever its section: it was loaded as one (extends=)
    while prefix and prefix not in _IN_MAPS:
        for row in ATTACHERS:
            if prefix in row.prefixes:
                return row
        prefix = prefix.rpartition("/")[0]
    return None


def attach_program(
    session: Session, program: AttachableProgram, *, target: Sequence[object], options: Mapping[str, object]
) -> Link:
    """Attach by the program's row; ``target`` was given by position. ``BpfUsageError`` names an option that is missing,
    that is given twice, that the type does not take, or that has the wrong type."""
    row = attacher_for(program)
    if row is None:
        raise BpfUsageError(_not_attached(program))
    known = (*row.needs, *row.takes)
    for name in options:
        if name not in known:
            near = did_you_mean(name, known, most=1, otherwise="")
            message = f"{program.name} is a {program.type} program: attach() takes no {name}=; {_taken(row)}"
            raise BpfUsageError(message, hint=near)
    named = {name: value for name, value in options.items() if value is not None}
    given = {**row.preset, **_from_section(row, program), **_by_position(row, program, target=target, named=named)}
    given |= named
    for name in row.needs:
        if name not in given:
            raise BpfUsageError(
                f"{program.name} is a {program.type} program in section {program.definition.section!r}: "
                f"attach() needs {name}=",
                hint=f"Write {program.name}.attach({name}={_example(name, program)}).",
            )
    check_targets(program, given)
    return row.run(session, program, **given)


def _by_position(
    row: Attacher, program: AttachableProgram, *, target: Sequence[object], named: Mapping[str, object]
) -> dict[str, object]:
    """The options that were given by position."""
    who = f"{program.name} is a {program.type} program: attach()"
    if len(target) > len(row.positions):
        allowed = f"only {' and '.join(row.positions)}" if row.positions else "nothing"
        raise BpfUsageError(f"{who} takes {allowed} by position, got {len(target)} arguments; {_taken(row)}")
    given: dict[str, object] = {}
    for position, value in zip(row.positions, target, strict=False):
        names = position.split(":")
        values = str(value).split(":") if len(names) > 1 else [value]
        if len(values) != len(names):
            raise BpfUsageError(f"{who} expects '{position}' as argument {len(given) + 1}, got {value!r}")
        given |= zip(names, values, strict=True)
    for name in given:
        if name in named:
            raise BpfUsageError(f"{who} got {name} by position and by name: give it once; {_taken(row)}")
    return given


def _taken(row: Attacher) -> str:
    known = (*row.needs, *row.takes)
    return f"it takes {', '.join(f'{name}=' for name in known)}" if known else "its section name states everything"


def _from_section(row: Attacher, program: AttachableProgram) -> Mapping[str, object]:
    target = program.definition.spec.target if program.definition.spec is not None else ""
    if not target:
        return {}
    if row.read_target is not None:
        return row.read_target(target)
    return {row.from_section: target} if row.from_section else {}


def _example(name: str, program: AttachableProgram) -> str:
    if name == "event" and program.type_number == ProgType.PERF_EVENT:
        return '"cpu-clock", frequency=99'
    return _EXAMPLES.get(name, "...")


_EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "interface": '"lo"',
        "direction": '"ingress"',
        "event": '"sched:sched_process_exec"',
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
)


def _not_attached(program: AttachableProgram) -> str:
    section, spec = program.definition.section, program.definition.spec
    if spec is not None and spec.prefix in _IN_MAPS:
        return f"{program.name} ({section}) is not attached: {_IN_MAPS[spec.prefix]}"
    if spec is not None and spec.prefix in _CALLED:
        return f"{program.name} ({section}) is not attached to anything: run it with prog.run(...)"
    return f"{program.name} ({section}): attaching {program.type} programs is not supported yet"
