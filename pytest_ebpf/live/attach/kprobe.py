"""Attaching tracing programs: tracepoints, kprobes, raw tracepoints and trampolines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from errno import EADDRNOTAVAIL, EILSEQ, EINVAL, ENOENT

from pytest_ebpf.agent.ops import (
    Data,
    Done,
    Failed,
    LinkCreate,
    Mount,
    PerfEventOpen,
    RawTracepointOpen,
    ReadFile,
)
from pytest_ebpf.errors import BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.perf_event import on_perf_event
from pytest_ebpf.live.inspect.suggest import nearest_functions, nearest_raw_tracepoints, nearest_tracepoints
from pytest_ebpf.live.session import Session

__all__ = [
    "attach_kprobe",
    "attach_raw_tracepoint",
    "attach_tracepoint",
    "attach_tracing",
    "read_kprobe_target",
    "tracefs_root",
]

_PERF_TYPE_TRACEPOINT = 2  # include/uapi/linux/perf_event.h
_PMU = "/sys/bus/event_source/devices/kprobe"
_BLACKLIST = "/sys/kernel/debug/kprobes/blacklist"
_TRACEFS = "/sys/kernel/tracing"


def attach_tracepoint(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """On ``category/name``, through a perf event. One event is enough: programs run for every processor and process
    (``perf_event_attach_bpf_prog`` puts them on the tracepoint itself)."""
    event = str(named["event"])
    category, slash, name = event.partition("/")
    if not slash:
        raise BpfUsageError(
            f"{program.name}: event= is 'category/name', such as 'sched/sched_process_exec', not {event!r}"
        )
    tracefs = tracefs_root(session)
    read = session.attempt(ReadFile(f"{tracefs}/events/{category}/{name}/id"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{program.name}: this kernel has no tracepoint {event}",
            feature=f"tracepoint:{event}",
            hint=nearest_tracepoints(session, event, tracefs=tracefs)
            or f"bpf_vm.run(['ls', '{tracefs}/events']) lists what it has.",
        )
    perf = session.make(PerfEventOpen(_PERF_TYPE_TRACEPOINT, config=int(read.data)))
    return on_perf_event(session, program, event=perf, where=event, cookie=_cookie(program, named=named))


def read_kprobe_target(target: str) -> Mapping[str, object]:
    """What ``kprobe/function+offset`` says, as arguments."""
    function, plus, offset = target.partition("+")
    if not plus or not re.fullmatch(r"0x[0-9a-fA-F]+|\d+", offset):
        return {"function": target}
    return {"function": function, "offset": int(offset, 0)}


def attach_kprobe(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """On a kernel function (``offset`` bytes in), at its entry or, for kretprobe, at its return. ``function`` may be
    "module:function", or the address of an instruction."""
    function, offset = named["function"], named.get("offset", 0)
    if not isinstance(function, str | int) or isinstance(function, bool):
        raise BpfUsageError(
            f"{program.name}: function= is the name of a kernel function or an address, not {function!r}"
        )
    if not isinstance(offset, int) or offset < 0:
        raise BpfUsageError(f"{program.name}: offset= is a number of bytes, not {offset!r}")
    cookie = _cookie(program, named=named)
    read = session.attempt(ReadFile(f"{_PMU}/type"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{program.name}: this kernel cannot attach kprobes (no {_PMU})",
            feature="kprobe",
            hint="It is built without CONFIG_KPROBE_EVENTS; mark the test bpf_feature('kprobe').",
        )
    config = _retprobe_bit(session) if "ret" in program.definition.section.partition("/")[0] else 0
    if isinstance(function, int):
        op = PerfEventOpen(int(read.data), config=config, config2=function + offset)
        where = f"{function + offset:#x}"
    else:
        symbol = _symbol(session, program, function=function)
        op = PerfEventOpen(int(read.data), config=config, config1=symbol, config2=offset)
        where = f"{function}+{offset:#x}" if offset else function
    try:
        event = session.make(op)
    except KernelCallError as error:
        error.hint = _why_no_kprobe(session, program, function=function, errno=error.errno) or error.hint
        raise
    return on_perf_event(session, program, event=event, where=where, cookie=cookie)


def _why_no_kprobe(session: Session, program: AttachableProgram, *, function: str | int, errno: int) -> str:
    """kernel/kprobes.c: check_kprobe_address_safe(), arch_prepare_kprobe()."""
    if errno == EILSEQ:
        return "The offset is inside an instruction: bpftool or objdump of vmlinux shows where they begin."
    if isinstance(function, int):
        return f"There is no instruction at {function:#x} that may be probed." if errno in (EINVAL, ENOENT) else ""
    symbol = _symbol(session, program, function=function)
    blacklist = session.attempt(ReadFile(_BLACKLIST), Data)
    if errno == EINVAL and isinstance(blacklist, Data) and f"\t{symbol}\n".encode() in blacklist.data:
        return f"{symbol} is on the list of functions that must not be probed ({_BLACKLIST})."
    if errno == EADDRNOTAVAIL:
        return f"Several functions are called {symbol}: give the address of the one that is meant, from /proc/kallsyms."
    if errno != ENOENT:
        return ""
    close = nearest_functions(session.target.facts().btf, symbol)
    what = f"system call {function} (function {symbol})" if symbol != function else f"function {symbol}"
    if symbol != function:
        close = close.replace(symbol.removesuffix(function), "")
    return f"This kernel has no {what}; {close or 'it may be inlined (see /proc/kallsyms)'}"


def attach_raw_tracepoint(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """On the tracepoint itself, arguments as they are. ``cookie``: what ``bpf_get_attach_cookie`` gives (Linux
    6.10)."""
    event = str(named["event"])
    name, cookie = event.rpartition("/")[2], _cookie(program, named=named)
    try:
        handle = session.make(RawTracepointOpen(program.handle, name=name, cookie=cookie))
    except KernelCallError as error:
        if error.errno == ENOENT:
            close = nearest_raw_tracepoints(session.target.facts().btf, name)
            error.hint = f"This kernel has no tracepoint {name!r}; {close}" if close else error.hint
        elif error.errno == EINVAL and cookie:
            error.hint = "Cookies of raw tracepoints came with Linux 6.10."
        elif error.errno == EINVAL and program.type == "raw_tracepoint_writable":
            error.hint = f"Tracepoint {name!r} has no argument that may be written, or the program writes past it."
        raise
    return Link(session, program=program, target=event, mechanism="raw tracepoint link", handles=(handle,))


def attach_tracing(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """On what the program was loaded for: the function, tracepoint or LSM hook of its section name. ``cookie``: what
    ``bpf_get_attach_cookie`` gives (Linux 5.19, tp_btf 6.10)."""
    spec, cookie = program.definition.spec, _cookie(program, named=named)
    assert spec is not None
    op = LinkCreate(program.handle, spec.attach_type, cookie=cookie) if cookie else RawTracepointOpen(program.handle)
    try:
        handle = session.make(op)
    except KernelCallError as error:
        if cookie and error.errno == EINVAL:
            release = "6.10" if spec.prefix.startswith("tp_btf") else "5.19"
            error.hint = f"Cookies of {spec.prefix} programs came with Linux {release}."
        elif error.errno == ENOENT:  # its trampoline went into its first link (f3a95075549e, Linux 5.13)
            error.hint = (
                "It was attached already, and before Linux 5.13 a tracing program is attached once in its life: "
                "load it again."
            )
        raise
    return Link(session, program=program, target=spec.target, mechanism=f"{spec.prefix} link", handles=(handle,))


def tracefs_root(session: Session) -> str:
    """Where tracefs is mounted; where it is not, it is mounted now."""
    if isinstance(session.attempt(ReadFile(f"{_TRACEFS}/trace_clock"), Data), Failed):
        session.one(Mount("none", _TRACEFS, "tracefs"), Done)
    return _TRACEFS


def _cookie(program: AttachableProgram, *, named: Mapping[str, object]) -> int:
    """What ``bpf_get_attach_cookie`` gives (Linux 5.15)."""
    cookie = named.get("cookie", 0)
    if not isinstance(cookie, int) or isinstance(cookie, bool) or not 0 <= cookie < 1 << 64:
        raise BpfUsageError(f"{program.name}: cookie= is a number of 64 bits without sign, not {cookie!r}")
    return cookie


def _retprobe_bit(session: Session) -> int:
    """The PMU says which bit of ``config`` means "at return" ("config:0")."""
    text = session.one(ReadFile(f"{_PMU}/format/retprobe"), Data).data.decode().strip()
    return 1 << int(text.rpartition(":")[2])


def _symbol(session: Session, program: AttachableProgram, *, function: str) -> str:
    """``ksyscall`` names a system call; its function carries the architecture's prefix."""
    if program.definition.section.lstrip("?").split("/")[0] not in ("ksyscall", "kretsyscall"):
        return function
    prefixes = {"x86_64": "__x64_sys_", "aarch64": "__arm64_sys_", "s390x": "__s390x_sys_", "riscv64": "__riscv_sys_"}
    return prefixes.get(session.target.described.machine, "sys_") + function
