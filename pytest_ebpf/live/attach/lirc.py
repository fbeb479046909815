"""Programs on infrared receivers (lirc_mode2)."""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import Done, Handle, OpenFile, ProgAttach, ProgDetach
from pytest_ebpf.errors import KernelCallError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.inspect.suggest import nearest_paths
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType

__all__ = ["attach_lirc"]


def attach_lirc(session: Session, program: AttachableProgram, *, device: str) -> Link:
    """To the receiver behind ``device`` ("/dev/lirc0"). The kernel has no links of this kind."""
    target = _open(session, program, device=device)
    session.one(ProgAttach(program.handle, target, AttachType.LIRC_MODE2), Done)

    def undo() -> None:
        session.attempt(ProgDetach(program.handle, target, AttachType.LIRC_MODE2), Done)

    return Link(session, program=program, target=device, mechanism=Mechanism.LIRC, undo=undo)


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
