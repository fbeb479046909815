"""Programs in the place of a function of another program (freplace)."""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import Failed, LinkCreate, Made
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.program_function import function_of_program
from pytest_ebpf.live.session import Session

__all__ = ["attach_freplace"]


def attach_freplace(
    session: Session, program: AttachableProgram, *, target: AttachableProgram | None = None, function: str = ""
) -> Link:
    """In place of the function of the program that it was loaded for (``extends``). With ``target``: in place of the
    same function, or ``function`` with the same prototype, of another loaded program (Linux 5.10)."""
    if target is None:
        if function:
            raise BpfUsageError(f"{program.name}: function= needs target=, the program that has the function")
        op = LinkCreate(program.handle, 0)
        where = "the program it was loaded for"
    else:
        found = function_of_program(program.name, (target, function) if function else target)
        op = LinkCreate(program.handle, 0, target=found.prog, target_btf_id=found.btf_id)
        where = f"{function or target.name} of {target.name}"
    made = session.attempt(op, Made)
    if isinstance(made, Failed):
        raise _refusal(session, op, failed=made, where=where)
    return Link(session, program=program, target=where, mechanism=Mechanism.FREPLACE, handles=(made.handle,))


def _refusal(session: Session, op: LinkCreate, *, failed: Failed, where: str) -> KernelCallError:
    hints = {
        errno.EBUSY: f"{where} is replaced already; detach that first.",
        errno.EINVAL: "The function must have the prototype of the one it was loaded for, and its program the same "
        "type.",
    }
    try:
        session.checked(op, failed, kind=Made)
    except KernelCallError as error:
        error.hint = hints.get(error.errno) or error.hint
        return error
    raise AssertionError(f"{failed} was accepted as a result")
