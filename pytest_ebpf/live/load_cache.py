"""What loading an object needs only once per process: parsing it, and planning it for a kernel."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias

from pytest_ebpf.agent.ops import Op
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.frozen import fields, is_dataclass
from pytest_ebpf.kept_loads import KeptLoads
from pytest_ebpf.live.facts_cache import Knowledge
from pytest_ebpf.live.session import calling_line, signed_by
from pytest_ebpf.live.typed.object_types import read_types
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.obj.read import read_bytes
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.load_plan import LoadOptions, Plan, plan_load

__all__ = ["LoadCache", "content_of", "uncollected"]

_Digests: TypeAlias = tuple[tuple[Path, str], ...]
_OPTIONS = attrgetter(*[option.name for option in fields(LoadOptions)])
_SMALL = 256 << 10  # bytes of a file that is kept to be compared
_HEADERS = frozenset((".h", ".c", ".hpp", ".inc"))


class LoadCache:
    """Parsed objects by the hash of their bytes, plans by (object, kernel, options). Both are values.

    ``folder``: where other processes left theirs, and where ``save`` leaves what was made here.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._kept = KeptLoads(folder) if folder is not None else None
        self.knowledge = Knowledge()
        self._linked: dict[tuple[int, ...], tuple[tuple[ObjectFile, ...], ObjectFile]] = {}
        self._last: dict[
            str, tuple[bytes, ObjectFile]
        ] = {}  # to compare bytes takes a tenth of the time of hashing them
        self._objects: dict[tuple[bytes, str], ObjectFile] = {}
        self._types: dict[tuple[bytes, str], tuple[_Digests, Btf | None]] = {}
        self._signed: dict[int, tuple[Plan, str, Sequence[Op]]] = {}
        self._plans: dict[tuple[int, int, object], tuple[ObjectFile, Facts, Plan]] = {}

    def object(self, data: bytes, *, name: str) -> ObjectFile:
        """The object in ``data``, parsed at most once."""
        last = self._last.get(name)
        if last is not None and last[0] == data:
            return last[1]
        key = (hashlib.sha256(data).digest(), name)
        found = self._objects.get(key)
        if found is None:
            with uncollected():
                found = self._objects[key] = self._parsed(data, digest=key[0], name=name)
        if len(data) <= _SMALL:
            self._last[name] = (data, found)
        return found

    def _parsed(self, data: bytes, *, digest: bytes, name: str) -> ObjectFile:
        if self._kept is None:
            return parse_object(data, name=name)
        found = self._kept.find(digest, name=name)
        if found is None:
            found = parse_object(data, name=name)
            self._kept.add(digest, obj=found)
        return found

    def save(self) -> None:
        """Leave what was made here to other processes."""
        if self._kept is not None:
            self._kept.save()

    def linked(self, files: Sequence[tuple[bytes, str]]) -> ObjectFile:
        """The object that several files make together: (bytes, name) of each."""
        return self.joined(tuple(self.object(data, name=name) for data, name in files))

    def joined(self, objects: tuple[ObjectFile, ...]) -> ObjectFile:
        """The object that several make together, linked at most once."""
        if len(objects) == 1:
            return objects[0]
        key = tuple(id(obj) for obj in objects)
        found = self._linked.get(key)
        if found is None:
            from pytest_ebpf.obj.link import link_objects

            with uncollected():
                found = self._linked[key] = (objects, link_objects(objects))
        return found[1]

    def types(self, path: Path) -> Btf | None:
        """The types of a C header (of the compiler that is installed) or of an object, read once for their bytes and
        those of what the header includes."""
        from pytest_ebpf.tools.headers import compile_header

        data = read_bytes(path)
        key = (hashlib.sha256(data).digest(), str(path))
        found = self._types.get(key)
        if found is None or found[0] != _digests(included for included, _ in found[0]):
            code, files = compile_header(path) if path.suffix in _HEADERS else (data, ())
            found = self._types[key] = (_digests(files), read_types(code, name=str(path)))
        return found[1]

    def plan(self, obj: ObjectFile, facts: Facts, *, options: LoadOptions) -> Plan:
        """The plan of an object for a kernel, made at most once. (The entry keeps object and facts alive, so that
        their identities stay theirs.)"""
        key = (id(obj), id(facts), tuple([content_of(value) for value in _OPTIONS(options)]))
        found = self._plans.get(key)
        if found is None:
            with uncollected():
                found = self._plans[key] = (obj, facts, self._planned(obj, facts, options=options, content=key[2]))
        return found[2]

    def signed_ops(self, plan: Plan) -> Sequence[Op]:
        """The operations of a plan, signed with the line of test code that is running. A fixture loads from the same
        line for each test."""
        site = calling_line()
        found = self._signed.get(id(plan))
        if found is None or found[1] != site:
            found = self._signed[id(plan)] = (plan, site, signed_by(plan.ops, site))
        return found[2]

    def _planned(self, obj: ObjectFile, facts: Facts, *, options: LoadOptions, content: Hashable) -> Plan:
        key = self._kept.key_of(facts, content) if self._kept is not None else b""
        if self._kept is None or not key:
            return plan_load(obj, facts, options=options)
        found = self._kept.plan(obj, key)
        if found is None:
            found = plan_load(obj, facts, options=options)
            self._kept.add_plan(key, found, obj=obj)
        return found


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cyclic garbage collector: it looks again and again through the thousands of tuples that an object is
    made of, none of which is garbage. That is a quarter of the time of a large object."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _digests(files: Iterable[Path]) -> _Digests:
    """Each file with the hash of what is in it now, "" where it is gone."""
    return tuple((file, hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "") for file in files)


def content_of(value: object) -> object:
    """What ``value`` holds now, hashable, equal for equal contents alone: ``1``, ``True`` and ``1.0`` are three, and a
    buffer that is written to is another. Of a type that nothing is known of, no two values are equal."""
    kind = type(value)
    if kind in (str, int, bytes, bool) or value is None:
        return kind, value
    if isinstance(value, tuple):
        return kind, tuple(map(content_of, value))
    if kind is dict and not value:
        return kind, ()
    if isinstance(value, bytearray | memoryview):
        return bytes, bytes(value)
    if isinstance(value, float):
        return kind, repr(value)  # -0.0 is not 0.0, and each NaN is one
    if isinstance(value, Mapping):
        return kind, tuple([(content_of(key), content_of(item)) for key, item in value.items()])
    if is_dataclass(value):
        return kind, tuple([content_of(getattr(value, one.name)) for one in fields(value)])
    if isinstance(value, int):  # a member of an enum
        return kind, int(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return kind, tuple(map(content_of, value))
    return object()
