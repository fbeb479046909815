"""How a kernel reports the verdict of a flow dissector in a test run.

Before Linux 6.1 (commit 91350fe15293) bpf_flow_dissect() returned whether the program returned BPF_OK: 1 for BPF_OK, 0
for anything else. Since then the program's own value.
"""

from __future__ import annotations

from pytest_ebpf.agent.ops import Close, ProgLoad, ProgRun, Ran, Ref, Try
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.insn import Insn, pack_insns
from pytest_ebpf.uapi.enums import ProgType
from pytest_ebpf.uapi.verdicts import FLOW

__all__ = ["dissects_as_boolean", "flow_verdict"]

_RETURNS_OK = (Insn(0xB7), Insn(0x95))  # r0 = BPF_OK (0); exit
_FRAME = bytes(64)


def dissects_as_boolean(session: Session) -> bool:
    """Runs a dissector that returns BPF_OK, and looks at what the kernel makes of it."""
    code = pack_insns(list(_RETURNS_OK), byteorder=session.target.described.byteorder)
    load = ProgLoad(type=ProgType.FLOW_DISSECTOR, insns=code, license="GPL")
    _, ran, *_ = session.run([Try(load), Try(ProgRun(Ref(0), data=_FRAME)), Try(Close(Ref(0)))])
    return isinstance(ran, Ran) and ran.retval == 1


def flow_verdict(retval: int) -> int:
    """What a boolean answer says about the program's verdict: BPF_OK, or anything else, which reads as BPF_DROP."""
    return FLOW.OK if retval == 1 else FLOW.DROP
