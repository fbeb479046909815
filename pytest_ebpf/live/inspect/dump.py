"""Code of a loaded program: the instructions that the verifier left, and the machine code made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from struct import Struct

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.obj.disasm import InsnNames, WideLoad
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.obj.listing import Listed, SourceLine, list_insns, render_listing
from pytest_ebpf.uapi.insn import PseudoCall, PseudoLoad

__all__ = [
    "Jited",
    "JitedFunction",
    "JitedLine",
    "Symbols",
    "Xlated",
    "list_xlated",
    "read_source_lines",
    "xlated_names",
]

_CALL_BASE = "__bpf_call_base"  # helpers are called relative to it
_LINE_INFO = 16  # bytes of struct bpf_line_info that are known


class Symbols:
    """Names in the kernel by address: the text of /proc/kallsyms, which shows 0 to those who may not see addresses."""

    def __init__(self, text: str) -> None:
        self._text = f"\n{text}"
        found = re.search(rf"\n([0-9a-f]+) \S {_CALL_BASE}\n", self._text) if _CALL_BASE in text else None
        self.base = int(found[1], 16) if found else 0

    def at(self, address: int) -> str:
        """The symbol that begins at an address, "" if none does."""
        start = self._text.find(f"\n{address:016x} ") if address else -1
        if start < 0:
            return ""
        return self._text[start + 1 : self._text.find("\n", start + 1)].split()[2]


@dataclass(frozen=True, slots=True)
class Xlated:
    """Instructions as the kernel holds them after verification: dead code is removed, context accesses, map references
    and some helper calls are rewritten. ``lines``: one per instruction, with source lines; ``str()`` the whole text."""

    insns: tuple[Insn, ...] = field(repr=False)
    lines: tuple[Listed, ...] = field(repr=False)

    def __str__(self) -> str:
        return render_listing(self.lines)

    def __len__(self) -> int:
        """Slots."""
        return len(self.insns)

    def __iter__(self) -> Iterator[Listed]:
        return iter(self.lines)

    def __contains__(self, text: object) -> bool:
        """Whether an instruction's text holds ``text``: ``"call bpf_redirect" in prog.xlated``."""
        return isinstance(text, str) and any(text in line.text for line in self.lines)


@dataclass(frozen=True, slots=True)
class JitedLine:
    """The machine code of a source line begins ``offset`` bytes into its function."""

    offset: int
    source: SourceLine


@dataclass(frozen=True, slots=True)
class JitedFunction:
    """Machine code of one function. ``name``: its symbol (``bpf_prog_<tag>_<name>``), ``address``: where it lies; ""
    and 0 where the kernel does not say."""

    name: str
    address: int
    code: bytes = field(repr=False)
    lines: tuple[JitedLine, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Jited:
    """Machine code of a program: ``functions``, the main one first; none when it is interpreted."""

    functions: tuple[JitedFunction, ...]

    @property
    def code(self) -> bytes:
        """All of it."""
        return b"".join(function.code for function in self.functions)


def read_source_lines(data: bytes, *, record_size: int, btf: Btf | None) -> tuple[SourceLine, ...]:
    """The kernel's line records (struct bpf_line_info), in the byte order of ``btf``, which has the texts."""
    if btf is None or record_size < _LINE_INFO:
        return ()
    record = Struct(f"{'>' if btf.byteorder == 'big' else '<'}4I{record_size - _LINE_INFO}x")
    return tuple(
        SourceLine(insn, btf.string(file), where >> 10, btf.string(text).strip())
        for insn, file, text, where in record.iter_unpack(data[: len(data) // record_size * record_size])
    )


def xlated_names(
    *, helpers: tuple[str, ...], symbols: Symbols, maps: Mapping[int, str], ksyms: tuple[int, ...]
) -> InsnNames:
    """Names for what a dump refers to by id and address. ``maps``: names by id; ``ksyms``: addresses of the functions
    of the program, by number."""

    def load(wide: WideLoad) -> str:
        insn = wide.insn
        name = maps.get(insn.imm, "") or f"id:{insn.imm}"
        if insn.src == PseudoLoad.MAP_FD:
            return f"map[{name}]"
        if insn.src == PseudoLoad.MAP_VALUE:
            return f"map[{name}][0]+{wide.value >> 32}"
        if insn.src == PseudoLoad.MAP_IDX_VALUE:
            return f"map[idx:{insn.imm}]+{wide.value >> 32}"
        return f"subprog[{insn.imm:+d}]" if insn.src == PseudoLoad.FUNC else ""

    def call(slot: int, insn: Insn) -> str:
        if insn.src == PseudoCall.CALL:
            # a compiled call keeps the distance in off, and the number of the callee in imm
            if not 0 <= insn.imm < len(ksyms):
                return ""
            return f"{insn.off:+d}#{symbols.at(ksyms[insn.imm]) or hex(ksyms[insn.imm])}"
        if not symbols.base or not insn.imm:
            return ""
        address = symbols.base + insn.imm
        return symbols.at(address) or hex(address)

    return InsnNames(helpers, call, load)


def list_xlated(insns: tuple[Insn, ...], *, names: InsnNames, lines: tuple[SourceLine, ...]) -> Xlated:
    """The listing of a dump."""
    return Xlated(insns, tuple(list_insns(insns, names=names, lines=lines)))
