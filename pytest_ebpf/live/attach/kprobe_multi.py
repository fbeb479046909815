"""One program on many kernel functions at once: kprobe.multi, kretprobe.multi and kprobe.session."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from errno import EINVAL, ESRCH
from fnmatch import translate

from pytest_ebpf.agent.ops import Data, Failed, Handle, LinkCreate, PointerAt, ReadFile
from pytest_ebpf.errors import BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.attach.arguments import FunctionArg
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.attach.tracepoint import tracefs_root
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.switches import FTRACE, have_on
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.uapi.links import KprobeMultiFlag

__all__ = ["attach_kprobe_multi", "function_names", "is_pattern", "matching", "pack_cookies", "traceable_functions"]

_MULTI = "IIQQQ"  # link_create.kprobe_multi: flags, cnt, syms, addrs, cookies
_SYMS, _ADDRS, _COOKIES = 8, 16, 24
_LIST = "available_filter_functions"


def attach_kprobe_multi(
    session: Session, program: AttachableProgram, *, function: FunctionArg, cookies: Sequence[int] | None = None
) -> Link:
    """A kprobe.multi link (Linux 5.18), kprobe.session from 6.10. ``function``: a name, an address, a pattern ("vfs_*")
    or a list of them; ``cookies``: one number per function that ``function`` names. Of a pattern, a kernel before 6.5
    leaves out functions whose name is not unique: it does not report their addresses."""
    wanted = function_names(program, function)
    places = _places(session, program, wanted=wanted)
    order = session.target.described.order
    packed = pack_cookies(program, cookies, count=len(places), order=order)
    flags = KprobeMultiFlag.RETURN if program.definition.section.lstrip("?").startswith("kretprobe") else 0
    assert program.definition.spec is not None
    addresses = [place for place in places if isinstance(place, int)]
    if addresses:
        pointers = [PointerAt(_ADDRS, struct.pack(f"{order}{len(addresses)}Q", *addresses))]
    else:
        pointers = [PointerAt(_SYMS, texts=tuple(map(str, places)))]
    if packed:
        pointers.append(PointerAt(_COOKIES, packed))
    op = LinkCreate(
        program.handle,
        program.definition.spec.attach_type,
        extra=struct.pack(order + _MULTI, flags, len(places), 0, 0, 0),
        pointers=tuple(pointers),
    )
    have_on(session, FTRACE, effect="no kprobe.multi program is called")
    handle = _make(session, op, places=places)
    shown = ", ".join(f"{each:#x}" if isinstance(each, int) else each for each in wanted)
    where = shown if len(places) == 1 else f"{len(places)} functions ({shown})"
    return Link(session, program=program, target=where, mechanism=Mechanism.KPROBE_MULTI, handles=(handle,))


def _make(session: Session, op: LinkCreate, *, places: Sequence[str | int]) -> Handle:
    """kernel/trace/ftrace.c: ftrace_lookup_symbols() reports only that some name is unknown (ESRCH)."""
    try:
        return session.make(op)
    except KernelCallError as error:
        if error.errno in (ESRCH, EINVAL) and not isinstance(places[0], int):
            known = traceable_functions(session)
            for name in places:
                if known and name not in known:
                    otherwise = "it may be inlined, or not traceable"
                    near = did_you_mean(str(name), known, cutoff=0.75, otherwise=otherwise)
                    error.hint = f"This kernel has no function {name} that can be traced; {near}"
        raise


def pack_cookies(program: AttachableProgram, cookies: Sequence[int] | None, *, count: int, order: str = "<") -> bytes:
    """An array of u64 (``order``: ``Described.order``), b"" for None. ``BpfUsageError`` unless there are ``count``."""
    if cookies is None:
        return b""
    if not isinstance(cookies, Sequence) or isinstance(cookies, str | bytes) or len(cookies) != count:
        raise BpfUsageError(
            f"{program.name}: cookies= expects a list of {count} integers, one per place, got {cookies!r}"
        )
    try:
        return struct.pack(f"{order}{count}Q", *cookies)
    except struct.error as error:
        raise BpfUsageError(f"{program.name}: cookies= expects unsigned 64-bit integers, got {cookies!r}") from error


def function_names(program: AttachableProgram, function: FunctionArg) -> tuple[str | int, ...]:
    """What ``function=`` names: names, patterns and addresses."""
    names = (function,) if isinstance(function, str | int) else function
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str | int) for name in names):
        raise BpfUsageError(
            f"{program.name}: function= expects a name, a pattern such as 'vfs_*', or a list of them, got {function!r}"
        )
    return tuple(names)


def _places(session: Session, program: AttachableProgram, *, wanted: Sequence[str | int]) -> list[str | int]:
    """Names only, or addresses only: the kernel takes one or the other. Each function once."""
    if not any(isinstance(each, int) or is_pattern(each) for each in wanted):
        return list(dict.fromkeys(wanted))
    known = traceable_functions(session)
    if not known:
        raise PlanError(
            f"{program.name}: this kernel does not list the functions that {wanted[0]!r} could match",
            feature="kprobe.multi",
            hint="tracefs has no available_filter_functions: it is built without CONFIG_DYNAMIC_FTRACE.",
        )
    found: list[str | int] = []
    for each in wanted:
        found += [each] if isinstance(each, int) else matching(program, each, known=known)
    by_address = all(len(known.get(each, ())) > 0 for each in found if isinstance(each, str))
    if not by_address and any(isinstance(each, int) for each in found):
        raise BpfUsageError(
            f"{program.name}: function= mixes addresses with names whose addresses this kernel does not export"
        )
    if not by_address:
        return list(dict.fromkeys(found))
    return list(dict.fromkeys(place for each in found for place in (known[each] if isinstance(each, str) else [each])))


def is_pattern(name: object) -> bool:
    """Whether a name has wildcards."""
    return isinstance(name, str) and bool(set(name) & set("*?["))


def matching(program: AttachableProgram, name: str, *, known: Mapping[str, Sequence[int]]) -> list[str]:
    """The functions that a pattern matches; a plain name as it is. ``BpfUsageError``: it matches none."""
    if not is_pattern(name):
        return [name]
    matches = re.compile(translate(name)).match
    found = [each for each in known if matches(each)]
    if not found:
        otherwise = f"{_LIST} in tracefs lists its functions."
        raise BpfUsageError(
            f"{program.name}: no function of this kernel that can be probed matches {name!r}",
            hint=did_you_mean(name.strip("*?"), known, cutoff=0.7, otherwise=otherwise),
        )
    return found


def traceable_functions(session: Session) -> dict[str, tuple[int, ...]]:
    """Function -> its addresses; () before Linux 6.5 (83f74441bcb1), where the list has no addresses and a name that
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
