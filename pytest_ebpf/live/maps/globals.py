"""Global variables of a loaded object, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pytest_ebpf.agent.ops import Data, Done, Failed, Handle, MapGet, MapSet, MemRead, MemWrite, Op, Result, Value
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.typed.shape import Shape
from pytest_ebpf.obj.object import DataSection, Variable
from pytest_ebpf.obj.static_names import meanings
from pytest_ebpf.suggest import close_names
from pytest_ebpf.uapi.flags import MapCreateFlag

__all__ = ["GlobalSection", "Globals"]

_KEY = bytes(4)
R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True)
class GlobalSection:
    """A data section and the map (with its flags) that holds it: all of one value, of each CPU where it is ``per_cpu``,
    or a part of an arena, ``start`` bytes behind its beginning."""

    section: DataSection
    handle: Handle
    flags: int = 0
    start: int = 0

    @property
    def per_cpu(self) -> bool:
        """Whether each CPU has variables of its own."""
        return self.section.kind == "percpu"

    @property
    def is_memory(self) -> bool:
        """Whether the variables are in memory that user space shares."""
        return self.section.kind == "arena" or bool(self.flags & MapCreateFlag.MMAPABLE)


class Globals:
    """``obj.globals["name"]`` reads a variable and ``obj.globals["name"] = value`` sets it, typed by BTF.

    Setting touches nothing but the variable. (A section without a variable that other files can see, all ``static``, or
    with a lock, a timer or another field of the kernel's own is no shared memory, and is written back as a whole, but
    for such fields: a program that changes another variable of it in that instant loses the change.) Constants
    (``.rodata``) can only be set when the object is loaded: ``bpf.load(path, globals={...})``. Variables in
    ``SEC(".percpu")`` are lists with a value of each CPU; one value sets all.
    """

    def __init__(self, session: Session, *, sections: tuple[GlobalSection, ...], btf: Btf | None) -> None:
        self._session = session
        self._btf = btf
        self._found: Mapping[str, tuple[GlobalSection, Variable]] = {
            variable.name: (section, variable) for section in sections for variable in section.section.variables
        }
        self._unshared: set[Handle] = set()  # made to be shared, and the kernel maps them into no user space

    def __getitem__(self, name: str) -> Any:
        section, variable = self._find(name)
        shape, data = self._shape(variable), self._read(section)
        if section.per_cpu:
            return [shape.decode(data[at + variable.offset :]) for at in self._starts(section, data)]
        return shape.decode(data[variable.offset :])

    def __setitem__(self, name: str, value: object) -> None:
        section, variable = self._find(name)
        if section.section.kind == "rodata":
            raise BpfUsageError(
                f"global {name!r} is a constant in {section.section.name}: the kernel has frozen it",
                hint=f"Set it when loading: bpf.load(path, globals={{{name!r}: {value!r}}}).",
            )
        if section.is_memory:
            raw = self._shape(variable).encode(value)
            if self._shared(section, MemWrite(section.handle, section.start + variable.offset, raw), kind=Done):
                return
        data = bytearray(self._read(section))
        starts = self._starts(section, data) if section.per_cpu else range(1)
        values = value if section.per_cpu and isinstance(value, list) else [value] * len(starts)
        if len(values) != len(starts):
            raise ValueError(f"global {name!r} has a value of each CPU: {len(starts)}, got {len(values)}")
        for at, one in zip(starts, values, strict=True):
            data[at + variable.offset : at + variable.offset + variable.size] = self._shape(variable).encode(one)
        self._session.one(MapSet(section.handle, _KEY, bytes(data)), Done)

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def settable(self) -> dict[str, Shape]:
        """What each variable is that can be set while the object is loaded."""
        return {
            name: self._shape(one) for name, (section, one) in self._found.items() if section.section.kind != "rodata"
        }

    def keys(self) -> list[str]:
        """The names."""
        return list(self._found)

    def _find(self, name: str) -> tuple[GlobalSection, Variable]:
        found = self._found.get(name)
        if found is None:
            if which := meanings(name, self._found):
                raise KeyError(which)
            close = close_names(name, self._found, most=1)
            near = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(self._found) or 'none'}"
            raise KeyError(f"the object has no global {name!r}; {near}")
        return found

    def _starts(self, section: GlobalSection, data: bytes | bytearray) -> range:
        """Where the values of the CPUs begin: each is padded to 8 bytes."""
        return range(0, len(data), -(-section.section.size // 8) * 8)

    def _read(self, section: GlobalSection) -> bytes:
        if section.is_memory:
            whole = MemRead(section.handle, section.start, section.section.size)
            if answer := self._shared(section, whole, kind=Data):
                return answer.data
        data = self._session.one(MapGet(section.handle, _KEY), Value).data
        assert data is not None  # an array always has its element
        return data

    def _shared(self, section: GlobalSection, op: Op, *, kind: type[R]) -> R | None:
        """What shared memory answers; None for values that the kernel does not share, which are elements then."""
        if section.handle in self._unshared:
            return None
        answer = self._session.attempt(op, kind)
        if not isinstance(answer, Failed):
            return answer
        if answer.errno or section.section.kind == "arena":
            return self._session.checked(op, answer, kind=kind)
        self._unshared.add(section.handle)
        return None

    def _shape(self, variable: Variable) -> Shape:
        order = self._session.target.described.byteorder
        return Shape(f"global {variable.name!r}", variable.size, order, self._btf, variable.type_id)

    def __repr__(self) -> str:
        return f"<Globals {', '.join(self._found)}>"
