"""Decode and encode values by BTF type. For many values of one type use ``decoder`` and ``encoder``."""

from __future__ import annotations

from typing import Any

from pytest_ebpf.btf import describe as _describe
from pytest_ebpf.btf.decode import decoder
from pytest_ebpf.btf.encode import encoder
from pytest_ebpf.btf.parse import Btf

__all__ = ["decode", "describe", "encode"]


def decode(btf: Btf, type_id: int, *, data: bytes) -> Any:
    """The value in ``data``.

    int, pointer -> int; bool -> bool; enum -> ``EnumValue`` (an int with a name) or int; float -> float;
    ``char[]`` -> str when it is text, else bytes; ``unsigned char[]`` -> bytes; other arrays -> list;
    addresses and ports as in ``btf.addresses``;
    struct, union, section -> dict, with the fields of anonymous members in place.
    """
    return decoder(btf, type_id)(data)


def encode(btf: Btf, type_id: int, *, value: Any) -> bytes:
    """The bytes of ``value``, any value that ``decode`` returns; omitted fields are 0."""
    return encoder(btf, type_id)(value)


def describe(btf: Btf, type_id: int) -> str:
    """A short name of a type, as C would write it."""
    return _describe.describe(btf, type_id)
