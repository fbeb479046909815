"""Links and maps opened from their pins in the bpf file system."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from functools import cache

from pytest_ebpf.agent.ops import Handle, Made, ObjGet, ProgLoaded
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.bpffs import pin_path
from pytest_ebpf.live.inspect.info import LinkInfo, ProgInfo
from pytest_ebpf.live.inspect.query import ask_btf, ask_info
from pytest_ebpf.live.inspect.suggest import nearest_paths
from pytest_ebpf.live.kernel_objects import Inventory, opened_map
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.program import Program
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import ObjectFile, ProgramDef
from pytest_ebpf.obj.sections import SectionSpec, parse_section
from pytest_ebpf.uapi.sections import ROWS

__all__ = ["open_pin"]


def open_pin(session: Session, path: str, *, kind: str, section: str = "") -> Link | Map | Program:
    """What is pinned at a path: a "link", "map" or "prog". ``section``: of a program, see ``Bpf.pinned_program``."""
    handle = _open(session, path, kind=kind)
    if kind == "link":
        return _link(session, path, handle=handle)
    if kind == "map":
        return opened_map(session, ask_info(session, "map", asked=handle), handle=handle)
    return _program(session, path, handle=handle, section=section)


def _open(session: Session, path: str, *, kind: str) -> Handle:
    """The object that is pinned at a path; ``kind`` is "link", "prog" or "map"."""
    whole = pin_path(path)
    try:
        handle = session.one(ObjGet(whole), Made).handle
    except KernelCallError as error:
        if error.errno == errno.ENOENT:
            error.hint = f"Nothing is pinned at {whole}; {nearest_paths(session, whole)}"
        raise
    if handle.kind != kind:
        raise BpfUsageError(f"{whole} is the pin of a {handle.kind}, expected one of a {kind}")
    return handle


def _link(session: Session, path: str, *, handle: Handle) -> Link:
    info = ask_info(session, "link", asked=handle)
    assert isinstance(info, LinkInfo)
    link = Link(
        session,
        program=Inventory(session).program(info.prog_id),
        target=pin_path(path),
        mechanism=Mechanism.of_link_type(info.type),
        handles=(handle,),
    )
    return link.pinned_at(pin_path(path))


def _program(session: Session, path: str, *, handle: Handle, section: str) -> Program:
    info = ask_info(session, "prog", asked=handle)
    assert isinstance(info, ProgInfo)
    spec = _section_spec(info, section=section)
    definition = ProgramDef(info.name, spec.name, spec, b"")
    btf = ask_btf(session, info.btf_id) if info.btf_id else None

    @cache
    def maps() -> Mapping[str, Map]:
        return {found.name: found.open() for found in Inventory(session).maps(info.map_ids)}

    return Program(
        session,
        definition=definition,
        loaded=ProgLoaded(
            handle,
            verified_insns=info.verified_insns or 0,
            xlated_len=info.xlated_len,
            jited_len=info.jited_len,
            id=info.id,
        ),
        obj=ObjectFile(pin_path(path), session.target.described.byteorder, "", (definition,), btf=btf),
        maps=maps,
    )


def _section_spec(info: ProgInfo, *, section: str) -> SectionSpec:
    """The section that the program counts as being in: the one given, else that of its type's name, else the one with
    the shortest name, which as a rule is the most general."""
    if not section:
        names = [row[0] for row in ROWS if row[2] == info.type_number]
        section = info.type if info.type in names else min(names, key=len, default="")
    spec = parse_section(section)
    if spec is None or spec.prog_type != info.type_number:
        hint = "Give the section that it was loaded from: pinned_program(path, section='tcx/ingress')."
        raise BpfUsageError(f"{info.name} is a {info.type} program, which section {section!r} does not hold", hint=hint)
    return spec
