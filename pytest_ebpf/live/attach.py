"""Attaching: one row per family of program types, saying what it must be told and which function does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_ebpf.errors import UsageError
from pytest_ebpf.live import attach_cgroup, attach_net, attach_trace
from pytest_ebpf.live.links import Link
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.program import Program

__all__ = ["ATTACHERS", "Attacher", "attach_program", "attacher_for"]


class _Attach(Protocol):
    def __call__(self, session: Session, program: Program, *, named: Mapping[str, object]) -> Link: ...


@dataclass(frozen=True, slots=True)
class Attacher:
    """``needs`` must be given, unless the section name says it; ``takes`` may be. ``prefixes`` are SEC() names without
    their target; a row is found by the longest prefix."""

    prefixes: tuple[str, ...]
    run: _Attach
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    from_section: str = ""


ATTACHERS: tuple[Attacher, ...] = (
    Attacher(("xdp", "xdp.frags"), attach_net.attach_xdp, needs=("interface",), takes=("mode",)),
    Attacher(("tc", "classifier"), attach_net.attach_tc, needs=("interface", "direction"), takes=("priority",)),
    Attacher(
        ("tc/ingress", "tc/egress", "tcx/ingress", "tcx/egress"),
        attach_net.attach_tc,
        needs=("interface",),
        takes=("direction", "priority"),
    ),
    Attacher(("sk_lookup", "flow_dissector"), attach_net.attach_netns, takes=("netns",)),
    Attacher(
        ("tracepoint", "tp", "tracepoint.s", "tp.s"),
        attach_trace.attach_tracepoint,
        needs=("event",),
        from_section="event",
    ),
    Attacher(
        ("raw_tracepoint", "raw_tp", "raw_tracepoint.w", "raw_tp.w", "raw_tracepoint.s", "raw_tp.s"),
        attach_trace.attach_raw_tracepoint,
        needs=("event",),
        from_section="event",
    ),
    Attacher(
        ("kprobe", "kretprobe", "ksyscall", "kretsyscall"),
        attach_trace.attach_kprobe,
        needs=("function",),
        takes=("offset",),
        from_section="function",
    ),
    Attacher(
        ("tp_btf", "fentry", "fexit", "fmod_ret", "lsm", "tp_btf.s", "fentry.s", "fexit.s", "fmod_ret.s", "lsm.s"),
        attach_trace.attach_tracing,
    ),
    Attacher(("cgroup", "cgroup_skb", "sockops", "lsm_cgroup"), attach_cgroup.attach_cgroup, needs=("cgroup",)),
)

# What cannot be attached because there is nothing to attach it to: it is called by name.
_CALLED = frozenset({"syscall", "socket", "action", "freplace"})


def attacher_for(program: Program) -> Attacher | None:
    """The row of a program, None for types that are not attached (or not yet, by this package)."""
    spec = program.definition.spec
    prefix = spec.prefix if spec is not None else ""
    while prefix:
        for row in ATTACHERS:
            if prefix in row.prefixes:
                return row
        prefix = prefix.rpartition("/")[0]
    return None


def attach_program(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """Attach by the program's row. ``UsageError`` names an argument that is missing or that the type does not take."""
    row = attacher_for(program)
    if row is None:
        raise UsageError(*_no_row(program))
    known = (*row.needs, *row.takes)
    unknown = [name for name in named if name not in known]
    if unknown:
        takes = f"it takes {', '.join(known)}" if known else "its section name says it all"
        raise UsageError(f"{program.name} is a {program.type} program: attach() takes no {unknown[0]}; {takes}")
    given = dict(named)
    if row.from_section and program.definition.spec is not None and program.definition.spec.target:
        given.setdefault(row.from_section, program.definition.spec.target)
    for name in row.needs:
        if given.get(name) is None:
            raise UsageError(
                f"{program.name} is a {program.type} program in section {program.definition.section!r}: "
                f"attach() needs {name}=",
                hint=f"Write {program.name}.attach({name}={_EXAMPLES.get(name, '...')}).",
            )
    return row.run(session, program, named=given)


_EXAMPLES: Mapping[str, str] = {
    "interface": '"lo"',
    "direction": '"ingress"',
    "event": '"sched/sched_process_exec"',
    "function": '"do_unlinkat"',
    "cgroup": "bpf.cgroup()",
}


def _no_row(program: Program) -> tuple[str]:
    section = program.definition.section
    if program.definition.spec is not None and program.definition.spec.prefix in _CALLED:
        return (f"{program.name} ({section}) is not attached to anything: run it with prog.run(...)",)
    return (f"{program.name} ({section}): attaching {program.type} programs is not supported yet",)
