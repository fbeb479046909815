"""``extern ... __ksym`` variables and functions, found in the running kernel.

A typed variable or function (kfunc) is found in the kernel's BTF, an untyped variable by its address. Weak ones may
be missing: a variable is then NULL, a kfunc poisoned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_ebpf.btf.types import Kind, essential_name
from pytest_ebpf.errors import PlanError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.insn import Code, signed32
from pytest_ebpf.obj.object import Extern, ObjectFile
from pytest_ebpf.plan.core_match import compatible_functions
from pytest_ebpf.plan.core_patch import poison_insn
from pytest_ebpf.plan.facts import Facts, is_untyped
from pytest_ebpf.plan.modules import find_in_modules
from pytest_ebpf.uapi.insn import PseudoCall, PseudoLoad

__all__ = ["POISON_KFUNC", "Ksym", "find_ksym", "load_address", "call_kfunc"]

_LIBC = frozenset(("bcmp", "memcmp", "memcpy", "memmove", "memset", "strcmp", "strlen"))
_OF_LIBC = (
    "Compilers make such calls of loops and of copies of large structs. Build with -fno-builtin, or write the loop so "
    "that its end is a constant."
)
POISON_KFUNC = 2002000000  # libbpf's: + index of the extern


@dataclass(frozen=True, slots=True)
class Ksym:
    """The place of an extern: ``btf_id`` in vmlinux or in ``module``, or ``address``; without both it is missing (and
    weak)."""

    btf_id: int = 0
    address: int = 0
    module: str = ""


def find_ksym(extern: Extern, obj: ObjectFile, *, facts: Facts) -> Ksym:
    """Raises PlanError when it is not weak and the kernel does not have it, or has it with another type."""
    typed = not is_untyped(extern, obj)
    found = _typed(extern, obj, facts=facts) if typed else _untyped(extern, facts)
    if found is None:
        if extern.is_weak:
            return Ksym()
        raise _missing(extern, typed=typed, facts=facts)
    return found


def _typed(extern: Extern, obj: ObjectFile, *, facts: Facts) -> Ksym | None:
    if facts.btf is None:
        return None
    kind = Kind.FUNC if extern.kind == "kfunc" else Kind.VAR
    name = essential_name(extern.name)
    own = [("", facts.btf, type_id) for type_id in facts.btf.find(name, kind)]
    found = own or list(find_in_modules(facts, name, kind=kind))
    for module, btf, type_id in found:
        target = btf.type(type_id).type  # type: ignore[union-attr]
        if obj.btf is None or compatible_functions((obj.btf, extern.type_id), (btf, target)):
            return Ksym(btf_id=type_id, module=module)
    if found and not extern.is_weak:  # a weak one is missing then: the program has another flavour for this kernel
        where = f" (in module {found[0][0]})" if found[0][0] else ""
        raise PlanError(f"{extern.name} has another type in this kernel{where} than the program declares")
    return None


def _untyped(extern: Extern, facts: Facts) -> Ksym | None:
    found = set(_addresses(essential_name(extern.name), facts.kallsyms or ""))
    found.discard(0)  # what processes without the privilege see
    if len(found) > 1:  # as in libbpf: ambiguous
        raise PlanError(f"this kernel has {len(found)} symbols called {extern.name}, at different addresses")
    return Ksym(address=found.pop()) if found else None


def _addresses(name: str, kallsyms: str) -> Iterator[int]:
    """The addresses of a symbol. The text has ten million characters: the name is looked for, and lines are read where
    it stands, which takes a tenth of the time of an expression over all lines."""
    line = re.compile(rf"([0-9a-f]+) \S {re.escape(name)}(?:\s.*)?")
    at = kallsyms.find(f" {name}")
    while at >= 0:
        end = kallsyms.find("\n", at)
        end = end if end >= 0 else len(kallsyms)
        if found := line.fullmatch(kallsyms, kallsyms.rfind("\n", 0, at) + 1, end):
            yield int(found[1], 16)
        at = kallsyms.find(f" {name}", end)


def _missing(extern: Extern, *, typed: bool, facts: Facts) -> PlanError:
    what = "kernel function" if extern.kind == "kfunc" else "kernel variable"
    if typed and facts.btf is None:
        return PlanError(f"{what} {extern.name} needs the kernel's BTF, and this kernel has none", feature="btf")
    if not typed and facts.kallsyms and not re.search(r"^0*[1-9a-f]", facts.kallsyms, re.MULTILINE):
        return PlanError(
            f"{what} {extern.name}: /proc/kallsyms has no addresses, as with kernel.kptr_restrict=2",
            hint="sysctl kernel.kptr_restrict=1 shows them to root, or declare the variable with its type",
        )
    if extern.name in _LIBC:
        return PlanError(f"the program calls {extern.name}(), and programs have no C library", hint=_OF_LIBC)
    where = "its BTF or that of a loaded module" if typed else "/proc/kallsyms"
    return PlanError(
        f"this kernel has no {what} {extern.name} in {where}",
        feature=f"kfunc:{extern.name}" if extern.kind == "kfunc" else "",
        hint="declare it __weak and ask bpf_ksym_exists() before using it",
    )


def load_address(insns: Code, index: int, *, ksym: Ksym) -> None:
    """Make the 64-bit load at ``index`` load the address of a variable or function (0: missing)."""
    low, high = insns[index], insns[index + 1]
    if ksym.btf_id:
        insns[index] = low._replace(src=PseudoLoad.BTF_ID, imm=ksym.btf_id)
        insns[index + 1] = high._replace(imm=0)
    else:
        insns[index] = low._replace(src=0, imm=signed32(ksym.address))
        insns[index + 1] = high._replace(imm=signed32(ksym.address >> 32))


def call_kfunc(insns: Code, index: int, *, ksym: Ksym, number: int, btf_index: int = 0) -> str:
    """Make the call at ``index`` call a kfunc. A missing one is poisoned, and "missing" is returned, else "".
    ``btf_index``: the index of its module's BTF in fd_array, 0 for vmlinux."""
    if ksym.btf_id:
        insns[index] = insns[index]._replace(src=PseudoCall.KFUNC_CALL, imm=ksym.btf_id, off=btf_index)
        return ""
    poison_insn(insns, index, number=POISON_KFUNC + number)
    return "missing"
