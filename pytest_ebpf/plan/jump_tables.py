"""Jump tables (clang 22 and later, ``-mcpu=v4``): a map of instructions for each, made before its program is loaded.

As libbpf 1.7 (src/libbpf.c: create_jt_map): an entry names an instruction of the program as it is handed over; the
kernel (Linux 6.19, b4ce5923e780) keeps it up to date while it rewrites the program, and wants the map frozen.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from pytest_ebpf.agent.ops import MapCreate, MapFreeze, MapSet, Obj
from pytest_ebpf.plan.planned import OpBatch
from pytest_ebpf.uapi.enums import MapType

__all__ = ["create_jump_tables"]

_NAME = "jump_table"
_VALUE_SIZE = 16  # struct bpf_insn_array_value: orig_off, xlated_off, jitted_off, padding


def create_jump_tables(tables: Mapping[str, tuple[int, ...]], *, batch: OpBatch, byteorder: str) -> dict[str, Obj]:
    """Name -> the map that holds the table."""
    code = "<" if byteorder == "little" else ">"
    made: dict[str, Obj] = {}
    for name, targets in tables.items():
        op = MapCreate(
            type=MapType.INSN_ARRAY,
            key_size=4,
            value_size=_VALUE_SIZE,
            max_entries=len(targets),
            name=_NAME,
            site=batch.site,
        )
        ref = made[name] = batch.add(op)
        for index, target in enumerate(targets):
            batch.add(MapSet(ref, struct.pack(code + "I", index), struct.pack(code + "I12x", target)))
        batch.add(MapFreeze(ref))
    return made
