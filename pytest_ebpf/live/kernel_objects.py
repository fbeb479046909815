"""The programs, maps, links and types in a kernel, loaded by any process: ``bpf.loaded``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytest_ebpf.agent.ops import Close, Done, Handle, ObjById
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.value_type import TypeTable
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.live.inspect import query as introspect
from pytest_ebpf.live.inspect.dump import Jited, Xlated
from pytest_ebpf.live.inspect.info import BtfInfo, LinkInfo, MapInfo, ProgInfo
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import MapDef

__all__ = ["Inventory", "KernelBtf", "KernelLink", "KernelMap", "KernelProgram", "opened_map"]

_KERNEL = "vmlinux"  # the name of the kernel's own types


_KEPT = 15  # characters of a name: BPF_OBJ_NAME_LEN less the NUL


@dataclass(frozen=True, slots=True)
class KernelProgram:
    """A program in the kernel. ``info`` is what the kernel said when it was listed; the rest is asked for when used."""

    info: ProgInfo
    _session: Session = field(repr=False, compare=False)

    @property
    def id(self) -> int:
        return self.info.id

    @property
    def name(self) -> str:
        """Its whole name where it was loaded with BTF, else up to 15 characters of it."""
        if len(self.info.name) < _KEPT or not self.info.func_infos:
            return self.info.name
        name = introspect.ask_function_name(self._session, self.id)
        return name if name.startswith(self.info.name) else self.info.name

    @property
    def xlated(self) -> Xlated:
        """Its instructions after verification, with source lines."""
        return introspect.ask_xlated(self._session, self.id)

    @property
    def jited(self) -> Jited:
        """Its machine code."""
        return introspect.ask_jited(self._session, self.id)

    @property
    def run_stats(self) -> introspect.RunStats:
        """How often it ran, as of now."""
        return introspect.ask_run_stats(self._session, self.id)

    @property
    def maps(self) -> list[KernelMap]:
        """The maps it uses."""
        return Inventory(self._session).maps(self.info.map_ids)

    @property
    def btf(self) -> Btf | None:
        """Its types, None when it was loaded without."""
        return introspect.ask_btf(self._session, self.info.btf_id) if self.info.btf_id else None


@dataclass(frozen=True, slots=True)
class KernelMap:
    """A map in the kernel."""

    info: MapInfo
    _session: Session = field(repr=False, compare=False)

    @property
    def id(self) -> int:
        return self.info.id

    @property
    def name(self) -> str:
        """Up to 15 characters of it."""
        return self.info.name

    @property
    def btf(self) -> Btf | None:
        """The types of its keys and values, None when it was made without."""
        return introspect.ask_btf(self._session, self.info.btf_id) if self.info.btf_id else None

    def items(self) -> list[tuple[Any, Any]]:
        """(key, value) of every entry, as of now. ``open()`` gives the map with everything else."""
        with self._opened() as map:
            return map.items()

    def keys(self) -> list[Any]:
        """The key of every entry."""
        return [key for key, _ in self.items()]

    def values(self) -> list[Any]:
        """The value of every entry."""
        return [value for _, value in self.items()]

    def __getitem__(self, key: object) -> Any:
        with self._opened() as map:
            return map[key]

    @contextmanager
    def _opened(self) -> Iterator[Map]:
        map = self.open()
        try:
            yield map
        finally:
            self._session.attempt(Close(map.handle), Done)

    def open(self) -> Map:
        """The map itself, to read and to change, until the end of the test: of another process's objects, too."""
        return opened_map(self._session, self.info, handle=self._session.make(ObjById("map", self.id)))


@dataclass(frozen=True, slots=True)
class KernelLink:
    """An attachment in the kernel."""

    info: LinkInfo
    _session: Session = field(repr=False, compare=False)

    @property
    def id(self) -> int:
        return self.info.id

    @property
    def program(self) -> KernelProgram:
        """The program that is attached."""
        return Inventory(self._session).program(self.info.prog_id)


