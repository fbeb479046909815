"""Does one kernel accept a program that another one refuses?"""

from __future__ import annotations

from collections.abc import Mapping

from pytest_ebpf.agent.ops import Close, ProgLoad, ProgLoaded, ProgRejected, Ref, Try
from pytest_ebpf.asm import assemble
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.uapi.enums import ProgType

__all__ = ["refusals", "same_verdict"]


def refusals(kernels: Mapping[str, Bpf], text: str, *, type: int = ProgType.SOCKET_FILTER) -> dict[str, str]:
    """Where a program (text for ``pytest_ebpf.asm``) is refused, and the last line of the verifier's log about it: that
    of an accepted one is ""."""
    return {name: _refusal(bpf, text, type=type) for name, bpf in kernels.items()}


def _refusal(bpf: Bpf, text: str, *, type: int) -> str:
    code = assemble(text, byteorder=bpf.session.target.described.byteorder)
    load = ProgLoad(type=type, insns=code, license="GPL", name="small", log_level=1)
    answer = bpf.session.run([Try(load), Try(Close(Ref(0)))])[0]
    if isinstance(answer, ProgLoaded):
        return ""
    if not isinstance(answer, ProgRejected):
        raise BpfUsageError(f"the program did not get to the verifier: {answer}")
    lines = answer.log.decode(errors="replace").splitlines()
    said = [line for line in lines if line and not line.startswith("processed ")]
    return said[-1] if said else f"errno {answer.errno}"


def same_verdict(kernels: Mapping[str, Bpf], text: str, *, type: int = ProgType.SOCKET_FILTER) -> None:
    """AssertionError if some of the kernels accept a program and others refuse it; with their reasons."""
    found = refusals(kernels, text, type=type)
    if len({not reason for reason in found.values()}) > 1:
        verdicts = [f"  {name}: {reason or 'accepted'}" for name, reason in found.items()]
        program = [f"    {line}" for line in text.splitlines()]
        raise AssertionError("\n".join(["kernels differ about a program:", *verdicts, *program]))
