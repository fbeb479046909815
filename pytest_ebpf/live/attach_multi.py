"""Attaching one program to many functions of the kernel at once: kprobe.multi and kprobe.session."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from fnmatch import translate
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Data, Failed, LinkCreate, PointerAt, ReadFile
from pytest_ebpf.errors import PlanError, UsageError
from pytest_ebpf.live.attach_trace import tracefs_root
from pytest_ebpf.live.links import Link
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.program import Program

__all__ = ["attach_kprobe_multi", "cookies_of"]

_RETURN = 1  # BPF_F_KPROBE_MULTI_RETURN
_MULTI = struct.Struct("=IIQQQ")  # link_create.kprobe_multi: flags, cnt, syms, addrs, cookies
_SYMS, _COOKIES = 8, 24


def attach_kprobe_multi(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """A kprobe.multi link (Linux 5.18), session ones from 6.10. ``function``: a name, a pattern ("vfs_*") or several
    of them; ``cookies``: one number per function that ``function`` lists."""
    wanted = _names(program, given=named["function"])
    functions = [name for each in wanted for name in _expand(session, program, pattern=each)]
    cookies = cookies_of(program, given=named.get("cookies"), count=len(functions))
    flags = _RETURN if program.definition.section.lstrip("?").startswith("kretprobe") else 0
    assert program.definition.spec is not None
    pointers = [PointerAt(_SYMS, texts=tuple(functions))]
    if cookies:
        pointers.append(PointerAt(_COOKIES, cookies))
    op = LinkCreate(
        program.handle,
        program.definition.spec.attach_type,
        extra=_MULTI.pack(flags, len(functions), 0, 0, 0),
        pointers=tuple(pointers),
    )
    where = functions[0] if len(functions) == 1 else f"{len(functions)} functions ({', '.join(wanted)})"
    return Link(session, program=program, where=where, way="kprobe.multi link", handles=(session.make(op),))


def cookies_of(program: Program, *, given: object, count: int) -> bytes:
    """An array of u64, b"" for none. ``UsageError`` unless there are ``count``."""
    if given is None:
        return b""
    if not isinstance(given, Sequence) or isinstance(given, str | bytes) or len(given) != count:
        raise UsageError(f"{program.name}: cookies= is a list of {count} numbers, one per place, not {given!r}")
    try:
        return struct.pack(f"={count}Q", *given)
    except struct.error as error:
        raise UsageError(f"{program.name}: cookies= holds numbers of 64 bits without sign, not {given!r}") from error


def _names(program: Program, *, given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{program.name}: function= is a name, a pattern such as 'vfs_*', or a list, not {given!r}")
    return tuple(names)


def _expand(session: Session, program: Program, *, pattern: str) -> list[str]:
    """The functions that a pattern means, a name itself. Of a name that several functions share, none can be meant."""
    if not set(pattern) & set("*?"):
        return [pattern]
    read = session.attempt(ReadFile(f"{tracefs_root(session)}/available_filter_functions"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{program.name}: this kernel does not say which functions {pattern!r} means",
            feature="kprobe.multi",
            hint="tracefs has no available_filter_functions: it is built without CONFIG_DYNAMIC_FTRACE.",
        )
    names = [line.split(" ")[0] for line in read.data.decode(errors="replace").splitlines() if "[" not in line]
    matches = re.compile(translate(pattern)).match
    found = [name for name in names if matches(name)]
    once = [name for name in dict.fromkeys(found) if found.count(name) == 1] if len(found) < 5000 else found
    if not once:
        raise UsageError(f"{program.name}: no function of this kernel that can be probed matches {pattern!r}")
    return once
