"""ops -> results: a table from op type to function, and a loop. The same in this process and in a guest."""

from __future__ import annotations

import struct
import traceback
from collections.abc import Callable, Sequence
from errno import EMFILE
from typing import Any

from pytest_ebpf.agent import ops as o
from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Refused, Table
from pytest_ebpf.agent.base.syscalls import error_text, raise_open_files
from pytest_ebpf.agent.bpf.info import info_by_fd, next_id, obj_by_id
from pytest_ebpf.agent.bpf.introspect import all_ids, enable_stats, fd_info, info_arrays
from pytest_ebpf.agent.bpf.kernel_btf import btf_by_name
from pytest_ebpf.agent.bpf.links import (
    iter_read,
    link_create,
    link_detach,
    link_update,
    obj_get,
    obj_pin,
    obj_unpin,
    perf_attach,
    perf_event_open_op,
    prog_attach,
    prog_detach,
    prog_query,
    raw_tracepoint_open,
)
from pytest_ebpf.agent.bpf.map_batch import map_delete_many, map_dump, map_take_many, map_update
from pytest_ebpf.agent.bpf.maps import inode_of, map_delete, map_freeze, map_get, map_pop, map_set
from pytest_ebpf.agent.bpf.memory import mem_read, mem_write
from pytest_ebpf.agent.bpf.perf import perf_drain, perf_open
from pytest_ebpf.agent.bpf.prog_streams import stream_read
from pytest_ebpf.agent.bpf.progs import btf_load, prog_load
from pytest_ebpf.agent.bpf.rings import map_create_read, ring_drain
from pytest_ebpf.agent.bpf.run_many import prog_run_many
from pytest_ebpf.agent.bpf.test_run import prog_run
from pytest_ebpf.agent.bpf.user_rings import ring_produce
from pytest_ebpf.agent.host.around import watch_around
from pytest_ebpf.agent.host.files import read_tree, write_file, write_tree
from pytest_ebpf.agent.host.machine import describe, list_dir, make_dir, mount, open_file, read_file
from pytest_ebpf.agent.host.mounts import mount_ns, run_inside
from pytest_ebpf.agent.host.netns import net_ns, netlink
from pytest_ebpf.agent.host.packets import packet_drain, packet_open, packet_send
from pytest_ebpf.agent.host.processes import process_read, process_signal, process_write, start
from pytest_ebpf.agent.host.sockets import (
    pid_fd,
    socket_accept,
    socket_bind,
    socket_connect,
    socket_get,
    socket_listen,
    socket_name,
    socket_open,
    socket_peer,
    socket_receive,
    socket_send,
    socket_set,
    socket_shutdown,
)
from pytest_ebpf.agent.host.spawn import spawn
from pytest_ebpf.agent.host.switches import switch_on
from pytest_ebpf.agent.host.trace import kmsg_since, trace_drain, trace_open
from pytest_ebpf.agent.host.unprivileged import run_unprivileged
from pytest_ebpf.agent.protocol.scopes import close, scope_close, scope_open

__all__ = ["EXECUTE", "execute"]

