"""The waist: every way to touch a kernel, as data.

A batch of these values goes into ``Kernel.run`` and one result comes back per op. The same module is imported on
the host and, zipped, inside a guest, so it may import the standard library only.

Rules that hold for every op:

* An ``Obj`` field names a kernel object: a ``Handle`` from an earlier batch or ``Ref(i)``, the object that op ``i``
  of this batch made. File descriptor numbers never appear here.
* The first op that fails stops the batch (the rest answer ``NotRun``), unless it is wrapped in ``Try``.
* ``site`` is the line of test code that asked for the object ("test_x.py:41"); it comes back in leak reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from pytest_ebpf.agent.ops.base import (
    FdAt,
    FdPatch,
    Handle,
    Obj,
    Ref,
)
from pytest_ebpf.agent.ops.events import (
    KmsgSince,
    PerfDrain,
    PerfOpen,
    RingDrain,
    TraceDrain,
    TraceOpen,
)
from pytest_ebpf.agent.ops.links import (
    LinkCreate,
    LinkDetach,
    LinkUpdate,
    PerfAttach,
    PerfEventOpen,
    ProgAttach,
    ProgDetach,
    ProgQuery,
    RawTracepointOpen,
)
from pytest_ebpf.agent.ops.machine import (
    Describe,
    MakeDir,
    Mount,
    Netlink,
    NetNs,
    OpenFile,
    ReadFile,
    ScopeClose,
    ScopeOpen,
    Spawn,
    WriteFile,
)
from pytest_ebpf.agent.ops.maps import (
    MapCreate,
    MapDelete,
    MapDump,
    MapFreeze,
    MapGet,
    MapPop,
    MapSet,
    MapUpdate,
)
from pytest_ebpf.agent.ops.progs import (
    BtfLoad,
    Close,
    InfoByFd,
    NextId,
    ObjById,
    ObjGet,
    ObjPin,
    ProgLoad,
    ProgRun,
    ProgRunMany,
)
from pytest_ebpf.agent.ops.results import (
    Data,
    Described,
    Done,
    Entries,
    Exited,
    Failed,
    Info,
    Kmsg,
    Leak,
    Made,
    NotRun,
    ProgLoaded,
    ProgRejected,
    Ran,
    RanMany,
    Records,
    Result,
    ScopeClosed,
    Value,
)

__all__ = [
    "BtfLoad",
    "Close",
    "Data",
    "Describe",
    "Described",
    "Done",
    "Entries",
    "Exited",
    "Failed",
    "FdAt",
    "FdPatch",
    "Handle",
    "Info",
    "InfoByFd",
    "Kmsg",
    "KmsgSince",
    "Leak",
    "LinkCreate",
    "LinkDetach",
    "LinkUpdate",
    "Made",
    "MakeDir",
    "MapCreate",
    "MapDelete",
    "MapDump",
    "MapFreeze",
    "MapGet",
    "MapPop",
    "MapSet",
    "MapUpdate",
    "Mount",
    "NetNs",
    "Netlink",
    "NextId",
    "NotRun",
    "Obj",
    "ObjById",
    "ObjGet",
    "ObjPin",
    "Op",
    "OpenFile",
    "PerfAttach",
    "PerfDrain",
    "PerfEventOpen",
    "PerfOpen",
    "ProgAttach",
    "ProgDetach",
    "ProgLoad",
    "ProgLoaded",
    "ProgQuery",
    "ProgRejected",
    "ProgRun",
    "ProgRunMany",
    "Ran",
    "RanMany",
    "RawTracepointOpen",
    "ReadFile",
    "Records",
    "Ref",
    "Result",
    "RingDrain",
    "ScopeClose",
    "ScopeClosed",
    "ScopeOpen",
    "Spawn",
    "TraceDrain",
    "TraceOpen",
    "Try",
    "Value",
    "WriteFile",
]


@dataclass(frozen=True, slots=True)
class Try:
    """Run ``op``; its failure does not stop the batch."""

    op: Op


Op = Union[
    MapCreate,
    MapGet,
    MapSet,
    MapDelete,
    MapPop,
    MapDump,
    MapUpdate,
    MapFreeze,
    BtfLoad,
    ProgLoad,
    ProgRun,
    ProgRunMany,
    ObjPin,
    ObjGet,
    InfoByFd,
    NextId,
    ObjById,
    Close,
    LinkCreate,
    LinkUpdate,
    LinkDetach,
    ProgAttach,
    ProgDetach,
    ProgQuery,
    RawTracepointOpen,
    PerfEventOpen,
    PerfAttach,
    RingDrain,
    PerfOpen,
    PerfDrain,
    TraceOpen,
    TraceDrain,
    KmsgSince,
    Describe,
    ReadFile,
    WriteFile,
    MakeDir,
    OpenFile,
    Mount,
    NetNs,
    Netlink,
    Spawn,
    ScopeOpen,
    ScopeClose,
    Try,
]
