"""Programs on what they were loaded for: fentry, fexit, fmod_ret, fsession, tp_btf and LSM programs."""

from __future__ import annotations

from errno import EINVAL, ENOENT
from warnings import warn

from pytest_ebpf.agent.ops import LinkCreate, RawTracepointOpen
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.features import probe_feature
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.attach.options import U64, int_option
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.switches import FTRACE, have_on

__all__ = ["attach_lsm", "attach_tp_btf", "attach_trampoline"]


def attach_trampoline(
    session: Session, program: AttachableProgram, *, function: str | None = None, cookie: int = 0
) -> Link:
    """On the function that it was loaded for; ``function`` may repeat its name. ``cookie``: what
    ``bpf_get_attach_cookie`` returns (Linux 5.19)."""
    have_on(session, FTRACE, effect="no fentry or fexit program is called")
    return _attach(session, program, asked=function, cookie=cookie)


def attach_tp_btf(session: Session, program: AttachableProgram, *, event: str | None = None, cookie: int = 0) -> Link:
    """On the tracepoint that it was loaded for; ``event`` may repeat its name. ``cookie``: Linux 6.10."""
    return _attach(session, program, asked=event, cookie=cookie)


def attach_lsm(session: Session, program: AttachableProgram, *, cookie: int = 0) -> Link:
    """On the LSM hook that it was loaded for. ``cookie``: Linux 5.19. A warning where BPF LSM is built in but not
    active: then the kernel attaches it and never runs it."""
    have_on(session, FTRACE, effect="no LSM program is called")
    link = _attach(session, program, asked=None, cookie=cookie)
    answer = probe_feature(session.target, name="lsm")
    if answer.supported is False and answer.cause == "off":
        warn(f"{program.name} is attached to {link.target} and never runs: {answer.message}", stacklevel=4)
    return link


def _attach(session: Session, program: AttachableProgram, *, asked: str | None, cookie: int) -> Link:
    spec = program.definition.spec
    assert spec is not None
    if asked is not None and asked != spec.target:
        raise BpfUsageError(
            f"{program.name} was loaded for {spec.target!r} and cannot be attached to {asked!r}",
            hint=f"Load it for that: bpf.load(..., programs={{{program.name!r}: {{'target': {asked!r}}}}}).",
        )
    int_option(program.name, "cookie", value=cookie, limit=U64)
    op = LinkCreate(program.handle, spec.attach_type, cookie=cookie) if cookie else RawTracepointOpen(program.handle)
    try:
        handle = session.make(op)
    except KernelCallError as error:
        if cookie and error.errno == EINVAL:
            release = "6.10" if spec.prefix.startswith("tp_btf") else "5.19"
            error.hint = f"Cookies of {spec.prefix} programs came with Linux {release}."
        elif error.errno == ENOENT:  # its trampoline went into its first link (f3a95075549e, Linux 5.13)
            error.hint = (
                "It was attached before, and before Linux 5.13 a tracing program can be attached only once: load it "
                "again."
            )
        raise
    mechanism = Mechanism(f"{spec.prefix} link")
    return Link(session, program=program, target=spec.target, mechanism=mechanism, handles=(handle,))