@dataclass(frozen=True, slots=True)
class KernelBtf:
    """A BTF object in the kernel. ``id``: 0 for that of vmlinux before Linux 5.11."""

    info: BtfInfo
    _session: Session = field(repr=False, compare=False)

    @property
    def id(self) -> int:
        return self.info.id

    @property
    def name(self) -> str:
        """ "vmlinux", the name of a module, or "" for that of a program."""
        return self.info.name

    @property
    def btf(self) -> Btf:
        """The types."""
        kernel = None if self.id else self._session.target.facts().btf
        return kernel or introspect.ask_btf(self._session, self.id)

    @property
    def types(self) -> TypeTable:
        """The types by name."""
        return TypeTable(self.btf, name=self.name or f"BTF object {self.id}")


def opened_map(session: Session, info: MapInfo, *, handle: Handle) -> Map:
    """A map that no object file defined: typed by its BTF, where the kernel was given one."""
    definition = MapDef(
        info.name,
        info.type_number,
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        key_type=info.btf_key_type_id or 0,
        value_type=info.btf_value_type_id or 0,
    )
    btf = introspect.ask_btf(session, info.btf_id) if info.btf_id else None
    return Map(session, definition=definition, handle=handle, btf=btf)


class Inventory:
    """All programs, maps, links and BTF objects of the kernel, of other processes too; by id, or listed.

    A listing is one round trip after that for the ids. ``KernelCallError``: ENOENT for an id that is gone, EINVAL where
    the kernel does not number a kind (links before Linux 5.8).
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def programs(self) -> list[KernelProgram]:
        """Every program, oldest first."""
        infos = introspect.ask_infos(self._session, "prog", ids=introspect.ids_of(self._session, "prog"))
        return [KernelProgram(info, self._session) for info in infos if isinstance(info, ProgInfo)]

    def program(self, id: int) -> KernelProgram:
        """One program."""
        return KernelProgram(introspect.ask_info(self._session, "prog", asked=id), self._session)

    def maps(self, ids: tuple[int, ...] | None = None) -> list[KernelMap]:
        """Every map, or those of ``ids``, oldest first."""
        wanted = introspect.ids_of(self._session, "map") if ids is None else ids
        infos = introspect.ask_infos(self._session, "map", ids=wanted)
        return [KernelMap(info, self._session) for info in infos if isinstance(info, MapInfo)]

    def map(self, id: int) -> KernelMap:
        """One map."""
        return KernelMap(introspect.ask_info(self._session, "map", asked=id), self._session)

    def links(self) -> list[KernelLink]:
        """Every link, oldest first."""
        infos = introspect.ask_infos(self._session, "link", ids=introspect.ids_of(self._session, "link"))
        return [KernelLink(info, self._session) for info in infos if isinstance(info, LinkInfo)]

    def link(self, id: int) -> KernelLink:
        """One link."""
        return KernelLink(introspect.ask_info(self._session, "link", asked=id), self._session)

    def btfs(self) -> list[KernelBtf]:
        """Every BTF object, oldest first: vmlinux, modules, then those of programs. Before Linux 5.11 (5329722057d4)
        the kernel numbers those of programs alone: vmlinux has the id 0 then."""
        infos = introspect.ask_infos(self._session, "btf", ids=introspect.ids_of(self._session, "btf"))
        found = [KernelBtf(info, self._session) for info in infos if isinstance(info, BtfInfo)]
        kernel = self._session.target.facts().btf
        if kernel is not None and not any(one.name == _KERNEL for one in found):
            info = BtfInfo(0, len(kernel.data), _KERNEL, is_kernel=True)
            found.insert(0, KernelBtf(info, self._session))
        return found

    def btf(self, id: int) -> KernelBtf:
        """One BTF object."""
        return KernelBtf(introspect.ask_btf_info(self._session, id), self._session)

    def __repr__(self) -> str:
        return f"<what is loaded on {self._session.target.name}>"
