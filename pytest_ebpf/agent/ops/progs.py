"""Ops on BTF and programs, and introspection of whatever the kernel holds."""

from __future__ import annotations

from pytest_ebpf.agent.ops.base import FdPatch, Obj, Pieces
from pytest_ebpf.frozen import dataclass

__all__ = [
    "BtfByName",
    "BtfLoad",
    "Close",
    "InfoByFd",
    "NextId",
    "ObjById",
    "ObjGet",
    "ObjPin",
    "ProgLoad",
    "ProgRun",
    "ProgRunMany",
    "StreamRead",
]


@dataclass(frozen=True, slots=True)
class BtfLoad:
    """BPF_BTF_LOAD -> Made, or Failed whose ``log`` is the kernel's BTF log."""

    data: bytes
    site: str = ""


@dataclass(frozen=True, slots=True)
class ProgLoad:
    """BPF_PROG_LOAD -> ProgLoaded or ProgRejected.

    ``log_level`` 0: no log. Otherwise the complete log comes back however long it is. A program rejected at level 4
    is loaded once more at level 1|4, so that a rejection always carries its trace. ``log_limit``: at most that many
    bytes of log (0: all), before Linux 6.4 the first, since then the last; ``truncated`` then says that there is more.
    ``func_info``/``line_info`` are the kernel's records (instruction offsets in units of 8 bytes).
    ``device``: the interface that an XDP program is bound to, by index or name, in ``netns`` when that is given.
    """

    type: int
    insns: bytes
    license: str
    name: str = ""
    expected_attach_type: int = 0
    flags: int = 0
    log_level: int = 4
    patches: tuple[FdPatch, ...] = ()
    btf: Obj | None = None
    func_info: bytes = b""
    func_info_rec_size: int = 0
    line_info: bytes = b""
    line_info_rec_size: int = 0
    attach_btf_id: int = 0
    attach_prog: Obj | None = None
    attach_btf_obj: Obj | None = None
    fd_array: tuple[Obj, ...] = ()
    kern_version: int = 0
    site: str = ""
    log_limit: int = 0
    device: int | str = 0
    netns: Obj | None = None


@dataclass(frozen=True, slots=True)
class ProgRun:
    """BPF_PROG_TEST_RUN once -> Ran. ``data_out_size`` None: room for the input plus what a program may add.
    ``netns``: where the interfaces of the context are; the agent's own namespace for None."""

    prog: Obj
    data: bytes = b""
    ctx: bytes = b""
    repeat: int = 1
    flags: int = 0
    cpu: int = 0
    batch_size: int = 0
    data_out_size: int | None = None
    ctx_out_size: int | None = None
    netns: Obj | None = None


@dataclass(frozen=True, slots=True)
class ProgRunMany:
    """One BPF_PROG_TEST_RUN per packet, in one trip -> RanMany. ``ctx`` is shared by all of them. ``netns`` as for
    ``ProgRun``. ``skip``: go on behind a packet that the kernel calls invalid; ``RanMany.refused`` has its number."""

    prog: Obj
    data: Pieces
    ctx: bytes = b""
    flags: int = 0
    netns: Obj | None = None
    skip: bool = False


@dataclass(frozen=True, slots=True)
class ObjPin:
    """BPF_OBJ_PIN -> Done. With ``undo`` the pin goes when the object's handle closes."""

    obj: Obj
    path: str
    undo: bool = False


@dataclass(frozen=True, slots=True)
class ObjGet:
    """BPF_OBJ_GET -> Made."""

    path: str
    site: str = ""


@dataclass(frozen=True, slots=True)
class InfoByFd:
    """BPF_OBJ_GET_INFO_BY_FD -> Info: the kernel's info struct as it came."""

    obj: Obj


@dataclass(frozen=True, slots=True)
class NextId:
    """BPF_{PROG,MAP,BTF,LINK}_GET_NEXT_ID -> Value (u32) or Value(None) at the end. ``kind``: prog map btf link."""

    kind: str
    after: int = 0


@dataclass(frozen=True, slots=True)
class ObjById:
    """BPF_*_GET_FD_BY_ID -> Made. ``kind``: prog map btf link."""

    kind: str
    id: int
    site: str = ""


@dataclass(frozen=True, slots=True)
class BtfByName:
    """The BTF of a loaded kernel module (or "vmlinux") by its name -> Made, or Failed(ENOENT)."""

    name: str
    site: str = ""


@dataclass(frozen=True, slots=True)
class Close:
    """Close one object now instead of at the end of its scope -> Done."""

    obj: Obj


@dataclass(frozen=True, slots=True)
class StreamRead:
    """BPF_PROG_STREAM_READ_BY_FD (Linux 6.17) -> Data: what waits in stream 1 (output) or 2 (errors) of a program."""

    prog: Obj
    stream: int
