"""What PROG_LOAD is given about the attachment of a program: the BTF id of its target, the attach type and flags."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import PlanError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.object import ProgramDef
from pytest_ebpf.obj.sections import SectionSpec
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.modules import KernelTarget, find_in_modules, kernel_target
from pytest_ebpf.suggest import close_names
from pytest_ebpf.uapi.enums import ProgType
from pytest_ebpf.uapi.flags import ProgFlag

__all__ = ["Attachment", "Device", "ExtTarget", "plan_attachment"]


@dataclass(frozen=True, slots=True)
class ExtTarget:
    """A loaded program that another one extends or traces, and the id of the FUNC in its BTF."""

    prog: Handle
    btf_id: int


@dataclass(frozen=True, slots=True)
class Device:
    """A network interface by index or name, in ``netns`` or where the system calls are made; 0 for none."""

    interface: int | str = 0
    netns: Handle | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """Fields of ProgLoad. ``module``: the module whose BTF has ``btf_id``, "" for vmlinux (or ``prog``). ``device``:
    what an XDP program is bound to."""

    attach_type: int = 0
    flags: int = 0
    btf_id: int = 0
    prog: Handle | None = None
    module: str = ""
    device: Device = Device()


def plan_attachment(program: ProgramDef, facts: Facts, *, targets: Mapping[str, ExtTarget]) -> Attachment:
    """``targets``: program name -> the program it is to be attached to, for freplace and tracing of programs.

    Raises PlanError when this kernel has no target of that name; the hint has the closest names.
    """
    spec = program.spec
    assert spec is not None
    flags = (ProgFlag.SLEEPABLE if spec.sleepable else 0) | (ProgFlag.XDP_HAS_FRAGS if spec.frags else 0)
    attach_type = 0 if spec.optional_attach_type and not facts.attach_type else spec.attach_type
    if not spec.needs_btf:
        return Attachment(attach_type, flags)
    target = targets.get(program.name)
    if target is not None:
        return Attachment(attach_type, flags, target.btf_id, target.prog)
    if spec.prog_type == ProgType.EXT:
        raise PlanError(f"{program.name} extends another program, and none was given")
    module, btf_id = _find_target(program, spec, facts=facts)
    return Attachment(attach_type, flags, btf_id, module=module)


def _find_target(program: ProgramDef, spec: SectionSpec, *, facts: Facts) -> tuple[str, int]:
    """(module or "", id) of what a program is attached to."""
    target = kernel_target(spec)
    if not target.short:
        raise PlanError(
            f"{program.name}: section {program.section!r} does not name a {target.what}",
            hint=f'write SEC("{spec.prefix}/name"), or give it at load time: '
            f'bpf.load(path, programs={{"{program.name}": "{spec.prefix}/name"}})',
        )
    if facts.btf is None:
        raise PlanError(
            f"{program.name} ({program.section}) needs the kernel's BTF, and this kernel has none",
            feature="btf",
            since="4.18 with CONFIG_DEBUG_INFO_BTF",
        )
    own = facts.btf.find(target.name, target.kind) if target.module in ("", "vmlinux") else ()
    if own:
        return "", own[0]
    for module, _, type_id in find_in_modules(facts, target.name, kind=target.kind, module=target.module):
        return module, type_id
    raise _no_target(program, target, facts=facts)


def _no_target(program: ProgramDef, target: KernelTarget, *, facts: Facts) -> PlanError:
    where = f"{program.name} ({program.section})"
    if target.module not in ("", "vmlinux"):
        loaded = target.module in (facts.modules or {})
        return PlanError(
            f"{where}: " + (f"module {target.module} has no {target.what} {target.short!r}" if loaded else
                            f"this kernel has no module {target.module} with BTF loaded"),
            hint="" if loaded else f"load it first: bpf_vm.run(['modprobe', '{target.module}'])",
            target=f"{target.what} {target.module}:{target.short}",
        )  # fmt: skip
    assert facts.btf is not None
    return PlanError(
        f"{where}: this kernel has no {target.what} {target.short!r}",
        hint=_like(facts.btf, target),
        target=f"{target.what} {target.short}",
    )


def _like(btf: Btf, target: KernelTarget) -> str:
    """Names in the kernel that are close to the target's. Of some 60,000 functions only those of about its length and
    with the same first letter after the prefix are compared. Cached: several programs may want the same target."""
    key = ("like", target.kind, target.name)
    if key not in btf.memo:
        btf.memo[key] = _near_names(btf, target)
    close: list[str] = btf.memo[key]
    return f"did you mean {' or '.join(c.removeprefix(target.prefix) for c in close)}?" if close else ""


def _near_names(btf: Btf, target: KernelTarget) -> list[str]:
    name, prefix = target.name, target.prefix
    start, rest = name[: len(prefix) + 1], max(len(name) - len(prefix) - 1, 0)
    pattern = rf"(?<=\0){re.escape(start)}[^\0]{{{max(rest - 3, 0)},{rest + 3}}}(?=\0)"
    names = {found.decode(errors="replace") for found in re.findall(pattern.encode(), btf.strings)}
    near = close_names(name, sorted(names), most=20, cutoff=0.7)
    return [found for found in near if btf.find(found, target.kind)][:3]
