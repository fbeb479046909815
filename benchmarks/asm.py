"""The assembler against the disassembler: every instruction of the objects in folders goes text -> bytes -> text.

    python benchmarks/asm.py [FOLDER ...]

FOLDER: objects anywhere below, such as the corpus of benchmarks/README.md; by default those of this repository. Each
function goes through in three notations: with names of maps, functions and helpers; with names of helpers; with numbers
alone. Prints the counts; a difference is printed and makes the exit status 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pytest_ebpf import asm
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.obj.disasm import InsnNames, disassemble
from pytest_ebpf.obj.insn import unpack_insns
from pytest_ebpf.obj.listing import list_function
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object

_ROOT = Path(__file__).parent.parent
_SHOWN = 20
_NOTATIONS = 3


def _objects(folders: list[Path]) -> Iterator[ObjectFile]:
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".o", ".elf")):
        try:
            yield parse_object(path.read_bytes(), name=str(path))
        except ObjectError:  # not of BPF, or kept for what is wrong with it
            continue


def _texts(obj: ObjectFile) -> Iterator[tuple[str, bool, str]]:
    """Name, whether the text has numbers alone, and the text."""
    for function in (*obj.programs, *obj.text):
        insns = unpack_insns(function.insns, byteorder=obj.byteorder)
        listed = "\n".join(one.text for one in list_function(obj, function, helpers=HELPERS))
        yield function.name, False, listed
        yield function.name, False, "\n".join(one.text for one in disassemble(insns, names=InsnNames(HELPERS)))
        yield function.name, True, "\n".join(one.text for one in disassemble(insns))


def _differs(text: str, *, numbers: bool, byteorder: str) -> str:
    """What differs; "" for nothing."""
    made = asm.assemble(text, byteorder=byteorder)
    if numbers:
        again = "\n".join(one.text for one in disassemble(unpack_insns(made, byteorder=byteorder)))
    else:
        again = asm.disassemble(made, symbols=asm.symbols(text), byteorder=byteorder)
    if again == text:
        return ""
    pairs = zip(text.splitlines(), again.splitlines(), strict=False)
    return next((f"{one!r} became {other!r}" for one, other in pairs if one != other), "another length")


def main() -> int:
    """Count and compare. The exit code: 1 when something differs."""
    folders = [Path(name) for name in sys.argv[1:]] or [_ROOT / "sample_programs", _ROOT / "tests" / "objects"]
    objects = lines = 0
    found: list[str] = []
    for obj in _objects(folders):
        objects += 1
        for name, numbers, text in _texts(obj):
            lines += text.count("\n") + 1
            if why := _differs(text, numbers=numbers, byteorder=obj.byteorder):
                found.append(f"{obj.name}: {name}: {why}")
    print("\n".join(found[:_SHOWN]))
    count = lines // _NOTATIONS
    print(f"{count:,} instructions of {objects:,} objects, each in {_NOTATIONS} notations: {len(found)} differ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
