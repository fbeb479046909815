"""USDT probes: the notes that <sys/sdt.h> leaves in a program or library, and where their arguments are.

The notes are SystemTap's (owner "stapsdt", type 3). What an argument looks like depends on the processor; the notations
are those that libbpf reads (src/usdt.c, v1.7).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.executables import place_in_file, readable_elf

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

__all__ = ["UsdtArg", "UsdtProbe", "parse_usdt_args", "read_usdt"]

_OWNER, _TYPE = b"stapsdt\0", 3
_HEAD = struct.Struct("=III")  # namesz, descsz, type
_MACHINES = MappingProxyType({"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"})


@dataclass(frozen=True, slots=True)
class UsdtArg:
    """``kind``: "constant" (``value``), "register", or "memory" (at register plus ``value``, plus ``index`` register
    shifted left by ``scale``). Registers are byte offsets in struct pt_regs. ``size`` in bytes, 1 to 8."""

    kind: str
    size: int
    signed: bool
    value: int = 0
    register: int = 0
    index: int | None = None
    scale: int = 0


@dataclass(frozen=True, slots=True)
class UsdtProbe:
    """One place of a probe; a probe that was inlined or written several times has several.

    ``offset``: of the instruction in the file; ``address``: before relocation. ``semaphore``: place in the file of the
    counter that says whether anybody is attached, 0 for none. ``args``: as the note has them.
    """

    provider: str
    name: str
    offset: int
    address: int
    semaphore: int
    args: str
    machine: str
    fixed: bool


def read_usdt(data: bytes, *, path: str) -> tuple[UsdtProbe, ...]:
    """Every probe of an ELF file; () for one that has none. ``ObjectError``: it is no ELF file, or is damaged."""
    from elftools.elf.elffile import ELFFile

    with readable_elf(path, what="its USDT probes cannot be read", section=".note.stapsdt"):
        file = ELFFile(BytesIO(data))
        section = file.get_section_by_name(".note.stapsdt")
        if section is None:
            return ()
        base = file.get_section_by_name(".stapsdt.base")
        moved = base["sh_addr"] if base is not None else 0
        return tuple(_probe(file, desc, moved=moved) for desc in _notes(section.data(), path=path))


def _notes(data: bytes, *, path: str) -> Iterator[bytes]:
    """What stapsdt notes hold."""
    at = 0
    while at + _HEAD.size <= len(data):
        name_size, size, kind = _HEAD.unpack_from(data, at)
        name = at + _HEAD.size
        start = name + (name_size + 3) // 4 * 4
        if start + size > len(data):
            raise ObjectError("a USDT note is cut off", path=path, section=".note.stapsdt", offset=at)
        if data[name : name + name_size] == _OWNER and kind == _TYPE:
            yield data[start : start + size]
        at = start + (size + 3) // 4 * 4


def _probe(file: ELFFile, desc: bytes, *, moved: int) -> UsdtProbe:
    """``moved``: where .stapsdt.base is now; the note says where it was when the addresses were written."""
    word = struct.Struct(("<" if file.little_endian else ">") + ("QQQ" if file.elfclass == 64 else "III"))
    address, base, semaphore = word.unpack_from(desc)
    provider, name, args = (part.decode() for part in desc[word.size :].split(b"\0")[:3])
    shift = moved - base if moved and base else 0
    machine = file.header["e_machine"]
    return UsdtProbe(
        provider,
        name,
        offset=place_in_file(file, address + shift),
        address=address + shift,
        semaphore=place_in_file(file, semaphore + shift) if semaphore else 0,
        args=args,
        machine=_MACHINES.get(machine, str(machine)),
        fixed=file.header["e_type"] == "ET_EXEC",
    )


def parse_usdt_args(text: str, *, machine: str) -> tuple[UsdtArg, ...]:
    """The arguments of a probe: ``-4@%edi 8@16(%rsp) -4@$5``. ``ValueError`` names one that nobody can read from a
    program: a floating point register, an address relative to the instruction."""
    rules = _RULES.get(machine)
    if text.strip() and rules is None:
        raise ValueError(f"USDT arguments of {machine} processors are not known")
    return tuple(_arg(each[0], machine=machine) for each in _ARG.finditer(text))


_ARG = re.compile(r"\S+?@(?:\[[^\]]*\]|\S+)")
_NUMBER = r"-?(?:0x[0-9a-fA-F]+|\d+)"


def _arg(text: str, *, machine: str) -> UsdtArg:
    size, _, where = text.partition("@")
    if not re.fullmatch("-?[1248]", size):
        raise ValueError(f"argument {text!r} is no integer")
    width, signed = abs(int(size)), size.startswith("-")
    for kind, pattern in _RULES[machine]:
        if found := re.fullmatch(pattern, where):
            parts = found.groupdict()
            value = int(parts.get("value") or "0", 0)
            if kind == "constant":
                return UsdtArg(kind, width, signed, value)
            index = parts.get("index")
            return UsdtArg(
                kind,
                width,
                signed,
                value,
                _register(parts["register"], text, machine=machine),
                _register(index, text, machine=machine) if index else None,
                int(parts.get("scale") or "1").bit_length() - 1,
            )
    raise ValueError(f"argument {text!r} is in no place that a program can read")


def _register(name: str, text: str, *, machine: str) -> int:
    try:
        return _REGISTERS[machine][name]
    except KeyError:
        raise ValueError(f"argument {text!r}: register {name} is not saved where a program can read it") from None


def _x86_registers() -> dict[str, int]:
    """Name -> byte in struct pt_regs (arch/x86/include/uapi/asm/ptrace.h)."""
    order = (
        *("r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di"),
        *("orig_ax", "ip", "cs", "flags", "sp"),
    )
    found: dict[str, int] = {}
    for place, name in enumerate(order):
        if name[0] == "r" and name[1:].isdigit():
            names = [name, f"{name}d", f"{name}w", f"{name}b"]
        elif len(name) == 2:
            low = f"{name[0]}l" if name in ("ax", "bx", "cx", "dx") else f"{name}l"
            names = [f"r{name}", f"e{name}", name, low]
        else:
            continue
        found |= dict.fromkeys(names, 8 * place)
    return found


def _arm64_registers() -> dict[str, int]:
    """arch/arm64/include/uapi/asm/ptrace.h: regs[31], sp."""
    found = {f"{letter}{number}": 8 * number for number in range(31) for letter in "xw"}
    return found | {"sp": 8 * 31}


_REGISTERS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {"x86_64": _x86_registers(), "aarch64": _arm64_registers()}
)
# machine -> (kind, where); the first that fits counts
_RULES: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "x86_64": (
            ("constant", rf"\$(?P<value>{_NUMBER})"),
            ("register", r"%(?P<register>\w+)"),
            (
                "memory",
                rf"(?P<value>{_NUMBER})?\(%(?P<register>\w+)(?:,%(?P<index>\w+)(?:,(?P<scale>[1248]))?)?\)",
            ),
        ),
        "aarch64": (
            ("memory", rf"\[(?P<register>\w+)(?:, *(?P<value>{_NUMBER}))?\]"),
            ("constant", rf"(?P<value>{_NUMBER})"),
            ("register", r"(?P<register>[a-z]+\d*)"),
        ),
    }
)
