"""What comes back: one value per op."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Union

from pytest_ebpf.agent.ops.base import Address, Handle
from pytest_ebpf.frozen import dataclass

__all__ = [
    "Data",
    "Described",
    "Done",
    "Entries",
    "Exited",
    "Failed",
    "Info",
    "Kmsg",
    "Leak",
    "Made",
    "Named",
    "NotRun",
    "ProgLoaded",
    "ProgRejected",
    "Queried",
    "Ran",
    "RanMany",
    "Received",
    "Records",
    "Region",
    "Result",
    "Said",
    "ScopeClosed",
    "Value",
]


@dataclass(frozen=True, slots=True)
class Done:
    """It worked; nothing more to say."""


@dataclass(frozen=True, slots=True)
class Made:
    """A new object."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class Value:
    """One value, or None for an absent one."""

    data: bytes | None


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Entries:
    """Map entries: ``count`` keys of ``key_stride`` bytes and as many values, one after the other."""

    keys: bytes
    values: bytes
    count: int
    key_stride: int
    value_stride: int

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of each."""
        key, value = self.key_stride, self.value_stride
        for index in range(self.count):
            yield self.keys[index * key : (index + 1) * key], self.values[index * value : (index + 1) * value]


@dataclass(frozen=True, slots=True)
class ProgLoaded:
    """An accepted program. ``log`` is what the verifier wrote at the level asked for (bytes, NUL cut off);
    ``truncated`` when it needs more memory than there is. ``load_ns`` is the time of the first PROG_LOAD."""

    handle: Handle
    log: bytes = b""
    log_level: int = 0
    verified_insns: int = 0
    xlated_len: int = 0
    jited_len: int = 0
    id: int = 0
    load_ns: int = 0
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class ProgRejected:
    """A refused program: the first errno (never ENOSPC for a small buffer) and the whole log."""

    errno: int
    log: bytes = b""
    log_level: int = 0
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Ran:
    """``retval`` is the kernel's u32; ``duration`` is nanoseconds per run as the kernel measured it."""

    retval: int
    data: bytes
    ctx: bytes
    duration: int


@dataclass(frozen=True, slots=True)
class RanMany:
    """One entry per packet, but for those whose numbers are in ``refused``."""

    retvals: tuple[int, ...]
    data: tuple[bytes, ...]
    durations: tuple[int, ...]
    refused: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Info:
    """``kind`` is prog, map, btf or link; ``data`` the info struct as the kernel filled it in; ``arrays`` what
    ``InfoArrays`` asked for."""

    kind: str
    data: bytes
    map_ids: tuple[int, ...] = ()
    arrays: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Records:
    """Event records in order, with what was lost by the kernel and what the program discarded. ``all_lost``: what was
    lost after the last record is counted, too."""

    records: tuple[bytes, ...]
    lost: int = 0
    discarded: int = 0
    all_lost: bool = False


_PLACE = Struct("<QI")


@dataclass(frozen=True, slots=True)
class Region:
    """``count`` event records in order, as the bytes of the ring buffer that they lie in. A sequence of bytes.

    Without ``places`` they are ``size`` bytes each, the first at ``first``, the next ``stride`` further on. With it,
    that is a u64 offset and a u32 length for each, little-endian. ``lost`` and ``discarded`` as in ``Records``.
    """

    data: bytes
    count: int = 0
    size: int = 0
    stride: int = 8
    first: int = 0
    places: bytes = b""
    lost: int = 0
    discarded: int = 0

    @property
    def records(self) -> tuple[bytes, ...]:
        """Every record by itself."""
        return tuple(self)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[bytes]:
        data, size = self.data, self.size
        if self.places:
            return (data[at : at + length] for at, length in _PLACE.iter_unpack(self.places))
        return (data[at : at + size] for at in range(self.first, self.first + self.count * self.stride, self.stride))

    def __getitem__(self, index: int) -> bytes:
        if not -self.count <= index < self.count:
            raise IndexError(f"record {index} of {self.count}")
        index %= self.count
        at, length = self.first + index * self.stride, self.size
        if self.places:
            at, length = _PLACE.unpack_from(self.places, index * _PLACE.size)
        return self.data[at : at + length]


@dataclass(frozen=True, slots=True)
class Kmsg:
    """Kernel log lines and the mark to read on from. ``dropped``: records overwritten before they could be read.
    ``facilities``: who said each line, 0 for the kernel itself; others come from processes that write to /dev/kmsg."""

    mark: int
    lines: tuple[str, ...] = ()
    dropped: int = 0
    facilities: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """The description of a kernel. ``cpus`` counts possible CPUs (the width of per-CPU values);
    ``python`` is the path of an interpreter there."""

    release: str
    version: str
    machine: str
    cpus: int
    page_size: int
    boot: str
    byteorder: str
    has_btf: bool
    jit: int
    euid: int
    cap_bpf: bool
    unprivileged_bpf_disabled: int
    lockdown: str = ""
    cmdline: str = ""
    python: str = ""

    @property
    def order(self) -> str:
        """The byte order in the notation of ``struct``: what the kernel reads and writes, packed on a host that may
        have another."""
        return ">" if self.byteorder == "big" else "<"


@dataclass(frozen=True, slots=True)
class Exited:
    """A finished command. ``returncode`` is -N when signal N ended it."""

    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """The output of a process from the given offsets on. ``returncode`` as in ``Exited``, None while it runs."""

    stdout: bytes
    stderr: bytes
    returncode: int | None = None
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Queried:
    """What is attached somewhere, in the order in which it runs. ``links``: 0 for a program without one; none where the
    kernel does not say. ``flags``: how the place was opened (BPF_F_ALLOW_*). ``revision`` counts changes (6.6)."""

    progs: tuple[int, ...]
    links: tuple[int, ...] = ()
    flags: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Received:
    """What a socket received, and from whom where it is not connected."""

    data: bytes
    sender: Address | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """An address of a socket."""

    address: Address


@dataclass(frozen=True, slots=True)
class Leak:
    """What outlived the scope that made it. ``held_by``: the way a kernel object is held (pinned path, attached).
    ``stays``: why what a command left in a guest could not be removed, "" where it was."""

    kind: str
    name: str
    id: int
    site: str
    held_by: str = ""
    stays: str = ""


@dataclass(frozen=True, slots=True)
class ScopeClosed:
    """What outlived the scope."""

    leaks: tuple[Leak, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The op failed. ``errno`` 0 means the agent itself refused (``text`` says why: a stale handle, a bad field)."""

    op: str
    errno: int
    text: str
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class NotRun:
    """An op before this one failed."""


Result = Union[
    Done, Made, Value, Data, Entries, ProgLoaded, ProgRejected, Ran, RanMany, Info, Records, Region, Kmsg, Described,
    Exited, Said, ScopeClosed, Received, Queried, Named, Failed, NotRun,
]  # fmt: skip
