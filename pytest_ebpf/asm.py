"""An assembler: the notation of the kernel's verifier log and of ``bpftool prog dump xlated`` in, instructions out.

It is the inverse of ``pytest_ebpf.obj.disasm``: ``disassemble(assemble(text)) == text``. ::

    from pytest_ebpf import asm
    asm.assemble('''
        r0 = *(u32 *)(r1 +16)
        if r0 == 0x0 goto out
        r0 = 1
    out:
        exit
    ''')
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_ebpf.asm_insns import AsmError, assemble_line, read_lines
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.obj.disasm import InsnNames, disassemble as _disassemble
from pytest_ebpf.obj.insn import LD_IMM64, Insn, pack_insns, unpack_insns

__all__ = ["AsmError", "assemble", "disassemble", "symbols"]

_NAMES = {name: number for number, name in enumerate(HELPERS)}


def assemble(text: str, *, byteorder: str = "little") -> bytes:
    """The instructions of a text, one in a line. Line numbers in front ("4:"), the opcode in parentheses ("(bf)"),
    source lines and remarks behind ";" may be there and are not needed; ``name:`` alone in a line is a label.

    Helpers go by name or number (``call bpf_ktime_get_ns#5``, ``call bpf_ktime_get_ns``, ``call 5``). What
    only the kernel or an object can resolve (``map[counts]``, ``subprog[f]``) is 0; ``map[id:3]`` is 3.
    ``AsmError``, a ValueError, names the line that is no instruction."""
    lines, labels = read_lines(text)
    insns: list[Insn] = []
    for line in lines:
        insns += assemble_line(line, labels=labels, helpers=_NAMES)
    return pack_insns(insns, byteorder=byteorder)


def symbols(text: str) -> dict[int, str]:
    """What the instructions of a text call and load by name: slot -> "map[counts]", "bpf_ktime_get_ns". Bytes have no
    names; ``disassemble`` takes them back."""
    return {line.slot: line.symbol for line in read_lines(text)[0] if line.symbol}


def disassemble(data: bytes, *, symbols: Mapping[int, str] | None = None, byteorder: str = "little") -> str:
    """The text of instructions, one in a line, each with its opcode: "(b7) r0 = 1"."""
    known = symbols or {}
    names = InsnNames(HELPERS, lambda slot, insn: known.get(slot, ""), lambda wide: known.get(wide.slot, ""))
    insns = unpack_insns(data, byteorder=byteorder)
    return "\n".join(_texts(insns, names))


def _texts(insns: tuple[Insn, ...], names: InsnNames) -> Iterator[str]:
    for slot, text in _disassemble(insns, names=names):
        yield text
        if insns[slot].code == LD_IMM64 and slot + 1 == len(insns):
            raise AsmError("the second half of the last instruction is missing", line=slot)
