"""What a row of the table of headers says, and the numbers that building and parsing need of it, worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.packets.fields import Field

__all__ = ["HeaderSpec", "sum_bits"]


@dataclass(frozen=True, slots=True, eq=False)
class HeaderSpec:
    """One header. ``name`` is what paths use ("ip.ttl"), ``title`` what is written to build one (IP(...)). ``key``
    tells headers apart that share a name: the forms of ICMPv6, the two tags of a VLAN.

    ``tail`` names a field of bytes behind the fixed part ("options", or "load" for raw bytes), ``codec`` says how its
    bytes are written as a list. ``next_field`` says what follows; ``following`` maps its numbers to keys of headers,
    the first one of a key being the one to write. ``next_unknown`` is written when what follows is not in the table.
    ``sum``: how its ``chksum`` is computed; ``protocol``: its number in a pseudo header.
    """

    name: str
    title: str
    fields: tuple[Field, ...] = ()
    key: str = ""
    tail: str = ""
    codec: str = ""
    next_field: str = ""
    following: tuple[tuple[int, str], ...] = ()
    next_unknown: int = 0
    sum: str = ""
    protocol: int = 0
    # Worked out of the above.
    size: int = field(init=False)  # bytes of the fixed part, without the fields that depend on a flag
    names: tuple[str, ...] = field(init=False)  # of all fields, the tail included
    defaults: tuple[int | None, ...] = field(init=False)
    index: Mapping[str, int] = field(init=False)  # name or alias -> place in ``fields``
    bits: tuple[int, ...] = field(init=False)  # of each field
    cuts: tuple[tuple[int, int], ...] = field(init=False)  # (shift, mask) of each field that is always there
    shifts: tuple[int, ...] = field(init=False)  # of ``cuts``
    optional: int = field(init=False)  # how many fields at the end depend on a flag
    chksum_at: int = field(init=False)  # places in ``fields``; -1: none
    chksum_byte: int = field(init=False)  # where it begins in a header without optional fields
    next_at: int = field(init=False)
    next_header: Mapping[int, str] = field(init=False)
    next_number: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Work out the rest. Fields that depend on a flag come last in a header."""
        always = tuple(one for one in self.fields if not one.when)
        shift, cuts = sum_bits(always), []
        for one in always:
            shift -= one.bits
            cuts.append((shift, (1 << one.bits) - 1))
        index = {name: at for at, one in enumerate(self.fields) for name in (one.name, *one.aliases)}
        found = {
            "key": self.key or self.name,
            "size": sum_bits(always) // 8,
            "names": tuple(one.name for one in self.fields) + ((self.tail,) if self.tail else ()),
            "defaults": tuple(one.default for one in self.fields),
            "index": MappingProxyType(index),
            "bits": tuple(one.bits for one in self.fields),
            "cuts": tuple(cuts),
            "shifts": tuple(shift for shift, _ in cuts),
            "optional": len(self.fields) - len(always),
            "chksum_at": index.get("chksum", -1),
            "chksum_byte": sum_bits(self.fields[: index.get("chksum", 0)]) // 8,
            "next_at": index.get(self.next_field, -1),
            "next_header": MappingProxyType(dict(self.following)),
            "next_number": MappingProxyType({key: number for number, key in reversed(self.following)}),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def present(self, place: int, numbers: tuple[int | None, ...] | list[int | None]) -> bool:
        """Whether a field is in a header with these numbers."""
        when = self.fields[place].when
        return not when or any(numbers[self.index[flag]] for flag in when)


def sum_bits(fields: tuple[Field, ...]) -> int:
    """Bits of some fields."""
    return sum(one.bits for one in fields)
