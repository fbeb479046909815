"""Stack traces that programs left in a map, with the names of functions.

A trace is an array of u64 addresses, zeroes at its end; with BPF_F_STACK_BUILD_ID of ``struct bpf_stack_build_id``
(kernel/bpf/stackmap.c). Addresses of the kernel have their highest bit set on all 64-bit machines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from struct import Struct

from pytest_ebpf.agent.ops import Data, Handle, MapGet, ReadFile, Value
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.inspect.executables import Mapping, mappings_of
from pytest_ebpf.live.inspect.kallsyms import read_kallsyms
from pytest_ebpf.live.maps.codec import MapCodec
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.executables import functions_by_place
from pytest_ebpf.uapi.enums import StackBuildIdStatus
from pytest_ebpf.uapi.flags import MapCreateFlag

__all__ = ["Frame", "StackTrace", "read_stack"]

_ADDRESS = "Q"
_BUILD_ID = "i20sQ"  # status, build id, offset in the file or (BPF_STACK_BUILD_ID_IP) address
_KERNEL = 1 << 63


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. ``symbol`` and ``offset`` in it (bytes), "" and 0 where nothing is known; ``file``: the module or file
    that it is in; ``build_id`` and ``offset`` in the file instead, where the map has those."""

    address: int
    symbol: str = ""
    offset: int = 0
    file: str = ""
    build_id: str = ""

    def __str__(self) -> str:
        if self.build_id:
            return f"{self.build_id}+{self.offset:#x}"
        place = f"{self.symbol}+{self.offset:#x}" if self.symbol else f"{self.address:#x}"
        return f"{place} [{self.file}]" if self.file else place


@dataclass(frozen=True, slots=True)
class StackTrace:
    """The frames, innermost first. ``"do_exit" in trace`` asks for a function; ``str()`` has a line for each."""

    frames: tuple[Frame, ...]

    @property
    def functions(self) -> list[str]:
        """The name of every frame that has one."""
        return [frame.symbol for frame in self.frames if frame.symbol]

    def __contains__(self, name: object) -> bool:
        return any(frame.symbol == name for frame in self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]

    def __str__(self) -> str:
        return "\n".join(map(str, self.frames))


def read_stack(session: Session, handle: Handle, *, codec: MapCodec, id: int, pid: int | None) -> StackTrace:
    """See ``Map.stack``. ``KeyError``: there is no such trace, or another took its place."""
    if id < 0:
        raise KeyError(f"{id} is what bpf_get_stackid() returned for an error, not a stack")
    data = session.one(MapGet(handle, codec.raw_key(id)), Value).data
    if data is None:
        raise KeyError(f"map {codec.name!r} has no stack {id}")
    order = session.target.described.order
    if codec.definition.flags & MapCreateFlag.STACK_BUILD_ID:
        return StackTrace(tuple(_by_build_id(data, order=order)))
    addresses = [address for (address,) in Struct(order + _ADDRESS).iter_unpack(data) if address]
    kernel = _kernel_names(session, [address for address in addresses if address >= _KERNEL])
    user = _UserNames(session, pid)
    return StackTrace(tuple(kernel.get(address) or user.frame(address) for address in addresses))


def _by_build_id(data: bytes, *, order: str) -> Iterator[Frame]:
    for status, build_id, place in Struct(order + _BUILD_ID).iter_unpack(data):
        if status == StackBuildIdStatus.VALID:
            yield Frame(0, offset=place, build_id=build_id.hex())
        elif status == StackBuildIdStatus.IP:
            yield Frame(place)


def _kernel_names(session: Session, addresses: Sequence[int]) -> dict[int, Frame]:
    """Frames by address, from /proc/kallsyms, whose lines are in no order: ``address type name [module]``."""
    if not addresses:
        return {}
    rows = [line.split() for line in read_kallsyms(session).splitlines()]
    known = sorted((int(row[0], 16), row[2], row[3].strip("[]") if len(row) > 3 else "") for row in rows)
    starts = [start for start, _, _ in known]
    found = {}
    for address in addresses:
        index = bisect_right(starts, address) - 1
        start, name, module = known[index] if index >= 0 else (0, "", "")
        found[address] = Frame(address, name, address - start, module) if start else Frame(address)
    return found


class _UserNames:
    """Names in one process, as long as it runs. Each file is read once."""

    def __init__(self, session: Session, pid: int | None) -> None:
        self._session = session
        self._pid = pid
        self._mappings: list[Mapping] | None = None
        self._files: dict[str, list[tuple[int, str]]] = {}

    def frame(self, address: int) -> Frame:
        if self._pid is None or address >= _KERNEL:
            return Frame(address)
        if self._mappings is None:
            self._mappings = mappings_of(self._session, self._pid)
        for mapping in self._mappings:
            if mapping.start <= address < mapping.end:
                return self._named(address, mapping)
        return Frame(address)

    def _named(self, address: int, mapping: Mapping) -> Frame:
        place = address - mapping.start + mapping.offset
        functions = self._functions(mapping.path)
        index = bisect_right(functions, (place, "\U0010ffff")) - 1
        if index < 0:
            return Frame(address, file=mapping.path)
        start, name = functions[index]
        return Frame(address, name, place - start, mapping.path)

    def _functions(self, path: str) -> list[tuple[int, str]]:
        """(place in the file, name), in order; none for a file that is gone or no program."""
        if path not in self._files:
            read = self._session.attempt(ReadFile(f"/proc/{self._pid}/root{path}"), Data)
            try:
                found = functions_by_place(read.data, path=path) if isinstance(read, Data) else []
            except ObjectError:
                found = []
            self._files[path] = found
        return self._files[path]
