"""Probes for what the verifier understands: instruction-set versions, loops, sizes, calls between functions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pytest_ebpf.agent.ops import FdPatch, MapCreate, Op, ProgLoaded, ProgRejected, Ref, Result, Try
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.features.base import Answer, Feature, refused, said
from pytest_ebpf.features.progs import load_op
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.insn import LD_IMM64, Insn
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.uapi.flags import ProgFlag
from pytest_ebpf.uapi.insn import PseudoCall, PseudoLoad

__all__ = ["ISA_FEATURES"]

# opcodes: Documentation/bpf/standardization/instruction-set.rst
_EXIT, _MOV, _MOV_REG, _SUB, _CALL = 0x95, 0xB7, 0xBF, 0x17, 0x85
_JLT, _JNE, _JNE32, _JA32, _MOVSX = 0xA5, 0x55, 0x56, 0x06, 0xBF
_STX_DW, _ATOMIC_DW, _JCOND = 0x7B, 0xDB, 0xE5
_FETCH_ADD, _LOAD_ACQUIRE = 0x01, 0x100
_R0, _R1, _R10 = 0, 1, 10
_RETURN_0 = [Insn(_MOV), Insn(_EXIT)]
_ON_STACK = [Insn(_MOV, _R1, imm=1), Insn(_STX_DW, _R10, _R1, -8)]
_MAY_SLEEP = "bpf_lsm_bprm_committed_creds"

# name -> first release, commit, program that only loads where it is understood, what it tries, machines
_Row = tuple[str, str, list[Insn], str, tuple[tuple[str, str], ...]]
_PROGRAMS: dict[str, _Row] = {
    "v2": ("4.14", "92b31a9af73b", [Insn(_MOV), Insn(_JLT, imm=1), Insn(_EXIT)], "a jump if less", ()),
    "v3": ("5.1", "092ed0968bb6", [Insn(_MOV), Insn(_JNE32, imm=1), Insn(_EXIT)], "a jump on 32 bits", ()),
    "v4": (
        "6.6",
        "1f9a1ea821ff",
        [Insn(_MOV), Insn(_MOVSX, _R0, _R0, 8), Insn(_JA32), Insn(_EXIT)],
        "a move with sign extension and a long jump",
        (("x86_64", "6.6"), ("aarch64", "6.6")),
    ),
    "atomics": (
        "5.12",
        "5ca419f2864a",
        [*_ON_STACK, Insn(_ATOMIC_DW, _R10, _R1, -8, _FETCH_ADD), *_RETURN_0],
        "an atomic add that fetches",
        (("x86_64", "5.12"),),
    ),
    "load_acquire": (
        "6.15",
        "880442305a39",
        [*_ON_STACK, Insn(_ATOMIC_DW, _R0, _R10, -8, _LOAD_ACQUIRE), *_RETURN_0],
        "a load-acquire",
        (("x86_64", "6.15"), ("aarch64", "6.15")),
    ),
    "bounded_loops": (
        "5.3",
        "2589726d12a1",
        [Insn(_MOV, imm=10), Insn(_SUB, imm=1), Insn(_JNE, off=-2), Insn(_EXIT)],
        "a loop of ten rounds",
        (),
    ),
    "large_programs": ("5.2", "c04c0d2b968a", [Insn(_MOV)] * 4096 + _RETURN_0, "a program of 4098 instructions", ()),
    "may_goto": (
        "6.9",
        "011832b97b31",
        [Insn(_MOV), Insn(_JCOND, off=1), Insn(0x05, off=-2), Insn(_EXIT)],
        "a loop on may_goto",
        (("x86_64", "6.9"), ("aarch64", "6.9")),
    ),
    "function_calls": (
        "4.16",
        "cc8b0b92a169",
        [Insn(_CALL, src=PseudoCall.CALL, imm=1), Insn(_EXIT), *_RETURN_0],
        "a call of a function",
        (),
    ),
}


def _ops(facts: Facts, *, insns: list[Insn]) -> list[Op]:
    return [Try(load_op("SOCKET_FILTER", insns, facts=facts))]


def _read(results: Sequence[Result], facts: Facts, *, what: str, since: str) -> Answer:
    """Whatever the verifier says against such a program (an unknown opcode, a back-edge), it is about the one thing
    tried."""
    result = results[-1]
    message = f"{what}: {said(result)}"
    if isinstance(result, ProgLoaded):
        return Answer(True, message, since)
    if isinstance(result, ProgRejected) and result.log:
        return Answer(False, message, since)
    return refused(result, facts, message=message, since=since)


def _data_ops(facts: Facts) -> list[Op]:
    insns = [Insn(LD_IMM64, _R1, PseudoLoad.MAP_VALUE), Insn(0), *_RETURN_0]
    load = load_op("SOCKET_FILTER", insns, facts=facts)
    return [Try(MapCreate(2, 4, 8, 1)), Try(replace(load, patches=(FdPatch(0, Ref(0)),)))]


def _sleepable_ops(facts: Facts) -> list[Op]:
    found = facts.btf.find(_MAY_SLEEP, Kind.FUNC) if facts.btf is not None else ()
    load = load_op("LSM", _RETURN_0, facts=facts, btf_id=found[0] if found else 0)
    return [Try(replace(load, flags=ProgFlag.SLEEPABLE))]


def _callbacks_read(results: Sequence[Result], facts: Facts) -> Answer:
    message = "a function passed to a helper: " + ("works" if facts.callbacks else "unknown to this kernel")
    return Answer(facts.callbacks if facts.described.cap_bpf else None, message, "5.13")


def _row(name: str) -> Feature:
    since, commit, insns, what, machines = _PROGRAMS[name]
    return Feature(
        name,
        since,
        partial(_ops, insns=insns),
        partial(_read, what=f"{name}: {what}", since=since),
        source=commit,
        machines=machines,
        group="isa",
    )


ISA_FEATURES: tuple[Feature, ...] = (
    *map(_row, _PROGRAMS),
    Feature(
        "global_data",
        "5.2",
        _data_ops,
        partial(_read, what="global_data: the address of a map's value", since="5.2"),
        source="d8eca5bbb2be",
        group="isa",
    ),
    Feature(
        "sleepable",
        "5.10",
        _sleepable_ops,
        partial(_read, what="sleepable: an LSM program that may sleep", since="5.10"),
        source="1e6c62a88215",
        config=("BPF_LSM",),
        group="isa",
    ),
    Feature("callbacks", "5.13", lambda facts: [], _callbacks_read, source="69c087ba6225", group="isa"),
)
