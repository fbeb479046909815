"""Programs on raw tracepoints."""

from __future__ import annotations

from errno import EINVAL, ENOENT

from pytest_ebpf.agent.ops import RawTracepointOpen
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.attach.options import U64, int_option
from pytest_ebpf.live.inspect.suggest import nearest_raw_tracepoints
from pytest_ebpf.live.session import Session

__all__ = ["attach_raw_tracepoint"]


def attach_raw_tracepoint(session: Session, program: AttachableProgram, *, event: str, cookie: int = 0) -> Link:
    """On the tracepoint ``event``, with its arguments as they are; a category in front of the name is ignored.
    ``cookie``: what ``bpf_get_attach_cookie`` returns (Linux 6.10)."""
    if not isinstance(event, str) or not event:
        raise BpfUsageError(f"{program.name}: event= expects the name of a raw tracepoint, got {event!r}")
    int_option(program.name, "cookie", value=cookie, limit=U64)
    name = event.replace(":", "/").rpartition("/")[2]
    try:
        handle = session.make(RawTracepointOpen(program.handle, name=name, cookie=cookie))
    except KernelCallError as error:
        if error.errno == ENOENT:
            close = nearest_raw_tracepoints(session.target.facts().btf, name)
            error.hint = f"This kernel has no tracepoint {name!r}; {close}" if close else error.hint
        elif error.errno == EINVAL and cookie:
            error.hint = "Cookies of raw tracepoints came with Linux 6.10."
        elif error.errno == EINVAL and program.type == "raw_tracepoint_writable":
            error.hint = f"Tracepoint {name!r} has no argument that may be written, or the program writes past it."
        raise
    return Link(session, program=program, target=event, mechanism=Mechanism.RAW_TRACEPOINT, handles=(handle,))
