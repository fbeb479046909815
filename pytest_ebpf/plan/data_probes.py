"""Probes for what few objects need to know: those with variables of each CPU, variables in an arena, or ``__arg_ctx``.

All as libbpf's (tools/lib/bpf/features.c of Linux 7.3: probe_kern_percpu_data, probe_ldimm64_full_range_off,
probe_kern_arg_ctx_tag).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Close,
    FdPatch,
    MapCreate,
    Op,
    ProgLoad,
    ProgLoaded,
    ProgRejected,
    Ref,
    Result,
    Try,
)
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.write import BtfBuilder
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Insn, pack_insns
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.context_args import has_context_args
from pytest_ebpf.uapi.enums import MapType, ProgType
from pytest_ebpf.uapi.insn import PseudoCall, PseudoLoad

__all__ = ["data_probes", "read_data_probes"]

_FAR = 1 << 30
_FAR_WORDS = b"invalid access to map value pointer"  # what a kernel says that looks at offsets from 2^29 on
_EXIT = Insn(0x95)
_READ = Insn(0x79, 0x10)  # r0 = *(u64 *)(r1 + 0)
_GET_FUNC_IP = 173  # helper id, Linux 5.15: takes the context of a kprobe


def data_probes(obj: ObjectFile, *, known: frozenset[str], byteorder: str, start: int) -> list[Op]:
    """What to ask for an object beyond ``known``; ``start``: the number of ops before these in the batch."""
    kinds = {section.kind for section in obj.data if section.size}
    ops: list[Op] = []
    if "percpu" in kinds and "percpu_data" not in known:
        code = [Insn(LD_IMM64, 1, PseudoLoad.MAP_VALUE), Insn(0), _READ, _EXIT]
        create = MapCreate(type=MapType.PERCPU_ARRAY, key_size=4, value_size=8, max_entries=1)
        at = start + len(ops)
        ops += _probe(create, _load("percpu_data", code, byteorder=byteorder, map_at=at), at=at)
    if "arena" in kinds and "full_range" not in known:
        code = [Insn(LD_IMM64, 1, PseudoLoad.MAP_VALUE), Insn(0, imm=_FAR), _EXIT]
        create = MapCreate(type=MapType.ARRAY, key_size=4, value_size=1, max_entries=1)
        at = start + len(ops)
        ops += _probe(create, _load("full_range", code, byteorder=byteorder, map_at=at), at=at)
    if has_context_args(obj.btf) and "arg_ctx" not in known:
        ops += _context_probe(byteorder=byteorder, at=start + len(ops))
    return ops


def read_data_probes(ops: Sequence[Op], results: Sequence[Result]) -> Iterator[tuple[str, bool]]:
    """(name of the probe, its answer)."""
    for op, result in zip(ops, results, strict=False):
        if isinstance(op, Try) and isinstance(op.op, ProgLoad):
            if op.op.name == "full_range":
                yield op.op.name, isinstance(result, ProgRejected) and _FAR_WORDS in result.log
            else:
                yield op.op.name, isinstance(result, ProgLoaded)


def _load(name: str, code: list[Insn], *, byteorder: str, map_at: int) -> ProgLoad:
    return ProgLoad(
        type=ProgType.SOCKET_FILTER,
        insns=pack_insns(code, byteorder=byteorder),
        license="GPL",
        name=name,
        log_level=1,
        patches=(FdPatch(0, Ref(map_at)),),
    )


def _context_probe(*, byteorder: str, at: int) -> list[Op]:
    """A kprobe whose global function has a parameter "void *" with the tag, and needs it to be the context."""
    builder = BtfBuilder(byteorder=byteorder)
    number, pointer = builder.add(t.Int("int", 4, 32, signed=True)), builder.add(t.Ptr(0))
    proto = builder.add(t.FuncProto(number, (t.Param("ctx", pointer),)))
    main, function = builder.add(t.Func("main", proto, 1)), builder.add(t.Func("takes_context", proto, 1))
    builder.add(t.DeclTag("arg:ctx", function, 0))
    load = ProgLoad(
        type=ProgType.KPROBE,
        insns=pack_insns(
            [Insn(CALL, src=PseudoCall.CALL, imm=1), _EXIT, Insn(CALL, imm=_GET_FUNC_IP), _EXIT], byteorder=byteorder
        ),
        license="GPL",
        name="arg_ctx",
        log_level=0,
        btf=Ref(at),
        func_info=struct.pack("<4I" if byteorder == "little" else ">4I", 0, main, 2, function),
        func_info_rec_size=8,
    )
    return _probe(BtfLoad(builder.build()), load, at=at)


def _probe(first: Op, load: ProgLoad, *, at: int) -> list[Op]:
    """``load`` with what it uses, both closed again. ``at``: the number of ops before."""
    return [Try(first), Try(load), Try(Close(Ref(at + 1))), Try(Close(Ref(at)))]
