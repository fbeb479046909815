"""Attaching to functions of user space: uprobes, one by one or many in one link."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence

from pytest_ebpf.agent.ops import LinkCreate, Made, PointerAt
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.features.probe import probe_feature
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.kprobe_multi import cookies_of
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.uprobe_open import UprobePlace, at_return, attach_places
from pytest_ebpf.live.inspect.executables import check_pid, find_binary, read_binary
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.executables import function_places, match_symbols

__all__ = ["attach_uprobe", "attach_uprobe_multi", "number_of", "read_user_target"]

_RETURN = 1  # BPF_F_UPROBE_MULTI_RETURN
_MULTI = struct.Struct("=QQQQIII")  # link_create.uprobe_multi: path, offsets, ref_ctr_offsets, cookies, cnt, flags, pid
_PATH, _OFFSETS, _COOKIES = 0, 8, 24
_TARGET = re.compile(r"(?P<binary>.+):(?P<symbol>[^:+]+?)(?:\+(?P<offset>0x[0-9a-fA-F]+|[0-9]+))?$")


def read_user_target(target: str) -> Mapping[str, object]:
    """What ``uprobe/binary:symbol+offset`` says, as arguments. A lone number is an offset in the file."""
    found = _TARGET.match(target)
    binary = found["binary"] if found else target
    if "/" in binary and not binary.startswith("/"):
        binary = f"/{binary}"  # aya-ebpf leaves out the first slash of a path; a kernel has no folder that it is in
    if found is None:
        return {"binary": binary}
    given: dict[str, object] = {"binary": binary}
    if re.fullmatch(r"0x[0-9a-fA-F]+|[0-9]+", found["symbol"]):
        return given | {"offset": int(found["symbol"], 0)}
    given["symbol"] = found["symbol"]
    return given | ({"offset": int(found["offset"], 0)} if found["offset"] else {})


def attach_uprobe(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """On ``symbol`` of ``binary`` (a path, a program in PATH or a library), ``offset`` bytes in; without a symbol the
    offset is that in the file. ``pid``: only in that process. ``counter``: the place in the file of a counter that is
    above 0 while somebody is attached, as USDT semaphores are."""
    pid = check_pid(session, named.get("pid"), who=program.name)
    path = find_binary(session, named["binary"], who=program.name, pid=pid)
    offset, symbol = number_of(program, "offset", named=named), named.get("symbol")
    if symbol is None and not offset:
        raise BpfUsageError(f"{program.name}: attach() needs symbol= (a function of {path}) or offset= (a place in it)")
    if symbol is not None and not isinstance(symbol, str):
        raise BpfUsageError(f"{program.name}: symbol= is the name of a function, not {symbol!r}")
    place = offset
    if symbol is not None:
        place += function_places(read_binary(session, path, who=program.name), (symbol,), path=path)[0]
    words = f"{path}:{symbol or ''}{f'+{offset:#x}' if offset or symbol is None else ''}"
    at = UprobePlace(place, number_of(program, "cookie", named=named), number_of(program, "counter", named=named))
    return attach_places(session, program, path=path, places=(at,), pid=pid, where=words)


def attach_uprobe_multi(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """A uprobe.multi link (Linux 6.6), session ones from 6.13. ``symbol``: a function of ``binary``, a pattern
    ("SSL_*") or a list of them; ``offset``: places in the file instead. A kernel without such links gets a perf event
    for each place, which does the same but for sessions."""
    pid = check_pid(session, named.get("pid"), who=program.name)
    path = find_binary(session, named["binary"], who=program.name, pid=pid)
    places, words = _wanted(session, program, path=path, named=named)
    cookies = cookies_of(program, given=named.get("cookies"), count=len(places))
    op = _multi_op(program, path=path, places=places, cookies=cookies, pid=pid)
    where = f"{path}:{words}"
    link = session.attempt(op, Made)
    if isinstance(link, Made):
        return Link(session, program=program, target=where, mechanism="uprobe.multi link", handles=(link.handle,))
    if _by_session(program) or not _too_old(session):
        session.checked(op, link, kind=Made)
    each = struct.unpack(f"={len(places)}Q", cookies) if cookies else (0,) * len(places)
    at = [UprobePlace(place, cookie) for place, cookie in zip(places, each, strict=True)]
    return attach_places(session, program, path=path, places=at, pid=pid, where=where)


def _multi_op(
    program: AttachableProgram, *, path: str, places: Sequence[int], cookies: bytes, pid: int | None
) -> LinkCreate:
    assert program.definition.spec is not None
    pointers = [
        PointerAt(_PATH, path.encode() + b"\0"),
        PointerAt(_OFFSETS, struct.pack(f"={len(places)}Q", *places)),
    ]
    if cookies:
        pointers.append(PointerAt(_COOKIES, cookies))
    flags = _RETURN if at_return(program) else 0
    return LinkCreate(
        program.handle,
        program.definition.spec.attach_type,
        extra=_MULTI.pack(0, 0, 0, 0, len(places), flags, pid or 0),
        pointers=tuple(pointers),
    )


def _wanted(
    session: Session, program: AttachableProgram, *, path: str, named: Mapping[str, object]
) -> tuple[Sequence[int], str]:
    """(places in the file, what to call them)."""
    symbol, offset = named.get("symbol"), named.get("offset")
    if (symbol is None) == (offset is None):
        raise BpfUsageError(
            f"{program.name}: attach() needs symbol= (functions of {path}, or a pattern) or offset= (places in it)"
        )
    if offset is not None:
        offsets = [offset] if isinstance(offset, int) else offset
        if not isinstance(offsets, Sequence) or not offsets or not all(isinstance(each, int) for each in offsets):
            raise BpfUsageError(f"{program.name}: offset= is a place in {path} or a list of them, not {offset!r}")
        return offsets, ",".join(f"{each:#x}" for each in offsets)
    given = (symbol,) if isinstance(symbol, str) else symbol
    if not isinstance(given, Sequence) or not given or not all(isinstance(each, str) for each in given):
        raise BpfUsageError(f"{program.name}: symbol= is a function of {path} or a list of them, not {symbol!r}")
    data = read_binary(session, path, who=program.name)
    symbols = [name for each in given for name in _expand(data, each, path=path)]
    return function_places(data, symbols, path=path), ",".join(given)


def _expand(data: bytes, symbol: str, *, path: str) -> tuple[str, ...]:
    return match_symbols(data, symbol, path=path) if set(symbol) & set("*?[") else (symbol,)


def _by_session(program: AttachableProgram) -> bool:
    return "session" in program.definition.section.partition("/")[0]


def _too_old(session: Session) -> bool:
    """The kernel has no links of this kind, rather than that it refused this one."""
    return probe_feature(session.target, name="attach:uprobe_multi").supported is False


def number_of(program: AttachableProgram, name: str, *, named: Mapping[str, object], default: int = 0) -> int:
    """An argument that is a number from 0 to 2**64 - 1."""
    value = named.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise BpfUsageError(f"{program.name}: {name}= is a number of 64 bits without sign, not {value!r}")
    return value
