"""Parsed objects and their plans in files: what one process made of an object, the next ones read.

Reading them takes a tenth of the time of making them. A file is named by the bytes and the name of its object and by
the code of this package; a plan in it is found again for the same facts of the kernel and the same options alone. So a
rebuilt object, another kernel or module, a changed option and another version of this package all find nothing.

The format is pickle, the only one that C code turns into values. Nothing but our own values comes out of it, whatever
the file holds, and files of other users are not read. A file that cannot be read or written costs time and nothing
else.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.files import replace_file
from pytest_ebpf.frozen import fields, is_dataclass
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.planned import Plan

__all__ = ["KEPT", "KeptLoads"]

KEPT = 512  # files; the one that was written first is removed
_PLANS = 8  # of one object: kernels of a matrix, and options
_LARGEST = 8 << 20  # bytes of a file
_ROOMS = ("agent.ops", "btf", "obj", "plan", "uapi")  # what values in a file may be of
_PREFIXES = tuple(f"{room}." for room in _ROOMS)
_FOREIGN = frozenset((("builtins", "frozenset"), ("builtins", "bytearray"), ("builtins", "set")))
_PACKAGE = __name__.rpartition(".")[0]
# What differs between two boots of one kernel, and no plan depends on: addresses are in ``Facts.kallsyms``.
_NOT_PLANNED_WITH = frozenset(("boot", "cmdline", "python"))


class _Kept:
    """One object with its plans by key, the last used last. ``changed``: there is more than in the file."""

    __slots__ = ("changed", "mark", "obj", "plans")

    def __init__(self, mark: str, obj: ObjectFile, *, plans: dict[bytes, Plan], changed: bool) -> None:
        self.mark = mark
        self.obj = obj
        self.plans = plans
        self.changed = changed


class KeptLoads:
    """Objects and plans in the files of a folder. ``save`` writes what was made since."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.fspath(folder)
        self._kept: dict[int, _Kept] = {}  # by the identity of the object, which the entry keeps alive
        self._facts: dict[int, tuple[Facts, str]] = {}

    def find(self, digest: bytes, *, name: str) -> ObjectFile | None:
        """The object of these bytes, from its file. ``digest``: their SHA-256."""
        mark = _mark(digest, name)
        with suppress(OSError, _pickle().UnpicklingError, *_DAMAGED):
            found, obj, plans = _read(f"{self._folder}/{mark}")
            if found == mark and isinstance(obj, ObjectFile):
                self._kept[id(obj)] = _Kept(mark, obj, plans=plans, changed=False)
                return obj
        return None

    def add(self, digest: bytes, *, obj: ObjectFile) -> None:
        """An object that was parsed."""
        self._kept[id(obj)] = _Kept(_mark(digest, obj.name), obj, plans={}, changed=True)

    def plan(self, obj: ObjectFile, key: bytes) -> Plan | None:
        """A plan of an object, with a key of ``key_of``."""
        kept = self._kept.get(id(obj))
        plan = kept.plans.pop(key, None) if kept is not None else None
        if kept is not None and plan is not None:
            kept.plans[key] = plan  # last
        return plan

    def add_plan(self, key: bytes, plan: Plan, *, obj: ObjectFile) -> None:
        """A plan of an object that was made. One that says what cannot be done is made anew each time."""
        kept = self._kept.get(id(obj))
        if kept is not None and not plan.problems and not plan.lost:
            kept.plans[key] = plan
            kept.changed = True

    def key_of(self, facts: Facts, options: object) -> bytes:
        """What a plan was made for. ``options``: their content (``content_of``). b"" for what no other process can
        ask for."""
        text = repr(options)
        if " object at 0x" in text or f".{Handle.__name__}'" in text:
            return b""
        known = self._facts.get(id(facts))
        if known is None:
            known = self._facts[id(facts)] = (facts, _told(facts))
        return hashlib.sha256(f"{known[1]}\n{text}".encode("utf-8", "surrogatepass")).digest() if known[1] else b""

    def save(self) -> None:
        """Write what is new: at the end of a run, as no test has to wait for it."""
        written = False
        for kept in self._kept.values():
            if kept.changed and kept.mark:
                kept.changed = False
                plans = dict(list(kept.plans.items())[-_PLANS:])
                with suppress(OSError, _pickle().PicklingError, *_DAMAGED):
                    body = _packed((kept.mark, kept.obj, plans))
                    if len(body) <= _LARGEST:
                        replace_file(Path(self._folder, kept.mark), crc32(body).to_bytes(4, "little") + body)
                        written = True
        if written:
            with suppress(OSError):
                _remove_oldest(Path(self._folder))


# What reading a damaged pickle, or packing a value that cannot be packed, raises besides its own errors.
_DAMAGED = (AttributeError, EOFError, ImportError, IndexError, KeyError, TypeError, ValueError, RecursionError)


