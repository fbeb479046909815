"""Types of kernel modules: searched when vmlinux does not have what an object names.

Module BTF (/sys/kernel/btf/<module>, Linux 5.11) continues the ids of vmlinux. As in libbpf, CO-RE looks there only
when vmlinux has no type of the name at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Enum, Kind, essential_name
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.sections import SectionSpec
from pytest_ebpf.plan.facts import Facts, is_untyped
from pytest_ebpf.uapi.btf import CoreReloKind

__all__ = [
    "KernelTarget",
    "find_in_modules",
    "kernel_target",
    "lacks_types",
]


def lacks_types(obj: ObjectFile, facts: Facts) -> bool:
    """Whether ``obj`` names something that vmlinux does not have, so that modules should be searched."""
    if facts.btf is None:
        return False
    return _lacks_core_type(obj, facts) or _lacks_symbol(obj, facts.btf) or _lacks_target(obj, facts.btf)


def _lacks_core_type(obj: ObjectFile, facts: Facts) -> bool:
    if obj.btf is None or facts.core_btf is not None or facts.btf is None:
        return False
    functions = (*obj.programs, *obj.text)
    roots = {reloc.type_id for f in functions for reloc in f.core if reloc.kind != CoreReloKind.TYPE_ID_LOCAL}
    return any(not _has_type(facts.btf, obj.btf, root=root) for root in roots)


def _has_type(target: Btf, local: Btf, *, root: int) -> bool:
    head = local.type(root)
    kinds = (Kind.ENUM, Kind.ENUM64) if isinstance(head, Enum) else (Kind(head.kind),)
    return not head.name or any(target.find_flavours(essential_name(head.name), kind) for kind in kinds)


def _lacks_symbol(obj: ObjectFile, btf: Btf) -> bool:
    for extern in obj.externs:
        if extern.kind not in ("ksym", "kfunc") or is_untyped(extern, obj):
            continue
        kind = Kind.FUNC if extern.kind == "kfunc" else Kind.VAR
        if not btf.find(essential_name(extern.name), kind):
            return True
    return False


def _lacks_target(obj: ObjectFile, btf: Btf) -> bool:
    for program in obj.programs:
        if program.spec is None or not program.spec.needs_btf or not program.spec.target:
            continue
        target = kernel_target(program.spec)
        if target.module not in ("", "vmlinux") or not btf.find(target.name, target.kind):
            return True
    return False


def find_in_modules(facts: Facts, name: str, *, kind: int, module: str = "") -> Iterator[tuple[str, Btf, int]]:
    """(module, its BTF, id) of the types of this name that vmlinux does not have itself."""
    for found, btf in (facts.modules or {}).items():
        if module in ("", found):
            for type_id in btf.find(name, kind):
                if type_id >= btf.first_id:
                    yield found, btf, type_id


# Section prefix -> the kernel's prefix, the kind of BTF type, and its description.
_TARGETS = {
    "tp_btf": ("btf_trace_", Kind.TYPEDEF, "raw tracepoint"),
    "lsm": ("bpf_lsm_", Kind.FUNC, "LSM hook"),
    "lsm_cgroup": ("bpf_lsm_", Kind.FUNC, "LSM hook"),
    "iter": ("bpf_iter_", Kind.FUNC, "iterator"),
}


class KernelTarget(NamedTuple):
    """``name``: in BTF, ``prefix`` and the name in the section (``short``). ``module``: where to look, "" for
    anywhere."""

    name: str
    kind: Kind
    what: str
    prefix: str
    short: str
    module: str


def kernel_target(spec: SectionSpec) -> KernelTarget:
    """The target of a program that is attached by BTF. ``module:function`` names a module as well."""
    prefix, kind, what = _TARGETS.get(spec.prefix.removesuffix(".s"), ("", Kind.FUNC, "kernel function"))
    module, _, short = spec.target.rpartition(":")
    return KernelTarget(prefix + short, kind, what, prefix, short, module)
