"""What a program says about its attachment at load time: the BTF id of its target, its attach type and flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.object import ProgramDef
from pytest_ebpf.obj.sections import SectionSpec
from pytest_ebpf.plan.facts import Facts

__all__ = ["Attachment", "ExtTarget", "plan_attachment"]

_SLEEPABLE, _HAS_FRAGS = 1 << 4, 1 << 5  # BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS
_EXT = 28
# What the kernel names the thing behind a section target, and the kind of BTF type it is.
_TARGETS = {
    "tp_btf": ("btf_trace_", Kind.TYPEDEF, "raw tracepoint"),
    "lsm": ("bpf_lsm_", Kind.FUNC, "LSM hook"),
    "lsm_cgroup": ("bpf_lsm_", Kind.FUNC, "LSM hook"),
    "iter": ("bpf_iter_", Kind.FUNC, "iterator"),
}


@dataclass(frozen=True, slots=True)
class ExtTarget:
    """A loaded program that another one extends or traces, and the FUNC in its BTF."""

    prog: Handle
    btf_id: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """Fields of ProgLoad."""

    attach_type: int = 0
    flags: int = 0
    btf_id: int = 0
    prog: Handle | None = None


def plan_attachment(program: ProgramDef, facts: Facts, *, targets: Mapping[str, ExtTarget]) -> Attachment:
    """``targets``: program name -> the program it is to be attached to, for freplace and tracing of programs.

    Raises PlanError when this kernel has nothing of the target's name; the names most like it are in the hint.
    """
    spec = program.spec
    assert spec is not None
    flags = (_SLEEPABLE if spec.sleepable else 0) | (_HAS_FRAGS if spec.frags else 0)
    attach_type = 0 if spec.optional_attach_type and not facts.attach_type else spec.attach_type
    if not spec.needs_btf:
        return Attachment(attach_type, flags)
    target = targets.get(program.name)
    if target is not None:
        return Attachment(attach_type, flags, target.btf_id, target.prog)
    if spec.prog_type == _EXT:
        raise PlanError(f"{program.name} extends another program: it has to be told which one")
    return Attachment(attach_type, flags, _find_target(program, spec, facts=facts))


def _find_target(program: ProgramDef, spec: SectionSpec, *, facts: Facts) -> int:
    prefix, kind, what = _TARGETS.get(spec.prefix.removesuffix(".s"), ("", Kind.FUNC, "kernel function"))
    name = spec.target.rpartition(":")[2]
    if not name:
        raise PlanError(
            f"{program.name}: section {program.section!r} names no {what}", hint=f'write SEC("{spec.prefix}/name")'
        )
    if facts.btf is None:
        raise PlanError(
            f"{program.name} ({program.section}) needs the kernel's BTF, and this kernel has none",
            feature="btf",
            since="4.18 with CONFIG_DEBUG_INFO_BTF",
        )
    found = facts.btf.find(prefix + name, kind)
    if not found:
        raise PlanError(
            f"{program.name} ({program.section}): this kernel has no {what} {name!r}",
            hint=_like(facts.btf, prefix + name, kind=kind, prefix=prefix),
        )
    return found[0]


def _like(btf: Btf, name: str, *, kind: int, prefix: str) -> str:
    """Names in the kernel that look like ``name``. Of some 60,000 functions only those of its length and first letter
    after the prefix are compared."""
    start = name[: len(prefix) + 1]
    names = {
        found
        for type_id in btf.ids()
        if btf.kind(type_id) == kind
        and abs(len(found := btf.name(type_id)) - len(name)) < 4
        and found.startswith(start)
    }
    close = get_close_matches(name, sorted(names), n=3, cutoff=0.7)
    return f"did you mean {' or '.join(c.removeprefix(prefix) for c in close)}?" if close else ""
