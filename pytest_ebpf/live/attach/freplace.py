"""Programs on other programs (freplace), and on infrared receivers (lirc_mode2)."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from pytest_ebpf.agent.ops import Done, Failed, Handle, LinkCreate, Made, OpenFile, ProgAttach, ProgDetach
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.inspect.suggest import nearest_paths
from pytest_ebpf.live.program_function import function_of_program
from pytest_ebpf.live.session import Session

__all__ = ["attach_freplace", "attach_lirc"]

_LIRC = 16  # enum bpf_attach_type


def attach_freplace(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """In place of a function of the program that it was loaded for (``extends``); with ``target``, of another loaded
    program that has the same function (Linux 5.10), or a ``function`` like it."""
    target, function = named.get("target"), str(named.get("function") or "")
    if target is None:
        if function:
            raise BpfUsageError(f"{program.name}: function= goes with target=: which program has it?")
        op = LinkCreate(program.handle, 0)
        where = "the program it was loaded for"
    else:
        found = function_of_program(program.name, (target, function) if function else target)
        op = LinkCreate(program.handle, 0, target=found.prog, target_btf_id=found.btf_id)
        where = f"{function or getattr(target, 'name', '')} of {getattr(target, 'name', target)}"
    made = session.attempt(op, Made)
    if isinstance(made, Failed):
        _say_why(session, op, failed=made, where=where)
        raise AssertionError("a failure that is none")
    return Link(session, program=program, target=where, mechanism="freplace link", handles=(made.handle,))


def _say_why(session: Session, op: LinkCreate, *, failed: Failed, where: str) -> None:
    words = {
        errno.EBUSY: f"{where} is replaced already; detach that first.",
        errno.EINVAL: "The function must have the prototype of the one it was loaded for, and its program be of the "
        "same type.",
    }
    try:
        session.checked(op, failed, kind=Made)
    except KernelCallError as error:
        error.hint = words.get(error.errno) or error.hint
        raise


def attach_lirc(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """To the receiver behind ``device`` ("/dev/lirc0"). There is no link of this kind."""
    device = str(named["device"])
    target = _open(session, program, device=device)
    session.one(ProgAttach(program.handle, target, _LIRC), Done)

    def undo() -> None:
        session.attempt(ProgDetach(program.handle, target, _LIRC), Done)

    return Link(session, program=program, target=device, mechanism="lirc device", undo=undo)


def _open(session: Session, program: AttachableProgram, *, device: str) -> Handle:
    try:
        return session.make(OpenFile(device))
    except KernelCallError as error:
        if error.errno == errno.ENOENT:
            error.hint = (
                f"{program.name}: there is no {device}; {nearest_paths(session, device)}. The module rc-loopback makes "
                "one without hardware: bpf_vm.run(['modprobe', 'rc-loopback'])."
            )
        raise