def _remove_oldest(folder: Path) -> None:
    files = [(entry.stat().st_mtime, entry.path) for entry in os.scandir(folder) if not entry.name.startswith(".")]
    for _, path in sorted(files, reverse=True)[KEPT:]:
        with suppress(OSError):  # another process removed it
            Path(path).unlink()


def _mark(digest: bytes, name: str) -> str:
    """The name of a file, "" where the code of this package is in no files."""
    code = _code()
    return hashlib.sha256(digest + f"{code}\n{name}".encode("utf-8", "surrogatepass")).hexdigest()[:40] if code else ""


@cache
def _code() -> str:
    """The code of this package, by size and time of its files: what Python itself knows its compiled files by."""
    root = Path(__file__).parent
    rows = [str(root), sys.version]
    with suppress(OSError):
        for room in ("", *_ROOMS):
            with os.scandir(root.joinpath(*room.split("."))) as entries:
                states = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".py")]
            rows += sorted(f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in states)
        return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogatepass")).hexdigest()
    return ""


def _told(facts: Facts) -> str:
    """All that a plan may depend on, in words; "" for facts that are of an unknown kind."""
    with suppress(LookupError):
        return "\n".join(f"{one.name}={_words(getattr(facts, one.name))}" for one in fields(Facts))
    return ""


def _words(value: object) -> str:
    if value is None or isinstance(value, int | bytes):
        return repr(value)
    if isinstance(value, str):
        return repr(value) if len(value) < 1000 else hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    if isinstance(value, Btf):
        return _btf_words(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name!r}: {_words(value[name])}' for name in sorted(value))}}}"
    if isinstance(value, frozenset):
        return f"{{{', '.join(map(repr, sorted(value)))}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_words, value))})"
    if is_dataclass(value):
        told = [one.name for one in fields(value) if one.name not in _NOT_PLANNED_WITH]
        return f"({', '.join(f'{name}={_words(getattr(value, name))}' for name in told)})"
    raise LookupError(type(value))


def _btf_words(btf: Btf) -> str:
    """The hash of the types, and of those that they continue."""
    found: str | None = btf.memo.get("sha256")
    if found is None:
        found = btf.memo["sha256"] = hashlib.sha256(btf.data).hexdigest()
    return found if btf.base is None else f"{found} on {_btf_words(btf.base)}"


@cache
def _pickle() -> Any:
    """The C part of pickle: to import the module itself takes as long as ten loads."""
    try:
        import _pickle
    except ImportError:
        import pickle as _pickle  # type: ignore[no-redef]
    return _pickle


@cache
def _reader() -> Any:
    class Reader(_pickle().Unpickler):  # type: ignore[misc]
        """Makes values of our own classes alone."""

        def find_class(self, module: str, name: str) -> Any:
            return _class_of(module, name)

    return Reader


@cache
def _class_of(module: str, name: str) -> Any:
    """A class that a file names. ``UnpicklingError`` for what it may not name: a function would be called."""
    room = module.removeprefix(f"{_PACKAGE}.")
    if (module, name) not in _FOREIGN and not (room != module and f"{room}.".startswith(_PREFIXES)):
        raise _pickle().UnpicklingError(f"{module}.{name}")
    found = getattr(sys.modules.get(module) or __import__(module, fromlist=[name]), name)
    if not isinstance(found, type) and found is not parse_btf:
        raise _pickle().UnpicklingError(f"{module}.{name} is no class")
    return found


@cache
def _writer() -> Any:
    class Writer(_pickle().Pickler):  # type: ignore[misc]
        """Writes values as calls of their classes, and types as their bytes."""

        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, type):
                return NotImplemented
            if type(value) is Btf and value.base is None:
                return parse_btf, (value.data,)
            if not is_dataclass(value):
                return NotImplemented
            if type(value) is Handle:
                raise _pickle().PicklingError("a handle is of this process")
            return type(value), tuple([getattr(value, one.name) for one in fields(value)])

    return Writer


def _packed(value: object) -> bytes:
    out = BytesIO()
    _writer()(out, 5).dump(value)
    return out.getvalue()


def _read(path: str) -> tuple[str, Any, dict[bytes, Plan]]:
    """``OSError`` where there is no such file of this user, errors of ``pickle`` for a damaged one."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        state = os.fstat(file)
        data = os.read(file, min(state.st_size, _LARGEST + 4)) if state.st_uid == os.geteuid() else b""
    finally:
        os.close(file)
    body = memoryview(data)[4:]
    if not data or crc32(body) != int.from_bytes(data[:4], "little"):
        raise EOFError(path)
    found: tuple[str, Any, dict[bytes, Plan]] = _reader()(BytesIO(body)).load()
    return found