# Each function takes (op, batch); the key says which op type it is for.
EXECUTE: dict[type[Any], Callable[[Any, Batch], o.Result]] = {
    o.MapCreate: map_create_read,
    o.MapGet: map_get,
    o.MapSet: map_set,
    o.MapDelete: map_delete,
    o.MapPop: map_pop,
    o.MapDump: map_dump,
    o.MapUpdate: map_update,
    o.MapDeleteMany: map_delete_many,
    o.MapTakeMany: map_take_many,
    o.MapFreeze: map_freeze,
    o.MemRead: mem_read,
    o.MemWrite: mem_write,
    o.RingProduce: ring_produce,
    o.InodeOf: inode_of,
    o.BtfByName: btf_by_name,
    o.BtfLoad: btf_load,
    o.ProgLoad: prog_load,
    o.ProgRun: prog_run,
    o.ProgRunMany: prog_run_many,
    o.StreamRead: stream_read,
    o.ObjPin: obj_pin,
    o.ObjUnpin: obj_unpin,
    o.ObjGet: obj_get,
    o.InfoByFd: info_by_fd,
    o.NextId: next_id,
    o.ObjById: obj_by_id,
    o.Ids: all_ids,
    o.InfoArrays: info_arrays,
    o.FdInfo: fd_info,
    o.EnableStats: enable_stats,
    o.Close: close,
    o.LinkCreate: link_create,
    o.LinkUpdate: link_update,
    o.LinkDetach: link_detach,
    o.IterRead: iter_read,
    o.ProgAttach: prog_attach,
    o.ProgDetach: prog_detach,
    o.ProgQuery: prog_query,
    o.RawTracepointOpen: raw_tracepoint_open,
    o.PerfEventOpen: perf_event_open_op,
    o.PerfAttach: perf_attach,
    o.RingDrain: ring_drain,
    o.PerfOpen: perf_open,
    o.PerfDrain: perf_drain,
    o.TraceOpen: trace_open,
    o.TraceDrain: trace_drain,
    o.KmsgSince: kmsg_since,
    o.Describe: describe,
    o.ReadFile: read_file,
    o.ListDir: list_dir,
    o.WriteFile: write_file,
    o.MakeDir: make_dir,
    o.OpenFile: open_file,
    o.ReadTree: read_tree,
    o.SwitchOn: switch_on,
    o.WriteTree: write_tree,
    o.Mount: mount,
    o.MountNs: mount_ns,
    o.WatchAround: watch_around,
    o.In: lambda op, batch: run_inside(op, batch, run=_one),
    o.Unprivileged: lambda op, batch: run_unprivileged(op, batch, run=_one),
    o.NetNs: net_ns,
    o.Netlink: netlink,
    o.PacketOpen: packet_open,
    o.PacketSend: packet_send,
    o.PacketDrain: packet_drain,
    o.Spawn: spawn,
    o.Start: start,
    o.ProcessRead: process_read,
    o.ProcessWrite: process_write,
    o.ProcessSignal: process_signal,
    o.PidFd: pid_fd,
    o.SocketAccept: socket_accept,
    o.SocketBind: socket_bind,
    o.SocketConnect: socket_connect,
    o.SocketGet: socket_get,
    o.SocketListen: socket_listen,
    o.SocketName: socket_name,
    o.SocketOpen: socket_open,
    o.SocketPeer: socket_peer,
    o.SocketReceive: socket_receive,
    o.SocketSend: socket_send,
    o.SocketSet: socket_set,
    o.SocketShutdown: socket_shutdown,
    o.ScopeOpen: scope_open,
    o.ScopeClose: scope_close,
}

_FAILURES = (o.Failed, o.ProgRejected)
# Fields that say which thing an op is about, the most telling first.
_SUBJECTS = ("path", "target", "map", "prog", "link", "socket", "obj", "event", "argv", "name", "kind", "config1")


def execute(ops: Sequence[o.Op], *, table: Table, scope: o.Handle | None = None) -> list[o.Result]:
    """Run a batch: one result per op. The first failure that is not inside ``Try`` leaves the rest ``NotRun``."""
    batch = Batch(table, scope)
    results = batch.results
    if scope is not None:
        try:
            table.scope(scope)
        except Refused as error:
            return [o.Failed("Scope", 0, str(error)), *[o.NotRun()] * (len(ops) - 1)]
    for op in ops:
        tried = type(op) is o.Try
        result = _one(op.op if tried else op, batch)  # type: ignore[union-attr]
        results.append(result)
        if type(result) in _FAILURES and not tried:
            results.extend([o.NotRun()] * (len(ops) - len(results)))
            break
    return results


def _one(op: Any, batch: Batch) -> o.Result:
    function = EXECUTE.get(type(op))
    if function is None:
        return o.Failed(type(op).__name__, 0, "no such operation")
    try:
        return _with_more_files(function, op, batch=batch)
    except OSError as error:
        errno = error.errno or 0
        return o.Failed(type(op).__name__, errno, _text(op, batch, words=error_text(errno) if errno else str(error)))
    except Refused as error:
        return o.Failed(type(op).__name__, 0, str(error))
    except (struct.error, ValueError, OverflowError) as error:  # a number too large for its field, a NUL in a name
        return o.Failed(type(op).__name__, 0, _text(op, batch, words=f"{error} (at {_place(error)})"))
    except Exception:  # a bug in the agent must not end the session: the traceback goes where people look
        return o.Failed(type(op).__name__, 0, traceback.format_exc())


def _with_more_files(function: Callable[[Any, Batch], o.Result], op: Any, *, batch: Batch) -> o.Result:
    try:
        return function(op, batch)
    except OSError as error:
        if error.errno != EMFILE or not raise_open_files():
            raise
    return function(op, batch)


def _place(error: Exception) -> str:
    """The line of the agent that an error went through last."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "agent/" in f.filename or "uapi/" in f.filename]
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}"


def _text(op: Any, batch: Batch, *, words: str) -> str:
    """What the op was about, and the error's words."""
    subject = _subject(op, batch)
    return f"{subject}: {words}" if subject else words


def _subject(op: Any, batch: Batch) -> str:
    for name in _SUBJECTS:
        value = getattr(op, name, None)
        if isinstance(value, o.Handle | o.Ref):
            try:
                return batch.entry(value).label
            except Refused:
                continue
        if isinstance(value, tuple) and value:
            return str(value[0])
        if isinstance(value, str) and value:
            return f"map {value!r}" if isinstance(op, o.MapCreate) else value
    return ""
