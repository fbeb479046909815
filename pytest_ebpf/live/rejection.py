"""The kernel's rejection of a program as an exception."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_ebpf.agent.ops import ProgRejected
from pytest_ebpf.errors import errno_name
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.object import LineInfo
from pytest_ebpf.verifier.explain.poison import poison_note
from pytest_ebpf.verifier.log.values import locate
from pytest_ebpf.verifier.program_rejected import ProgramRejected
from pytest_ebpf.verifier.verifier_log import parse_log

__all__ = ["rejection"]


def rejection(
    result: ProgRejected,
    *,
    program: str,
    lines: Sequence[LineInfo],
    notes: dict[int, str],
) -> ProgramRejected:
    """The kernel's refusal as an exception: its first line has the program, the reason, the C source and the errno."""
    log = parse_log(result.log.decode(errors="replace"), log_level=result.log_level, refused=True)
    log = replace(log, source_line=locate(log, lines), line_info=tuple(lines))
    name = errno_name(result.errno)
    unresolved, _, advice = poison_note(log, notes).rpartition("; ")  # "what is missing (where); what to do"
    why = unresolved or log.error or (log.notes[-1] if log.notes else "")
    message = f"{program}: {why or 'the kernel rejected it and wrote no verifier log'}"
    if log.source_line is not None and not unresolved:
        message += f", at {log.source_line}"
    hint = advice[:1].upper() + advice[1:] if unresolved else ""
    return ProgramRejected(f"{message} ({name})", program=program, errno=result.errno, log=log, hint=hint)
