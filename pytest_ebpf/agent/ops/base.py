"""Handles and references: how ops name kernel objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TypeAlias, Union

from pytest_ebpf.frozen import dataclass, field

__all__ = [
    "Address",
    "FdAt",
    "FdPatch",
    "Handle",
    "Obj",
    "Packed",
    "Pieces",
    "Ref",
    "new_scope",
]


@dataclass(frozen=True, slots=True)
class Handle:
    """An object that an agent owns. Serials are never reused; ``boot`` is the agent's life, so a handle from before
    a crash is refused instead of hitting another object."""

    serial: int
    boot: str
    kind: str = field(default="", compare=False)
    name: str = field(default="", compare=False)


def new_scope(boot: str, number: int, *, name: str) -> Handle:
    """The handle of a scope that the agent opens when it first meets it: the 1st, 2nd, … of an agent's life. Serials
    that agents give out are positive, these are not."""
    return Handle(-number, boot, "scope", name)


@dataclass(frozen=True, slots=True)
class Ref:
    """The object that op ``index`` of the same batch makes."""

    index: int


Obj = Union[Handle, Ref]


class Packed:
    """Many bytes, one behind the other in ``data``, with the length of each: as they came over the wire. An agent that
    hands them to the kernel needs no object for each, which takes a seventh of a run under emulation."""

    __slots__ = ("data", "lengths")

    def __init__(self, data: bytes, lengths: Sequence[int]) -> None:
        self.data, self.lengths = data, lengths

    @classmethod
    def of(cls, pieces: Pieces) -> Packed:
        """Those of an op, in whichever form it has them."""
        return pieces if isinstance(pieces, Packed) else cls(b"".join(pieces), tuple(map(len, pieces)))

    def __iter__(self) -> Iterator[bytes]:
        return (self.data[start:end] for start, end in pairwise(accumulate(self.lengths, initial=0)))

    def __len__(self) -> int:
        return len(self.lengths)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Packed | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


Pieces: TypeAlias = "tuple[bytes, ...]"  # an agent at the other end of a wire gets them ``Packed``


@dataclass(frozen=True, slots=True)
class FdPatch:
    """Write the fd of ``target`` into the imm field of instruction slot ``insn`` before PROG_LOAD."""

    insn: int
    target: Obj


@dataclass(frozen=True, slots=True)
class FdAt:
    """Write the fd of ``target`` as a native u32 at byte ``offset`` of a message (TCA_BPF_FD in a netlink request)."""

    offset: int
    target: Obj


@dataclass(frozen=True, slots=True)
class Address:
    """Of a socket: IPv4 or IPv6 ``host`` and ``port`` (``scope``: ifindex of a link-local one); unix: a path or
    "@abstract"; packet: the interface and the EtherType."""

    host: str
    port: int = 0
    scope: int = 0
