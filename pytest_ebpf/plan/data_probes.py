"""Probes for what objects with variables of each CPU, or in an arena, need to know.

Both as libbpf's (tools/lib/bpf/features.c of Linux 7.3: probe_kern_percpu_data, probe_ldimm64_full_range_off).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_ebpf.agent.ops import Close, FdPatch, MapCreate, Op, ProgLoad, ProgLoaded, ProgRejected, Ref, Result, Try
from pytest_ebpf.obj.insn import LD_IMM64, Insn, pack_insns
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.uapi.enums import MapType, ProgType
from pytest_ebpf.uapi.insn import PseudoLoad

__all__ = ["data_probes", "read_data_probes"]

_FAR = 1 << 30
_FAR_WORDS = b"invalid access to map value pointer"  # what a kernel says that looks at offsets from 2^29 on
_EXIT = Insn(0x95)
_READ = Insn(0x79, 0x10)  # r0 = *(u64 *)(r1 + 0)


def data_probes(obj: ObjectFile, *, known: frozenset[str], byteorder: str, start: int) -> list[Op]:
    """What to ask for an object beyond ``known``; ``start``: the number of ops before these in the batch."""
    kinds = {section.kind for section in obj.data if section.size}
    ops: list[Op] = []
    if "percpu" in kinds and "percpu_data" not in known:
        code = [Insn(LD_IMM64, 1, PseudoLoad.MAP_VALUE), Insn(0), _READ, _EXIT]
        create = MapCreate(type=MapType.PERCPU_ARRAY, key_size=4, value_size=8, max_entries=1)
        ops += _probe("percpu_data", create, code=code, byteorder=byteorder, at=start + len(ops))
    if "arena" in kinds and "full_range" not in known:
        code = [Insn(LD_IMM64, 1, PseudoLoad.MAP_VALUE), Insn(0, imm=_FAR), _EXIT]
        create = MapCreate(type=MapType.ARRAY, key_size=4, value_size=1, max_entries=1)
        ops += _probe("full_range", create, code=code, byteorder=byteorder, at=start + len(ops))
    return ops


def read_data_probes(ops: Sequence[Op], results: Sequence[Result]) -> Iterator[tuple[str, bool]]:
    """(name of the probe, its answer)."""
    for op, result in zip(ops, results, strict=False):
        if isinstance(op, Try) and isinstance(op.op, ProgLoad):
            if op.op.name == "percpu_data":
                yield op.op.name, isinstance(result, ProgLoaded)
            else:
                yield op.op.name, isinstance(result, ProgRejected) and _FAR_WORDS in result.log


def _probe(name: str, create: MapCreate, *, code: list[Insn], byteorder: str, at: int) -> list[Op]:
    load = ProgLoad(
        type=ProgType.SOCKET_FILTER,
        insns=pack_insns(code, byteorder=byteorder),
        license="GPL",
        name=name,
        log_level=1,
        patches=(FdPatch(0, Ref(at)),),
    )
    return [Try(create), Try(load), Try(Close(Ref(at + 1))), Try(Close(Ref(at)))]
