"""Types as text that is an enum: the number of a type becomes its name in small letters.

A type that the newest headers do not have is its number as plain text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from pytest_ebpf.obj.sections import attach_type_name, map_type_name, prog_type_name
from pytest_ebpf.uapi.links import LinkType
from pytest_ebpf.uapi.names import AttachTypeName, LinkTypeName, MapTypeName, ProgTypeName

__all__ = ["attach_type_text", "link_type_text", "map_type_text", "prog_type_text"]

E = TypeVar("E", bound=StrEnum)


def prog_type_text(number: int) -> ProgTypeName | str:
    """6 -> ProgTypeName.XDP, which equals "xdp"."""
    return _member(ProgTypeName, name=prog_type_name(number))


def map_type_text(number: int) -> MapTypeName | str:
    """1 -> MapTypeName.HASH, which equals "hash"."""
    return _member(MapTypeName, name=map_type_name(number))


def attach_type_text(number: int) -> AttachTypeName | str:
    """37 -> AttachTypeName.XDP, which equals "xdp"."""
    return _member(AttachTypeName, name=attach_type_name(number))


def link_type_text(number: int) -> LinkTypeName | str:
    """6 -> LinkTypeName.XDP, which equals "xdp"."""
    known = LinkType._value2member_map_.get(number)
    return _member(LinkTypeName, name=known.name if known is not None else str(number))


def _member(enum: type[E], *, name: str) -> E | str:
    return enum.__members__.get(name, name)
