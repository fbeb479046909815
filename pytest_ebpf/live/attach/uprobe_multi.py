"""One program on many functions of user space: uprobe.multi, uretprobe.multi and uprobe.session."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pytest_ebpf.agent.ops import LinkCreate, Made, PointerAt
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.kprobe_multi import is_pattern, pack_cookies
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.attach.options import is_missing
from pytest_ebpf.live.attach.uprobe import UprobePlace, at_return, attach_places
from pytest_ebpf.live.inspect.executables import check_pid, find_binary, read_binary
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.executables import function_places, match_symbols
from pytest_ebpf.uapi.links import UprobeMultiFlag

__all__ = ["attach_uprobe_multi"]

_MULTI = "QQQQIII"  # link_create.uprobe_multi: path, offsets, ref_ctr_offsets, cookies, cnt, flags, pid
_PATH, _OFFSETS, _COOKIES = 0, 8, 24


def attach_uprobe_multi(
    session: Session,
    program: AttachableProgram,
    *,
    binary: str,
    symbol: str | Sequence[str] | None = None,
    offset: int | Sequence[int] | None = None,
    cookies: Sequence[int] | None = None,
    pid: int | None = None,
) -> Link:
    """A uprobe.multi link (Linux 6.6), uprobe.session from 6.13. ``symbol``: a function of ``binary``, a pattern
    ("SSL_*") or a list of them; ``offset``: positions in the file instead. On a kernel without such links it is
    a perf event for each place, which is the same except for sessions."""
    process = check_pid(session, pid, who=program.name)
    path = find_binary(session, binary, who=program.name, pid=process)
    places, shown = _wanted(session, program, path=path, symbol=symbol, offset=offset)
    order = session.target.described.order
    packed = pack_cookies(program, cookies, count=len(places), order=order)
    op = _multi_op(program, path=path, places=places, cookies=packed, pid=process, order=order)
    where = f"{path}:{shown}"
    link = session.attempt(op, Made)
    if isinstance(link, Made):
        return Link(session, program=program, target=where, mechanism=Mechanism.UPROBE_MULTI, handles=(link.handle,))
    if _is_session(program) or not is_missing(session, "uprobe_multi"):
        session.checked(op, link, kind=Made)
    each = struct.unpack(f"{order}{len(places)}Q", packed) if packed else (0,) * len(places)
    at = [UprobePlace(place, cookie) for place, cookie in zip(places, each, strict=True)]
    return attach_places(session, program, path=path, places=at, pid=process, where=where)


def _multi_op(
    program: AttachableProgram, *, path: str, places: Sequence[int], cookies: bytes, pid: int | None, order: str
) -> LinkCreate:
    assert program.definition.spec is not None
    pointers = [
        PointerAt(_PATH, path.encode() + b"\0"),
        PointerAt(_OFFSETS, struct.pack(f"{order}{len(places)}Q", *places)),
    ]
    if cookies:
        pointers.append(PointerAt(_COOKIES, cookies))
    flags = UprobeMultiFlag.RETURN if at_return(program) else 0
    return LinkCreate(
        program.handle,
        program.definition.spec.attach_type,
        extra=struct.pack(order + _MULTI, 0, 0, 0, 0, len(places), flags, pid or 0),
        pointers=tuple(pointers),
    )


def _wanted(
    session: Session,
    program: AttachableProgram,
    *,
    path: str,
    symbol: str | Sequence[str] | None,
    offset: int | Sequence[int] | None,
) -> tuple[Sequence[int], str]:
    """(offsets in the file, their description)."""
    if (symbol is None) == (offset is None):
        raise BpfUsageError(
            f"{program.name}: attach() needs symbol= (functions of {path}, or a pattern) or offset= (positions in it)"
        )
    if offset is not None:
        offsets = [offset] if isinstance(offset, int) else offset
        if not isinstance(offsets, Sequence) or not offsets or not all(isinstance(each, int) for each in offsets):
            raise BpfUsageError(
                f"{program.name}: offset= expects a position in {path} or a list of them, got {offset!r}"
            )
        return offsets, ",".join(f"{each:#x}" for each in offsets)
    given = (symbol,) if isinstance(symbol, str) else tuple(symbol or ())
    data = read_binary(session, path, who=program.name)
    symbols = [name for each in given for name in _expand(data, each, path=path)]
    return function_places(data, symbols, path=path), ",".join(given)


def _expand(data: bytes, symbol: str, *, path: str) -> tuple[str, ...]:
    return match_symbols(data, symbol, path=path) if is_pattern(symbol) else (symbol,)


def _is_session(program: AttachableProgram) -> bool:
    return "session" in program.definition.section.partition("/")[0]
