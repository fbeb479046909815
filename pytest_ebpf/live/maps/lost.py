"""How many records a full perf buffer lost, on kernels that only tell with the next record that fits (before 6.0).

So a program writes a record into the buffer of every processor, which brings what the kernel has to tell, and is
recognised and dropped.
"""

from __future__ import annotations

import os

from pytest_ebpf.agent.ops import Close, FdPatch, Handle, Op, PerfDrain, ProgLoad, ProgRun, Records, Ref, Try
from pytest_ebpf.frozen import replace
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.insn import Insn, pack_insns
from pytest_ebpf.uapi.enums import ProgType
from pytest_ebpf.uapi.flags import RunFlag
from pytest_ebpf.uapi.insn import PseudoLoad
from pytest_ebpf.uapi.numbers import BPF_F_CURRENT_CPU, BPF_FUNC_perf_event_output

__all__ = ["drain_with_losses"]

_MOV64, _MOV32, _COPY64, _ADD64, _LD_IMM64, _STORE64 = 0xB7, 0xB4, 0xBF, 0x07, 0x18, 0x7B
_CALL, _EXIT = 0x85, 0x95
_ARGUMENTS = bytes(8 * 12)  # of a raw tracepoint


def drain_with_losses(session: Session, handle: Handle) -> Records:
    """Everything that came, and every loss. Where no such program may be loaded, the losses that were told."""
    mark = os.urandom(8)
    order = session.target.described.byteorder
    load = ProgLoad(
        type=ProgType.RAW_TRACEPOINT,
        insns=pack_insns(_writing(int.from_bytes(mark, "big" if order == "big" else "little")), byteorder=order),
        license="GPL",
        log_level=0,
        patches=(FdPatch(3, handle),),
    )
    runs: list[Op] = [
        Try(
            ProgRun(
                Ref(0), ctx=_ARGUMENTS, repeat=0, flags=RunFlag.RUN_ON_CPU, cpu=cpu, data_out_size=0, ctx_out_size=0
            )
        )
        for cpu in range(session.target.described.cpus)
    ]
    drain = PerfDrain(handle)
    results = session.run([Try(load), *runs, drain, Try(Close(Ref(0)))])
    drained = session.checked(drain, results[len(runs) + 1], kind=Records)
    return replace(drained, records=tuple(record for record in drained.records if not record.startswith(mark)))


def _writing(mark: int) -> list[Insn]:
    """bpf_perf_event_output(ctx, map, BPF_F_CURRENT_CPU, &mark, 8)"""
    low, high = (part - (1 << 32) if part >= 1 << 31 else part for part in (mark & 0xFFFFFFFF, mark >> 32))
    return [
        Insn(_LD_IMM64, dst=2, imm=low),
        Insn(0, imm=high),
        Insn(_STORE64, dst=10, src=2, off=-8),
        Insn(_LD_IMM64, dst=2, src=PseudoLoad.MAP_FD),
        Insn(0),
        Insn(_MOV32, dst=3, imm=BPF_F_CURRENT_CPU - (1 << 32)),
        Insn(_COPY64, dst=4, src=10),
        Insn(_ADD64, dst=4, imm=-8),
        Insn(_MOV64, dst=5, imm=8),
        Insn(_CALL, imm=BPF_FUNC_perf_event_output),
        Insn(_MOV64),
        Insn(_EXIT),
    ]
