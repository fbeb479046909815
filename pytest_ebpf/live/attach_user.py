"""Attaching to functions of user space: uprobes, one by one or many in one link."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Data, Failed, LinkCreate, PerfEventOpen, PointerAt, ReadFile
from pytest_ebpf.errors import PlanError, UsageError
from pytest_ebpf.live.attach_multi import cookies_of
from pytest_ebpf.live.attach_perf import on_perf_event
from pytest_ebpf.live.links import Link
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.executables import find_library, find_symbol

if TYPE_CHECKING:
    from pytest_ebpf.live.program import Program

__all__ = ["attach_uprobe", "attach_uprobe_multi", "read_user_target"]

_PMU = "/sys/bus/event_source/devices/uprobe"
_RETURN = 1  # BPF_F_UPROBE_MULTI_RETURN
_MULTI = struct.Struct("=QQQQIII")  # link_create.uprobe_multi: path, offsets, ref_ctr_offsets, cookies, cnt, flags, pid
_PATH, _OFFSETS, _COOKIES = 0, 8, 24
_TARGET = re.compile(r"(?P<binary>.+):(?P<symbol>[^:+]+?)(?:\+(?P<offset>0x[0-9a-fA-F]+|[0-9]+))?$")


def read_user_target(target: str) -> Mapping[str, object]:
    """What ``uprobe/binary:symbol+offset`` says, as arguments. A lone number is an offset in the file."""
    found = _TARGET.match(target)
    if found is None:
        return {"binary": target}
    given: dict[str, object] = {"binary": found["binary"]}
    if re.fullmatch(r"0x[0-9a-fA-F]+|[0-9]+", found["symbol"]):
        return given | {"offset": int(found["symbol"], 0)}
    given["symbol"] = found["symbol"]
    return given | ({"offset": int(found["offset"], 0)} if found["offset"] else {})


def attach_uprobe(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """On ``symbol`` of ``binary`` (a path, a program in PATH or a library), ``offset`` bytes in; without a symbol the
    offset is that in the file. ``pid``: only in that process."""
    path = _find(session, program, given=named["binary"])
    offset = _number(program, "offset", named=named)
    symbol = named.get("symbol")
    place = offset if symbol is None else offset + _places(session, program, path=path, symbols=(symbol,))[0]
    if symbol is None and not offset:
        raise UsageError(f"{program.name}: attach() needs symbol= (a function of {path}) or offset= (a place in it)")
    read = session.attempt(ReadFile(f"{_PMU}/type"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{program.name}: this kernel cannot attach uprobes (no {_PMU})",
            feature="uprobe",
            hint="It is built without CONFIG_UPROBE_EVENTS.",
        )
    pid = _number(program, "pid", named=named, default=-1)
    op = PerfEventOpen(
        int(read.data),
        config=_retprobe_bit(session) if _at_return(program) else 0,
        config1=path,
        config2=place,
        pid=pid,
        cpu=0 if pid == -1 else -1,
    )
    event = session.make(op)
    words = f"{path}:{symbol or ''}{f'+{offset:#x}' if offset or symbol is None else ''}"
    return on_perf_event(session, program, event=event, where=words, cookie=_number(program, "cookie", named=named))


def attach_uprobe_multi(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """A uprobe.multi link (Linux 6.6), session ones from 6.13. ``symbol``: a function of ``binary`` or a list."""
    path = _find(session, program, given=named["binary"])
    given = named["symbol"]
    symbols = (given,) if isinstance(given, str) else given
    if not isinstance(symbols, Sequence) or not symbols:
        raise UsageError(f"{program.name}: symbol= is a function of {path} or a list of them, not {given!r}")
    places = _places(session, program, path=path, symbols=symbols)
    cookies = cookies_of(program, given=named.get("cookies"), count=len(places))
    pid = _number(program, "pid", named=named)
    flags = _RETURN if _at_return(program) else 0
    assert program.definition.spec is not None
    pointers = [
        PointerAt(_PATH, path.encode() + b"\0"),
        PointerAt(_OFFSETS, struct.pack(f"={len(places)}Q", *places)),
    ]
    if cookies:
        pointers.append(PointerAt(_COOKIES, cookies))
    op = LinkCreate(
        program.handle,
        program.definition.spec.attach_type,
        extra=_MULTI.pack(0, 0, 0, 0, len(places), flags, pid),
        pointers=tuple(pointers),
    )
    where = f"{path}:{','.join(map(str, symbols))}"
    return Link(session, program=program, where=where, way="uprobe.multi link", handles=(session.make(op),))


def _find(session: Session, program: Program, *, given: object) -> str:
    """The path of a program or library, in the file system of the kernel under test."""
    if not isinstance(given, str) or not given:
        raise UsageError(f"{program.name}: binary= is a path, a program or a library, not {given!r}")
    if "/" in given:
        return given
    cache = session.attempt(ReadFile("/etc/ld.so.cache"), Data)
    if isinstance(cache, Data) and (path := find_library(cache.data, given)):
        return path
    for folder in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        if isinstance(session.attempt(ReadFile(f"{folder}/{given}", limit=4), Data), Data):
            return f"{folder}/{given}"
    raise UsageError(f"{program.name}: neither a library nor a program {given!r} was found", hint="Give its path.")


def _places(session: Session, program: Program, *, path: str, symbols: Sequence[object]) -> list[int]:
    for symbol in symbols:
        if not isinstance(symbol, str):
            raise UsageError(f"{program.name}: symbol= is the name of a function, not {symbol!r}")
    data = session.one(ReadFile(path), Data).data
    return [find_symbol(data, str(symbol), path=path) for symbol in symbols]


def _at_return(program: Program) -> bool:
    return program.definition.section.lstrip("?").startswith("uretprobe")


def _number(program: Program, name: str, *, named: Mapping[str, object], default: int = 0) -> int:
    value = named.get(name, default)
    if not isinstance(value, int):
        raise UsageError(f"{program.name}: {name}= is a number, not {value!r}")
    return value


def _retprobe_bit(session: Session) -> int:
    """The PMU says which bit of ``config`` means "at return" ("config:0")."""
    text = session.one(ReadFile(f"{_PMU}/format/retprobe"), Data).data.decode().strip()
    return 1 << int(text.rpartition(":")[2])
