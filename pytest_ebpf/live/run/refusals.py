"""Why the kernel refused to test_run a program: each type has reasons of its own (``net/bpf/test_run.c``)."""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import ProgRun, ProgRunMany
from pytest_ebpf.live.run.rules import RUN_RULES, type_name
from pytest_ebpf.uapi.enums import AttachType, ProgType
from pytest_ebpf.uapi.flags import RunFlag

__all__ = ["refusal"]

_IN_MAPS = {AttachType.XDP_DEVMAP: "device map", AttachType.XDP_CPUMAP: "CPU map"}
_TRAMPOLINES = (AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT, AttachType.MODIFY_RETURN, AttachType.TRACE_FSESSION)
_FRAME = (
    "too short (an Ethernet header is 14 bytes, and Linux 5.18 to 6.1 want a byte more), longer than a page (unless "
    "the section is xdp.frags)"
)


def refusal(op: ProgRun | ProgRunMany, number: int, *, prog_type: int, attach_type: int) -> str:
    """What to do about an answer of the kernel, "" where its type adds nothing to what is said of all."""
    if prog_type == ProgType.TRACING:
        return _tracing(number, attach_type=attach_type)
    if prog_type == ProgType.RAW_TRACEPOINT and number == errno.ENXIO:
        return f"The machine has no CPU {getattr(op, 'cpu', 0)} that is online: cpu= counts from 0."
    if prog_type == ProgType.SK_LOOKUP and number == errno.EAFNOSUPPORT:
        return "The family of the socket is missing: ctx={'family': socket.AF_INET, ...}, or AF_INET6."
    if number != errno.EINVAL:
        return ""
    if prog_type == ProgType.XDP and attach_type in _IN_MAPS:
        kind = _IN_MAPS[AttachType(attach_type)]
        return (
            f"Programs for the entries of a {kind} cannot be run alone (since Linux 5.14): put it into the entry "
            "({value: ..., program}), and run the XDP program that redirects there with run_live() or on the wire."
        )
    return _option(op, prog_type=prog_type) or _input(op, prog_type=prog_type)


def _tracing(number: int, *, attach_type: int) -> str:
    if number != errno.EFAULT:
        return ""
    if attach_type in _TRAMPOLINES:
        return (
            "A test run of a fentry, fexit or fmod_ret program calls the kernel's own test functions "
            "(bpf_fentry_test1 ...), to which this one is not attached: attach it (prog.attach()) and cause the call."
        )
    if attach_type == AttachType.TRACE_ITER:
        return "Iterators cannot be test_run: attach it (prog.attach()) and read the link, which runs it."
    return "Programs of BTF tracepoints (tp_btf) cannot be test_run: attach it (prog.attach()) and cause the event."


def _flags_of(prog_type: int) -> RunFlag:
    """The flags that the test run of a type takes."""
    rule = RUN_RULES.get(prog_type)
    if rule is not None and rule.context == "__sk_buff":
        return RunFlag.SKB_CHECKSUM_COMPLETE
    kinds = {ProgType.XDP: RunFlag.XDP_LIVE_FRAMES, ProgType.RAW_TRACEPOINT: RunFlag.RUN_ON_CPU}
    return kinds.get(ProgType(prog_type), RunFlag(0))


def _option(op: ProgRun | ProgRunMany, *, prog_type: int) -> str:
    """An option that the type does not take."""
    name, known = type_name(prog_type), _flags_of(prog_type)
    flags = RunFlag(op.flags)
    if flags & ~known:
        takes = f"takes {known.name} alone" if known else "takes none"
        return f"flags={flags & ~known!r} is not for {name} programs, whose test run {takes} (or this kernel is older)."
    if isinstance(op, ProgRunMany):
        return ""
    if op.cpu and not flags & RunFlag.RUN_ON_CPU:
        if known & RunFlag.RUN_ON_CPU:
            return f"cpu={op.cpu} takes flags=RunFlag.RUN_ON_CPU: without it the program runs where the agent is."
        return f"cpu= is for raw tracepoints alone: a test run of {name} programs is where the agent is."
    if op.batch_size and not flags & RunFlag.XDP_LIVE_FRAMES:
        return "batch_size= is for live frames of XDP: use prog.run_live(packets, batch=)."
    return ""


def _input(op: ProgRun | ProgRunMany, *, prog_type: int) -> str:
    """Data or a context that the type does not take."""
    rule = RUN_RULES.get(prog_type)
    if rule is None:
        return ""
    if rule.context in ("args", "bytes"):
        given = len(op.ctx) // 8 if rule.context == "args" else len(op.ctx)
        unit = "arguments" if rule.context == "args" else "bytes"
        return f"The context is shorter than what the program reads: ctx= has {given} {unit}, give all that it uses."
    if not rule.takes_data:
        return f"The context is not one that this kernel takes: compare the fields of ctx= with its {rule.context}."
    context = ", or a context that it does not take (xdp_md before Linux 5.14)" if op.ctx else ""
    data = (
        _FRAME if rule.data_is == "an Ethernet frame" else f"shorter than {rule.min_data} bytes or not {rule.data_is}"
    )
    bound = " A program that is loaded for one interface has no test runs: attach it there."
    return f"The kernel refused the input: {data}{context}.{bound if prog_type == ProgType.XDP else ''}"
