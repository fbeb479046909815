"""Attaching one program to many functions of the kernel at once: kprobe.multi and kprobe.session."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from errno import EINVAL, ESRCH
from fnmatch import translate
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Data, Failed, Handle, LinkCreate, PointerAt, ReadFile
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.errors import BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.kprobe import tracefs_root
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.inspect.suggest import nearest_functions
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.btf.parse import Btf

__all__ = ["attach_kprobe_multi", "attach_tracing_multi", "cookies_of"]

_RETURN = 1  # BPF_F_KPROBE_MULTI_RETURN
_MULTI = struct.Struct("=IIQQQ")  # link_create.kprobe_multi: flags, cnt, syms, addrs, cookies
_TRACING_MULTI = struct.Struct("=QQI")  # link_create.tracing_multi: ids, cookies, cnt
_SYMS, _ADDRS, _COOKIES = 8, 16, 24
_LIST = "available_filter_functions"


def attach_kprobe_multi(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """A kprobe.multi link (Linux 5.18), session ones from 6.10. ``function``: a name, an address, a pattern ("vfs_*")
    or a list of them; ``cookies``: one number per function that ``function`` means. Of a pattern, a kernel before 6.5
    leaves out functions whose name another one has: it cannot say where they are."""
    wanted = _names(program, given=named["function"])
    places = _places(session, program, wanted=wanted)
    cookies = cookies_of(program, given=named.get("cookies"), count=len(places))
    flags = _RETURN if program.definition.section.lstrip("?").startswith("kretprobe") else 0
    assert program.definition.spec is not None
    addresses = [place for place in places if isinstance(place, int)]
    if addresses:
        pointers = [PointerAt(_ADDRS, struct.pack(f"={len(addresses)}Q", *addresses))]
    else:
        pointers = [PointerAt(_SYMS, texts=tuple(map(str, places)))]
    if cookies:
        pointers.append(PointerAt(_COOKIES, cookies))
    op = LinkCreate(
        program.handle,
        program.definition.spec.attach_type,
        extra=_MULTI.pack(flags, len(places), 0, 0, 0),
        pointers=tuple(pointers),
    )
    shown = ", ".join(f"{each:#x}" if isinstance(each, int) else each for each in wanted)
    where = shown if len(places) == 1 else f"{len(places)} functions ({shown})"
    return Link(
        session,
        program=program,
        target=where,
        mechanism="kprobe.multi link",
        handles=(_made(session, op, places=places),),
    )


def attach_tracing_multi(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """fentry.multi, fexit.multi and fsession.multi: one link on many functions that BTF knows (Linux 7.2)."""
    wanted = [str(each) for each in _names(program, given=named["function"])]
    btf = session.target.facts().btf
    if btf is None:
        raise PlanError(f"{program.name} needs the kernel's BTF, and this kernel has none", feature="btf")
    names = _named(session, program, wanted=wanted, btf=btf)
    cookies = cookies_of(program, given=named.get("cookies"), count=len(names))
    ids = struct.pack(f"={len(names)}I", *(btf.find(name, Kind.FUNC)[0] for name in names))
    assert program.definition.spec is not None
    pointers = (PointerAt(0, ids), *((PointerAt(8, cookies),) if cookies else ()))
    op = LinkCreate(
        program.handle,
        program.definition.spec.attach_type,
        extra=_TRACING_MULTI.pack(0, 0, len(names)),
        pointers=pointers,
    )
    where = names[0] if len(names) == 1 else f"{len(names)} functions ({', '.join(wanted)})"
    mechanism = f"{program.definition.spec.prefix} link"
    return Link(session, program=program, target=where, mechanism=mechanism, handles=(session.make(op),))


def _named(session: Session, program: AttachableProgram, *, wanted: Sequence[str], btf: Btf) -> list[str]:
    """The functions that BTF knows and that can be traced; of a pattern those that are both."""
    known = _traceable(session) if any(map(_is_pattern, wanted)) else {}
    found: list[str] = []
    for each in wanted:
        if not _is_pattern(each) and not btf.find(each, Kind.FUNC):
            raise PlanError(f"{program.name}: this kernel has no function {each!r}", hint=nearest_functions(btf, each))
        found += [name for name in _meant(program, each, known=known) if btf.find(name, Kind.FUNC)]
    return list(dict.fromkeys(found))


def _made(session: Session, op: LinkCreate, *, places: Sequence[str | int]) -> Handle:
    """kernel/trace/ftrace.c: ftrace_lookup_symbols() says only that some name is none (ESRCH)."""
    try:
        return session.make(op)
    except KernelCallError as error:
        if error.errno in (ESRCH, EINVAL) and not isinstance(places[0], int):
            known = _traceable(session)
            for name in places:
                if known and name not in known:
                    close = get_close_matches(str(name), known, n=3, cutoff=0.75)
                    near = f"did you mean {' or '.join(close)}?" if close else "it may be inlined, or not traceable"
                    error.hint = f"This kernel has no function {name} that can be traced; {near}"
        raise


def cookies_of(program: AttachableProgram, *, given: object, count: int) -> bytes:
    """An array of u64, b"" for none. ``BpfUsageError`` unless there are ``count``."""
    if given is None:
        return b""
    if not isinstance(given, Sequence) or isinstance(given, str | bytes) or len(given) != count:
        raise BpfUsageError(f"{program.name}: cookies= is a list of {count} numbers, one per place, not {given!r}")
    try:
        return struct.pack(f"={count}Q", *given)
    except struct.error as error:
        raise BpfUsageError(f"{program.name}: cookies= holds numbers of 64 bits without sign, not {given!r}") from error


def _names(program: AttachableProgram, *, given: object) -> tuple[str | int, ...]:
    names = (given,) if isinstance(given, str | int) else given
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str | int) for name in names):
        raise BpfUsageError(f"{program.name}: function= is a name, a pattern such as 'vfs_*', or a list, not {given!r}")
    return tuple(names)


def _places(session: Session, program: AttachableProgram, *, wanted: Sequence[str | int]) -> list[str | int]:
    """Names only, or addresses only: the kernel takes one or the other. Each function once."""
    if not any(isinstance(each, int) or _is_pattern(each) for each in wanted):
        return list(dict.fromkeys(wanted))
    known = _traceable(session)
    if not known:
        raise PlanError(
            f"{program.name}: this kernel does not say which functions {wanted[0]!r} means",
            feature="kprobe.multi",
            hint="tracefs has no available_filter_functions: it is built without CONFIG_DYNAMIC_FTRACE.",
        )
    found: list[str | int] = []
    for each in wanted:
        found += [each] if isinstance(each, int) else _meant(program, each, known=known)
    by_address = all(len(known.get(each, ())) > 0 for each in found if isinstance(each, str))
    if not by_address and any(isinstance(each, int) for each in found):
        raise BpfUsageError(f"{program.name}: function= mixes addresses with names, whose addresses nobody says")
    if not by_address:
        return list(dict.fromkeys(found))
    return list(dict.fromkeys(place for each in found for place in (known[each] if isinstance(each, str) else [each])))


def _is_pattern(name: str) -> bool:
    return bool(set(name) & set("*?["))


def _meant(program: AttachableProgram, name: str, *, known: Mapping[str, Sequence[int]]) -> list[str]:
    if not _is_pattern(name):
        return [name]
    matches = re.compile(translate(name)).match
    found = [each for each in known if matches(each)]
    if not found:
        close = get_close_matches(name.strip("*?"), known, n=3, cutoff=0.7)
        hint = f"it has {', '.join(close)}" if close else f"{_LIST} in tracefs lists what it has."
        raise BpfUsageError(
            f"{program.name}: no function of this kernel that can be probed matches {name!r}", hint=hint
        )
    return found


def _traceable(session: Session) -> dict[str, tuple[int, ...]]:
    """Function -> where it is, () before Linux 6.5 (83f74441bcb1), whose list has no addresses; there a name that
    several functions have is left out. Empty: the kernel has no such list. Functions of modules are not in it."""
    folder = tracefs_root(session)
    read = session.attempt(ReadFile(f"{folder}/{_LIST}_addrs"), Data)
    with_address = isinstance(read, Data)
    if isinstance(read, Failed):
        read = session.attempt(ReadFile(f"{folder}/{_LIST}"), Data)
    if isinstance(read, Failed):
        return {}
    lines = [line.split() for line in read.data.decode(errors="replace").splitlines() if "[" not in line]
    if with_address:
        places: dict[str, tuple[int, ...]] = {}
        for address, name, *_ in lines:
            if not name.startswith("__ftrace_invalid"):
                places[name] = (*places.get(name, ()), int(address, 16))
        return places
    count = Counter(name for name, *_ in lines if not name.startswith("__ftrace_invalid"))
    return {name: () for name, times in count.items() if times == 1}
