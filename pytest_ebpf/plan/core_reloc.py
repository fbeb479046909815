"""CO-RE: a program compiled against one kernel's types, adjusted to those of another.

``Relocator`` holds the two type tables; ``relocate`` patches the instructions of one function. What this kernel does
not have is poisoned and explained in a note: such code may be guarded by ``bpf_core_field_exists()`` and never run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import PlanError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.insn import Code
from pytest_ebpf.obj.object import CoreReloc, LineInfo
from pytest_ebpf.plan import core_spec as core
from pytest_ebpf.plan.core_patch import Unpatchable, patch_insn, poison_insn
from pytest_ebpf.plan.core_spec import Spec
from pytest_ebpf.plan.core_value import Value, evaluate
from pytest_ebpf.plan.link import line_at
from pytest_ebpf.uapi.btf import CoreReloKind

__all__ = ["Relocator", "Resolved"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """``local``: the value the compiler put in; ``target``: this kernel's. ``missing``: why there is none."""

    local: Value
    target: Value
    missing: str = ""


class Relocator:
    """Finds local types in ``target`` and caches the results: each field is looked up once, however often it is read.

    ``target`` None: the kernel has no BTF, and only relocations that concern the object alone can be done.
    ``modules``: BTF of kernel modules, searched for types of names that ``target`` does not have.
    """

    __slots__ = ("_candidates", "_patched", "_resolved", "local", "modules", "target")

    def __init__(self, local: Btf, target: Btf | None, *, modules: Sequence[Btf] = ()) -> None:
        self.local = local
        self.target = target
        self.modules = modules
        self._candidates: dict[int, tuple[tuple[Btf, int], ...]] = {}
        self._resolved: dict[tuple[int, str, int], Resolved] = {}
        self._patched: dict[tuple[int, str, int, bytes], bytes] = {}

    def relocate(self, insns: Code, relocs: Sequence[CoreReloc], *, lines: Sequence[LineInfo] = ()) -> dict[int, str]:
        """Patch ``insns`` in place. Returns a note per poisoned instruction (index -> text).

        Raises PlanError when a relocation is ambiguous or damaged: the program cannot be loaded.
        """
        notes: dict[int, str] = {}
        for reloc in relocs:
            try:
                missing = self._apply(insns, reloc)
            except PlanError as error:
                raise PlanError(f"{error.message}{_where(lines, reloc.insn)}", hint=error.hint) from None
            if missing:
                notes[reloc.insn] = _note(missing, kind=reloc.kind, where=_where(lines, reloc.insn))
        return notes

    def resolve(self, reloc: CoreReloc) -> Resolved:
        """The values of a relocation in the object and in this kernel."""
        key = (reloc.type_id, reloc.access, reloc.kind)
        found = self._resolved.get(key)
        if found is None:
            found = self._resolved[key] = self._resolve(reloc)
        return found

    def _apply(self, insns: Code, reloc: CoreReloc) -> str:
        """An object may contain the same access to a field a hundred times, in the same instruction."""
        before = insns.raw(reloc.insn)
        key = (reloc.type_id, reloc.access, reloc.kind, before)
        after = self._patched.get(key)
        if after is not None:
            insns.put(reloc.insn, after)
            return ""
        missing = self._patch(insns, reloc)
        if not missing:
            self._patched[key] = insns.raw(reloc.insn)[: len(before)]
        return missing

    def _patch(self, insns: Code, reloc: CoreReloc) -> str:
        resolved = self.resolve(reloc)
        if resolved.target.number is None:
            poison_insn(insns, reloc.insn)
            return resolved.missing
        try:
            patch_insn(insns, reloc.insn, local=resolved.local, target=resolved.target)
        except Unpatchable as error:
            poison_insn(insns, reloc.insn)
            spec = core.parse_spec(self.local, reloc.type_id, access=reloc.access, kind=reloc.kind)
            return f"{spec} {error}"
        return ""

    def _resolve(self, reloc: CoreReloc) -> Resolved:
        spec = core.parse_spec(self.local, reloc.type_id, access=reloc.access, kind=reloc.kind)
        local = evaluate(spec, kind=reloc.kind)
        if reloc.kind == CoreReloKind.TYPE_ID_LOCAL:
            return Resolved(local, local)
        if self.target is None:
            raise PlanError(
                f"CO-RE relocation of {spec} needs the kernel's BTF, and this kernel has none",
                feature="btf",
                since="4.18 with CONFIG_DEBUG_INFO_BTF",
            )
        if not self.local.name(reloc.type_id):
            raise PlanError(f"CO-RE relocation of an anonymous type: {spec} cannot be looked up by name")
        matches = self._matches(spec, kind=reloc.kind)
        if not matches:
            return Resolved(local, evaluate(None, kind=reloc.kind), self._missing(spec))
        return Resolved(local, _agreed(spec, matches, kind=reloc.kind))

    def _matches(self, spec: Spec, *, kind: int) -> list[Spec]:
        known = self._candidates.get(spec.root)
        if known is None:
            known = tuple(self._search(spec))
        found = [core.match_spec(spec, btf, root=root, kind=kind) for btf, root in known]
        matches = [match for match in found if match is not None]
        # A candidate that failed once is not tried again while others remain.
        self._candidates[spec.root] = tuple((match.btf, match.root) for match in matches) or known
        return matches

    def _search(self, spec: Spec) -> Iterator[tuple[Btf, int]]:
        """Types of that name in vmlinux; if it has none, those in all modules."""
        assert self.target is not None
        own = core.candidates(spec, self.target)
        yield from ((self.target, root) for root in own)
        if not own:
            for module in self.modules:
                yield from ((module, root) for root in core.candidates(spec, module))

    def _missing(self, spec: Spec) -> str:
        """What this kernel lacks: the type, or the first step of the access that it does not have."""
        known = tuple(self._search(spec))
        head = Spec(spec.btf, spec.root)
        if not known:
            return f"this kernel has no {head}"
        reached = head
        for length in range(1, len(spec.steps) + 1):
            shorter = Spec(spec.btf, spec.root, spec.steps[:length])
            if not any(_leads_somewhere(shorter, btf, root=root) for btf, root in known):
                step = shorter.steps[-1]
                if step.name is None:
                    return f"{reached} has no element [{step.index}] in this kernel"
                thing = "enumerator" if "::" in str(shorter) else "field"
                return f"{reached} has no {thing} {step.name} in this kernel"
            reached = shorter
        return f"{spec} is of another type in this kernel"


