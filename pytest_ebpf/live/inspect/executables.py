"""Programs and libraries on the machine under test: their paths and contents."""

from __future__ import annotations

from typing import NamedTuple

from pytest_ebpf.agent.ops import Data, Failed, ListDir, ReadFile, Try
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.inspect.suggest import nearest_paths
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.executables import find_libraries, is_native

__all__ = ["Mapping", "check_pid", "find_binary", "mapped_at", "mappings_of", "read_binary"]

_ELF_HEAD = 20
_LIBRARIES = ("/usr/lib/{}-linux-gnu", "/usr/lib64", "/usr/lib")
_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def find_binary(session: Session, given: object, *, who: str, pid: int | None = None) -> str:
    """The path of a program or library on the machine under test. A path is returned as it is; a name is looked up
    among
    the files that process ``pid`` has mapped (also in a container), then in ld.so.cache (where there is none, in the
    folders of libraries) and the usual folders."""
    if not isinstance(given, str) or not given:
        raise BpfUsageError(f"{who}: binary= expects a path, or the name of a program or library, got {given!r}")
    if "/" in given:
        return given
    if pid and (path := _of_process(session, pid, name=given)):
        return path
    cache = session.attempt(ReadFile("/etc/ld.so.cache"), Data)
    if isinstance(cache, Data) and (path := _native(session, find_libraries(cache.data, given))):
        return path
    if not isinstance(cache, Data) and (path := _native(session, _listed(session, given))):
        return path
    for folder in _FOLDERS:
        if isinstance(session.attempt(ReadFile(f"{folder}/{given}", limit=4), Data), Data):
            return f"{folder}/{given}"
    raise BpfUsageError(f"{who}: no library or program {given!r} was found", hint="Give its path.")


def _listed(session: Session, name: str) -> list[str]:
    """The libraries of a name ("libc.so.6", "libc") in the folders where a machine without ld.so.cache has them, such
    as a guest of another architecture."""
    found = []
    for folder in _LIBRARIES:
        place = folder.format(session.target.described.machine.replace("ppc64", "powerpc64"))
        listed = session.attempt(ListDir(place), Data)
        names = sorted(listed.data.decode(errors="replace").split("\0")) if isinstance(listed, Data) else ()
        found += [f"{place}/{one}" for one in names if one == name or one.startswith(f"{name}.so")]
    return found


def _native(session: Session, paths: list[str]) -> str:
    """The first that is of the word size and machine of the programs there, else the first, "" for none: a machine may
    have the same library for i386 or x32 too."""
    heads = session.run([Try(ReadFile(path, limit=_ELF_HEAD)) for path in paths]) if paths else ()
    machine = session.target.described.machine
    for path, head in zip(paths, heads, strict=True):
        if isinstance(head, Data) and is_native(head.data, machine):
            return path
    return paths[0] if paths else ""


def read_binary(session: Session, path: str, *, who: str) -> bytes:
    """The contents of a file. ``BpfUsageError``: it cannot be read; the hint has similar names."""
    read = session.attempt(ReadFile(path), Data)
    if isinstance(read, Failed):
        raise BpfUsageError(
            f"{who}: binary {path} cannot be read: {read.text}",
            hint=nearest_paths(session, path) or "The path is that of the machine under test, which may be a guest.",
        )
    return read.data


def check_pid(session: Session, given: object, *, who: str) -> int | None:
    """The pid of a running process, or None."""
    if given is None:
        return None
    if not isinstance(given, int) or isinstance(given, bool) or given <= 0:
        raise BpfUsageError(f"{who}: pid= must be the pid of a process, got {given!r}")
    if isinstance(session.attempt(ReadFile(f"/proc/{given}/comm"), Data), Failed):
        raise BpfUsageError(
            f"{who}: there is no process {given} on {session.target.name}",
            hint="pid= is a pid on the machine under test, which may be a guest, and the process must be running.",
        )
    return given


def mapped_at(session: Session, pid: int, *, path: str) -> int | None:
    """The address of byte 0 of a file in a process that has mapped it to execute, None if it has not."""
    wanted = path.removeprefix(f"/proc/{pid}/root")
    for mapping in mappings_of(session, pid):
        if "x" in mapping.rights and mapping.path == wanted:
            return mapping.start - mapping.offset
    return None


def _of_process(session: Session, pid: int, *, name: str) -> str:
    for path in (mapping.path for mapping in mappings_of(session, pid)):
        file = path.rpartition("/")[2]
        if file == name or file.startswith((f"{name}.so", f"{name}.", f"{name}-")):
            return f"/proc/{pid}/root{path}"
    return ""


class Mapping(NamedTuple):
    """A part of a file that a process has mapped at ``start`` to ``end``, from byte ``offset`` on."""

    start: int
    end: int
    offset: int
    rights: str
    path: str


def mappings_of(session: Session, pid: int) -> list[Mapping]:
    """The files that a process has mapped; empty for a process that does not exist."""
    read = session.attempt(ReadFile(f"/proc/{pid}/maps"), Data)
    found = []
    for line in read.data.decode(errors="replace").splitlines() if isinstance(read, Data) else ():
        where, rights, offset, _, _, *path = line.split(maxsplit=5)
        if path and path[0].startswith("/"):
            start, _, end = where.partition("-")
            found.append(Mapping(int(start, 16), int(end, 16), int(offset, 16), rights, path[0]))
    return found
