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
from pytest_ebpf.agent.bpf import info, introspect, links, map_batch, maps, memory, perf, progs, rings
from pytest_ebpf.agent.bpf.kernel_btf import btf_by_name
from pytest_ebpf.agent.bpf.prog_streams import stream_read
from pytest_ebpf.agent.bpf.run_many import prog_run_many
from pytest_ebpf.agent.bpf.test_run import prog_run
from pytest_ebpf.agent.bpf.user_rings import ring_produce
from pytest_ebpf.agent.host import files, machine, packets, processes, sockets, trace
from pytest_ebpf.agent.host.around import watch_around
from pytest_ebpf.agent.host.mounts import mount_ns, run_inside
from pytest_ebpf.agent.host.netns import net_ns, netlink
from pytest_ebpf.agent.host.spawn import spawn
from pytest_ebpf.agent.host.switches import switch_on
from pytest_ebpf.agent.host.unprivileged import run_unprivileged
from pytest_ebpf.agent.protocol.scopes import close, scope_close, scope_open

__all__ = ["EXECUTE", "execute"]

# Each function takes (op, batch); the key says which op type it is for.
EXECUTE: dict[type[Any], Callable[[Any, Batch], o.Result]] = {
    o.MapCreate: rings.map_create_read,
    o.MapGet: maps.map_get,
    o.MapSet: maps.map_set,
    o.MapDelete: maps.map_delete,
    o.MapPop: maps.map_pop,
    o.MapDump: map_batch.map_dump,
    o.MapUpdate: map_batch.map_update,
    o.MapDeleteMany: map_batch.map_delete_many,
    o.MapTakeMany: map_batch.map_take_many,
    o.MapFreeze: maps.map_freeze,
    o.MemRead: memory.mem_read,
    o.MemWrite: memory.mem_write,
    o.RingProduce: ring_produce,
    o.InodeOf: maps.inode_of,
    o.BtfByName: btf_by_name,
    o.BtfLoad: progs.btf_load,
    o.ProgLoad: progs.prog_load,
    o.ProgRun: prog_run,
    o.ProgRunMany: prog_run_many,
    o.StreamRead: stream_read,
    o.ObjPin: links.obj_pin,
    o.ObjUnpin: links.obj_unpin,
    o.ObjGet: links.obj_get,
    o.InfoByFd: info.info_by_fd,
    o.NextId: info.next_id,
    o.ObjById: info.obj_by_id,
    o.Ids: introspect.all_ids,
    o.InfoArrays: introspect.info_arrays,
    o.FdInfo: introspect.fd_info,
    o.EnableStats: introspect.enable_stats,
    o.Close: close,
    o.LinkCreate: links.link_create,
    o.LinkUpdate: links.link_update,
    o.LinkDetach: links.link_detach,
    o.IterRead: links.iter_read,
    o.ProgAttach: links.prog_attach,
    o.ProgDetach: links.prog_detach,
    o.ProgQuery: links.prog_query,
    o.RawTracepointOpen: links.raw_tracepoint_open,
    o.PerfEventOpen: links.perf_event_open_op,
    o.PerfAttach: links.perf_attach,
    o.RingDrain: rings.ring_drain,
    o.PerfOpen: perf.perf_open,
    o.PerfDrain: perf.perf_drain,
    o.TraceOpen: trace.trace_open,
    o.TraceDrain: trace.trace_drain,
    o.KmsgSince: trace.kmsg_since,
    o.Describe: machine.describe,
    o.ReadFile: machine.read_file,
    o.ListDir: machine.list_dir,
    o.WriteFile: files.write_file,
    o.MakeDir: machine.make_dir,
    o.OpenFile: machine.open_file,
    o.ReadTree: files.read_tree,
    o.SwitchOn: switch_on,
    o.WriteTree: files.write_tree,
    o.Mount: machine.mount,
    o.MountNs: mount_ns,
    o.WatchAround: watch_around,
    o.In: lambda op, batch: run_inside(op, batch, run=_one),
    o.Unprivileged: lambda op, batch: run_unprivileged(op, batch, run=_one),
    o.NetNs: net_ns,
    o.Netlink: netlink,
    o.PacketOpen: packets.packet_open,
    o.PacketSend: packets.packet_send,
    o.PacketDrain: packets.packet_drain,
    o.Spawn: spawn,
    o.Start: processes.start,
    o.ProcessRead: processes.process_read,
    o.ProcessWrite: processes.process_write,
    o.ProcessSignal: processes.process_signal,
    o.PidFd: sockets.pid_fd,
    o.SocketAccept: sockets.socket_accept,
    o.SocketBind: sockets.socket_bind,
    o.SocketConnect: sockets.socket_connect,
    o.SocketGet: sockets.socket_get,
    o.SocketListen: sockets.socket_listen,
    o.SocketName: sockets.socket_name,
    o.SocketOpen: sockets.socket_open,
    o.SocketPeer: sockets.socket_peer,
    o.SocketReceive: sockets.socket_receive,
    o.SocketSend: sockets.socket_send,
    o.SocketSet: sockets.socket_set,
    o.SocketShutdown: sockets.socket_shutdown,
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
