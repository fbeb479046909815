"""Programs on kernel functions: kprobe, kretprobe, ksyscall and kretsyscall, through perf events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from errno import EADDRNOTAVAIL, EILSEQ, EINVAL, ENOENT
from types import MappingProxyType

from pytest_ebpf.agent.ops import Data, PerfEventOpen, ReadFile
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.options import U64, int_option
from pytest_ebpf.live.attach.perf_event import on_perf_event, probe_source
from pytest_ebpf.live.inspect.suggest import nearest_functions
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.switches import FTRACE, KPROBES, have_on

__all__ = ["attach_kprobe", "read_kprobe_target"]

_BLACKLIST = "/sys/kernel/debug/kprobes/blacklist"
_SYSCALL_PREFIXES: Mapping[str, str] = MappingProxyType(
    {"x86_64": "__x64_sys_", "aarch64": "__arm64_sys_", "s390x": "__s390x_sys_", "riscv64": "__riscv_sys_"}
)


def read_kprobe_target(target: str) -> Mapping[str, object]:
    """The options that ``kprobe/function+offset`` states."""
    function, plus, offset = target.partition("+")
    if not plus or not re.fullmatch(r"0x[0-9a-fA-F]+|\d+", offset):
        return {"function": target}
    return {"function": function, "offset": int(offset, 0)}


def attach_kprobe(
    session: Session, program: AttachableProgram, *, function: str | int, offset: int = 0, cookie: int = 0
) -> Link:
    """On a kernel function (``offset`` bytes in), at its entry or, for kretprobe, at its return. ``function`` may be
    "module:function", or the address of an instruction. ``cookie``: Linux 5.15."""
    if not isinstance(function, str | int) or isinstance(function, bool):
        raise BpfUsageError(
            f"{program.name}: function= expects the name of a kernel function or an address, got {function!r}"
        )
    int_option(program.name, "offset", value=offset, limit=U64)
    int_option(program.name, "cookie", value=cookie, limit=U64)
    at_return = "ret" in program.definition.section.partition("/")[0]
    kind, config = probe_source(session, "kprobe", who=program.name, at_return=at_return)
    if isinstance(function, int):
        op = PerfEventOpen(kind, config=config, config2=function + offset)
        where = f"{function + offset:#x}"
    else:
        symbol = _symbol(session, program, function=function)
        op = PerfEventOpen(kind, config=config, config1=symbol, config2=offset)
        where = f"{function}+{offset:#x}" if offset else function
    have_on(session, KPROBES, effect="no kprobe fires")
    have_on(session, FTRACE, effect="no kprobe at the start of a function fires")
    try:
        event = session.make(op)
    except KernelCallError as error:
        error.hint = _hint(session, program, function=function, errno=error.errno) or error.hint
        raise
    return on_perf_event(session, program, event=event, where=where, cookie=cookie)


def _hint(session: Session, program: AttachableProgram, *, function: str | int, errno: int) -> str:
    """Why there is no kprobe. kernel/kprobes.c: check_kprobe_address_safe(), arch_prepare_kprobe()."""
    if errno == EILSEQ:
        return "The offset is inside an instruction: bpftool or objdump of vmlinux shows where they begin."
    if isinstance(function, int):
        return f"There is no instruction at {function:#x} that may be probed." if errno in (EINVAL, ENOENT) else ""
    symbol = _symbol(session, program, function=function)
    blacklist = session.attempt(ReadFile(_BLACKLIST), Data)
    if errno == EINVAL and isinstance(blacklist, Data) and f"\t{symbol}\n".encode() in blacklist.data:
        return f"{symbol} is on the list of functions that must not be probed ({_BLACKLIST})."
    if errno == EADDRNOTAVAIL:
        return f"Several functions are called {symbol}: give the address of one of them, from /proc/kallsyms."
    if errno != ENOENT:
        return ""
    close = nearest_functions(session.target.facts().btf, symbol)
    what = f"system call {function} (function {symbol})" if symbol != function else f"function {symbol}"
    if symbol != function:
        close = close.replace(symbol.removesuffix(function), "")
    return f"This kernel has no {what}; {close or 'it may be inlined (see /proc/kallsyms)'}"


def _symbol(session: Session, program: AttachableProgram, *, function: str) -> str:
    """The kernel's function; ``ksyscall`` names a system call, whose function has the architecture's prefix."""
    if program.definition.section.lstrip("?").split("/")[0] not in ("ksyscall", "kretsyscall"):
        return function
    return _SYSCALL_PREFIXES.get(session.target.described.machine, "sys_") + function