def _leads_somewhere(spec: Spec, target: Btf, *, root: int) -> bool:
    kind = CoreReloKind.ENUMVAL_EXISTS if "::" in str(spec) else CoreReloKind.FIELD_EXISTS
    return core.match_spec(spec, target, root=root, kind=kind) is not None


def _agreed(spec: Spec, matches: list[Spec], *, kind: int) -> Value:
    """The value on which all types of one name agree. PlanError when they differ."""
    first = evaluate(matches[0], kind=kind)
    for match in matches[1:]:
        other = evaluate(match, kind=kind)
        if match.bit_offset != matches[0].bit_offset or other.number != first.number:
            raise PlanError(
                f"CO-RE: {spec} is ambiguous: types {matches[0].root} and {match.root} of this kernel give "
                f"{first.number} and {other.number}"
            )
    return first


def _where(lines: Sequence[LineInfo], insn: int) -> str:
    line = line_at(lines, insn)
    if line is None:
        return ""
    text = line.text.strip()
    return f" ({line.file}:{line.line} `{text}`)" if text else f" ({line.file}:{line.line})"


def _note(missing: str, *, kind: int, where: str) -> str:
    guard = "bpf_core_enum_value_exists()" if kind == CoreReloKind.ENUMVAL_VALUE else "bpf_core_field_exists()"
    return f"CO-RE: {missing}{where}; guard it with {guard}"
