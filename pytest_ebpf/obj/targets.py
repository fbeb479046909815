"""What a relocation points at: a map, data, a function, or something that the kernel has."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.elf import SHF_EXECINSTR, STT_FUNC, Elf, Section, Symbol

__all__ = ["JUMP_TABLES", "Span", "Target", "Targets", "find_functions"]


JUMP_TABLES = ".jumptables"  # clang 22 and later: where each case of a switch begins


class Span(NamedTuple):
    """Bytes ``start`` to ``end`` of a section belong to ``name``."""

    start: int
    end: int
    name: str


class Target(NamedTuple):
    """``kind``: "map", "data", "code", "extern", "jump" (a jump table), or "" for what no loader can make sense of."""

    kind: str
    symbol: str
    section: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Targets:
    """``maps``: section index -> its maps in order. ``data``: indices of data sections. ``functions``: (section index,
    first byte) -> name."""

    elf: Elf
    maps: dict[int, tuple[Span, ...]]
    data: frozenset[int]
    functions: dict[tuple[int, int], str]

    def find(self, symbol: Symbol, addend: int) -> Target:
        """What is ``addend`` bytes after ``symbol``."""
        home = self.elf.home(symbol)
        if home is None:
            return Target("extern" if symbol.section == 0 and symbol.name else "", symbol.name)
        offset = symbol.value + addend
        if not 0 <= offset <= home.size:
            return Target("", symbol.name or home.name, home.name, offset)
        if home.name == JUMP_TABLES:
            return Target("jump", symbol.name, home.name, offset)
        if home.index in self.maps:
            return self._map(home, offset)
        if home.flags & SHF_EXECINSTR:
            return Target("code", self.functions.get((home.index, offset), ""), home.name, offset)
        kind = "data" if home.index in self.data else ""
        return Target(kind, symbol.name or home.name, home.name, offset)

    def _map(self, home: Section, offset: int) -> Target:
        spans = self.maps[home.index]
        at = bisect_right(spans, offset, key=lambda span: span.start) - 1
        if at >= 0 and offset < spans[at].end:
            return Target("map", spans[at].name, home.name, offset - spans[at].start)
        return Target("", home.name, home.name, offset)


def find_functions(elf: Elf) -> dict[tuple[int, int], str]:
    """(section index, first byte) -> name, the global name where a function has several."""
    functions = [symbol for symbol in elf.symbols if symbol.type == STT_FUNC and symbol.name]
    functions.sort(key=lambda symbol: symbol.bind)
    return {(symbol.section, symbol.value): symbol.name for symbol in functions}
