"""The waist: every way to touch a kernel, as data.

A batch of these values goes into ``Kernel.run`` and one result comes back per op. The same modules are imported
on the host and inside a guest, so they may import the standard library only.

Rules that hold for every op:

* An ``Obj`` field names a kernel object: a ``Handle`` from an earlier batch or ``Ref(i)``, the object that op ``i``
  of this batch made. File descriptor numbers never appear here.
* The first op that fails stops the batch (the rest answer ``NotRun``), unless it is wrapped in ``Try``.
* ``site`` is the line of test code that asked for the object ("test_x.py:41"); it comes back in leak reports.
"""

from __future__ import annotations

from typing import Union

from pytest_ebpf.agent.ops import (
    base,
    events,
    introspect,
    links,
    machine,
    maps,
    packets,
    process,
    progs,
    results,
    sockets,
)
from pytest_ebpf.agent.ops.base import *
from pytest_ebpf.agent.ops.events import *
from pytest_ebpf.agent.ops.introspect import *
from pytest_ebpf.agent.ops.links import *
from pytest_ebpf.agent.ops.machine import *
from pytest_ebpf.agent.ops.maps import *
from pytest_ebpf.agent.ops.packets import *
from pytest_ebpf.agent.ops.process import *
from pytest_ebpf.agent.ops.progs import *
from pytest_ebpf.agent.ops.results import *
from pytest_ebpf.agent.ops.sockets import *
from pytest_ebpf.frozen import dataclass

__all__ = ["In", "Op", "Try", "Unprivileged"]
__all__ += base.__all__
__all__ += events.__all__
__all__ += introspect.__all__
__all__ += links.__all__
__all__ += machine.__all__
__all__ += maps.__all__
__all__ += packets.__all__
__all__ += process.__all__
__all__ += progs.__all__
__all__ += results.__all__
__all__ += sockets.__all__


@dataclass(frozen=True, slots=True)
class Try:
    """Run ``op``; its failure does not stop the batch."""

    op: Op


@dataclass(frozen=True, slots=True)
class In:
    """Run ``op`` in a mount namespace: files and mounts there, commands that see them."""

    mounts: Obj
    op: Op


@dataclass(frozen=True, slots=True)
class Unprivileged:
    """Run ``op`` without some capabilities of this process: ``drop`` has bit N set for capability N."""

    drop: int
    op: Op


# Every op, in the order of its module.
Op = Union[
    RingDrain, PerfOpen, PerfDrain, TraceOpen, TraceDrain, KmsgSince,
    Ids, InfoArrays, FdInfo, EnableStats,
    LinkCreate, LinkUpdate, LinkDetach, IterRead, ObjUnpin, ProgAttach, ProgDetach, ProgQuery, RawTracepointOpen,
    PerfEventOpen, PerfAttach,
    Describe, ReadFile, ListDir, WriteFile, MakeDir, OpenFile, ReadTree, WriteTree, SwitchOn,
    Mount, MountNs, WatchAround,
    NetNs, Netlink, Spawn, ScopeOpen, ScopeClose,
    MapCreate, MapGet, MapSet, MapDelete, MapDeleteMany, MapPop, MapDump, MapTakeMany, MapUpdate, MapFreeze,
    MemRead, MemWrite, RingProduce, InodeOf,
    PacketOpen, PacketSend, PacketDrain,
    Start, ProcessRead, ProcessWrite, ProcessSignal,
    BtfLoad, BtfByName, ProgLoad, ProgRun, ProgRunMany, ObjPin, ObjGet, InfoByFd, NextId, ObjById, Close,
    StreamRead,
    SocketOpen, SocketBind, SocketListen, SocketConnect, SocketAccept, SocketSend, SocketReceive, SocketName,
    SocketPeer, SocketGet, SocketSet, SocketShutdown, PidFd,
    In, Unprivileged, Try,
]  # fmt: skip
