"""Ops that bring code into the kernel: BTF and programs, with their logs."""

from __future__ import annotations

import os
import re
import socket
import time
from errno import EMFILE, ENFILE, ENOSPC
from struct import Struct

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Refused
from pytest_ebpf.agent.base.syscalls import Memory, address_of, address_of_buffer, bpf_errno, error_text, raise_memlock
from pytest_ebpf.agent.base.sysfs import read_text
from pytest_ebpf.agent.bpf.info import object_info, object_name
from pytest_ebpf.agent.host.netns import inside
from pytest_ebpf.agent.ops import BtfLoad, Failed, Made, ProgLoad, ProgLoaded, ProgRejected, Result
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.uapi.enums import Cmd
from pytest_ebpf.uapi.layout import Layout
from pytest_ebpf.uapi.layouts import ATTR_BTF_LOAD, ATTR_PROG_LOAD, PROG_INFO
from pytest_ebpf.uapi.numbers import BPF_LOG_LEVEL1, BPF_LOG_LEVEL2, BPF_LOG_STATS

__all__ = ["btf_load", "prog_load"]

_NO_FILES = (EMFILE, ENFILE)
_FIRST_LOG = 64 << 10
_LOG = "log of a program"  # where a buffer is kept for the next
_TRACE_LOG = 16 << 20  # costs only what is written to it (Memory), and nearly every trace fits the first time
# The trace of a rejection that was not requested: one of a million instructions has 500 MB, and takes minutes to write.
_REJECTED_LOG = 64 << 20
_MAX_LOG = (1 << 30) - 1  # kernel/bpf/verifier.c refuses more (UINT_MAX >> 2)
_EVERY_TRACE = BPF_LOG_LEVEL1 | BPF_LOG_LEVEL2
_SHOWS_REGISTERS = (5, 17)
_FEW = 20_000  # instructions; some 1.5 KiB each at level 2
_TAIL = 512  # the line of statistics, which is the last
_INSN_SIZE = 8
_IMM = Struct("=i")
_FDS = Struct("=i")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The result of one load. ``result`` is the fd or -errno, -ENOSPC only when no larger log buffer could be had.
    ``full``: the log ends where its buffer did."""

    result: int
    log: bytes
    level: int
    full: bool = False


def _load(
    cmd: Cmd,
    layout: Layout,
    *,
    fields: dict[str, int | bytes],
    level: int,
    room: int,
    limit: int = 0,
    kept: dict[str, object] | None = None,
) -> _Attempt:
    """Load with a log as long as it takes, or ``limit``.

    ENOSPC says that the log did not fit and hides the verdict, so the load is repeated: since Linux 6.4 with the
    size that the kernel asked for (log_true_size, commit 47a71c1f9af0), before with four times the buffer.
    """
    while True:
        log = _buffer(room, kept) if level else None
        attr = layout.pack(
            **fields, log_level=level, log_size=room if log else 0, log_buf=log.address if log else 0
        ).ljust(layout.size, b"\0")
        result = raise_memlock(lambda attr=attr: bpf_errno(cmd, attr))  # type: ignore[misc]
        if result != -ENOSPC or log is None:
            text = log.text() if log else b""
            if log is not None and kept is not None and room == _FIRST_LOG and len(text) + 1 < room:
                log.clear(len(text))
                kept[_LOG] = log
            return _Attempt(result, text, level, len(text) + 1 >= room > 0)
        limit = limit or _log_limit()
        if room >= limit:
            return _Attempt(result, log.text(), level)
        wanted = layout.get(attr, name="log_true_size")
        room = min(limit, wanted + 1 if wanted > room else room * 4)


def _buffer(room: int, kept: dict[str, object] | None) -> Memory:
    """Zeroed room for a log: that of the program before, if it is of this size. To clear what was written there takes a
    fraction of the time of new memory."""
    found = kept.pop(_LOG, None) if kept is not None else None
    return found if isinstance(found, Memory) and found.size == room else Memory(room)


def _log_limit() -> int:
    """How large a log may grow: a quarter of the free memory, as the log exists three times before it is read."""
    for line in read_text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return min(_MAX_LOG, max(_TRACE_LOG, int(line.split()[1]) * 1024 // 4))
    return _MAX_LOG


def btf_load(op: BtfLoad, batch: Batch) -> Result:
    """Type information. The log, a dump of every type, is asked for only after a failure."""
    fields: dict[str, int | bytes] = {"btf": address_of(op.data), "size": len(op.data)}
    attempt = _load(Cmd.BTF_LOAD, ATTR_BTF_LOAD, fields=fields, level=0, room=0)
    if attempt.result < 0:
        told = _load(Cmd.BTF_LOAD, ATTR_BTF_LOAD, fields=fields, level=1, room=_TRACE_LOG)
        if told.result < 0:
            errno = -attempt.result
            return Failed("BtfLoad", errno, f"{len(op.data)} bytes of BTF: {error_text(errno)}", told.log)
        attempt = told
    return Made(batch.own(attempt.result, "btf", site=op.site).handle)


class _Program:
    """A program on its way into the kernel. Keeps alive what the attribute points at."""

    def __init__(self, op: ProgLoad, batch: Batch) -> None:
        self._op = op
        self._batch = batch
        self._insns = bytearray(op.insns)
        self._license = op.license.encode() + b"\0"  # empty is a license too; a null pointer is EFAULT
        self._fds = b"".join(_FDS.pack(batch.fd(obj)) for obj in op.fd_array)
        self.uses: list[Entry] = []
        for patch in op.patches:
            target = batch.entry(patch.target)
            if not 0 <= patch.insn * _INSN_SIZE < len(op.insns):
                raise Refused(f"program {op.name!r} has no instruction {patch.insn} to patch")
            _IMM.pack_into(self._insns, patch.insn * _INSN_SIZE + 4, batch.fd(patch.target))
            self.uses.append(target)
        self.uses.extend(batch.entry(obj) for obj in op.fd_array)
        self._fields = self._pack(batch)

    def _pack(self, batch: Batch) -> dict[str, int | bytes]:
        op = self._op
        if op.attach_prog is not None and op.attach_btf_obj is not None:
            raise Refused("attach_prog and attach_btf_obj are the same field of bpf(2): give one of them")
        fields: dict[str, int | bytes] = {
            "prog_type": op.type,
            "insn_cnt": len(op.insns) // _INSN_SIZE,
            "insns": address_of_buffer(self._insns),
            "license": address_of(self._license),
            "kern_version": op.kern_version,
            "prog_flags": op.flags,
            "prog_name": object_name(op.name),
            "expected_attach_type": op.expected_attach_type,
            "prog_btf_fd": batch.fd(op.btf),
            "attach_btf_id": op.attach_btf_id,
            "attach_prog_fd": batch.fd(op.attach_prog or op.attach_btf_obj),
            "fd_array": address_of(self._fds) if self._fds else 0,
            "prog_ifindex": _index(op) if op.netns is None else inside(batch, op.netns, call=lambda: _index(op)),
        }
        for kind in ("func_info", "line_info"):
            data, size = getattr(op, kind), getattr(op, f"{kind}_rec_size")
            if data and size:
                fields |= {kind: address_of(data), f"{kind}_rec_size": size, f"{kind}_cnt": len(data) // size}
        return fields

    def load(self, level: int, *, room: int, limit: int = 0) -> _Attempt:
        limit = self._op.log_limit or limit
        room = min(room, limit) if limit else room
        fields, kept = self._fields, self._batch.table.cache
        return inside(
            self._batch,
            self._op.netns,  # where the kernel looks for the interface
            call=lambda: _load(
                Cmd.PROG_LOAD, ATTR_PROG_LOAD, fields=fields, level=level, room=room, limit=limit, kept=kept
            ),
        )


def _index(op: ProgLoad) -> int:
    if isinstance(op.device, int):
        return op.device
    try:
        return socket.if_nametoindex(op.device)
    except OSError:
        names = ", ".join(sorted(name for _, name in socket.if_nameindex()))
        raise Refused(f"program {op.name!r}: there is no network interface {op.device!r}; there are {names}") from None


def prog_load(op: ProgLoad, batch: Batch) -> Result:
    """One load at the level asked for, and one for the trace if it is rejected without one.

    Level 4 prints messages and statistics at no cost on every kernel; an empty log at level 4 means that the
    verifier was never reached, so a second load would say no more.
    """
    program = _Program(op, batch)
    began = time.perf_counter_ns()
    attempt = program.load(op.log_level, room=_TRACE_LOG if op.log_level & _EVERY_TRACE else _FIRST_LOG)
    took = time.perf_counter_ns() - began
    truncated = attempt.result == -ENOSPC or (attempt.result < 0 and attempt.full)
    if truncated:  # the verdict is hidden behind the log
        verdict = program.load(BPF_LOG_STATS, room=_FIRST_LOG)
        attempt = _Attempt(verdict.result, _ended(attempt.log, verdict=verdict.log), attempt.level)
    errno = -attempt.result
    wants_trace = op.log_level == 0 or (op.log_level == BPF_LOG_STATS and attempt.log)
    if attempt.result < 0 and wants_trace and errno != ENOSPC:
        limit = min(_REJECTED_LOG, _log_limit())
        traced = program.load(_trace_level(attempt.log) | BPF_LOG_STATS, room=limit, limit=limit)
        truncated = traced.result == -ENOSPC or traced.full
        if traced.result >= 0 or traced.log:
            attempt = replace(traced, log=_ended(traced.log, verdict=attempt.log))
    if errno in _NO_FILES:
        raise OSError(errno, error_text(errno))  # no word of the verifier's
    if attempt.result < 0:
        return ProgRejected(errno, attempt.log, attempt.level, truncated)
    return _loaded(op, batch, program=program, attempt=attempt, load_ns=took, truncated=truncated)


def _trace_level(verdict: bytes) -> int:
    """Before Linux 5.17 (0f55f9ed21f9) level 1 shows the registers at branches alone, and level 2 at every instruction:
    without them nobody can say where a value came from. A long walk does not fit the buffer with them, though."""
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    walked = re.search(rb"^processed (\d+) insns", verdict, re.MULTILINE)
    return _EVERY_TRACE if release < _SHOWS_REGISTERS and walked and int(walked[1]) <= _FEW else BPF_LOG_LEVEL1


def _ended(trace: bytes, *, verdict: bytes) -> bytes:
    """Before Linux 6.4 a trace stops where its buffer ends: the verdict, which level 4 said too, goes behind it."""
    return trace if b"\nprocessed " in trace[-_TAIL:] else trace + b"\n" + verdict


def _loaded(
    op: ProgLoad, batch: Batch, *, program: _Program, attempt: _Attempt, load_ns: int, truncated: bool
) -> ProgLoaded:
    entry = batch.own(attempt.result, "prog", name=op.name, site=op.site)
    entry.state = op.type
    for used in program.uses:
        used.held.add(entry.handle.serial)
    info = object_info(entry.fd)
    entry.id = PROG_INFO.get(info, name="id")
    return ProgLoaded(
        handle=entry.handle,
        log=attempt.log,
        log_level=attempt.level,
        verified_insns=PROG_INFO.get(info, name="verified_insns"),
        xlated_len=PROG_INFO.get(info, name="xlated_len"),
        jited_len=PROG_INFO.get(info, name="jited_len"),
        id=entry.id,
        load_ns=load_ns,
        truncated=truncated,
    )
