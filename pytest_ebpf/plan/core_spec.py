"""CO-RE access strings: "0:1:2" on a local type, resolved to members, and matched with the types of a kernel.

Semantics are libbpf's (src/relo_core.c, v1.7): member names are compared exactly, types by their essential names,
anonymous structs and unions are looked through, arrays are checked by their bounds unless they are flexible.
"""

from __future__ import annotations

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Enum, Kind, Member, Struct, essential_name
from pytest_ebpf.errors import PlanError
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.plan.core_match import compatible_fields, compatible_types, matching_types
from pytest_ebpf.uapi.btf import CoreReloKind

__all__ = [
    "Accessor",
    "Spec",
    "candidates",
    "is_enum_kind",
    "is_field_kind",
    "is_type_kind",
    "match_spec",
    "parse_spec",
]


_MAX_DEPTH = 64  # BPF_CORE_SPEC_MAX_LEN


@dataclass(frozen=True, slots=True)
class Accessor:
    """One step: member (or enumerator) ``index`` of ``type``, or element ``index`` of an array of ``type`` when
    ``name`` is None."""

    type: int
    index: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """The field, type or enumerator that a relocation names, in ids of ``btf``. ``bit_offset`` counts from the start
    of the root type."""

    btf: Btf
    root: int
    steps: tuple[Accessor, ...] = field(default=())
    bit_offset: int = 0

    def __str__(self) -> str:
        """As C writes it: ``struct task_struct.comm[0]``."""
        head = self.btf.type(self.root)
        keyword = {Kind.STRUCT: "struct ", Kind.UNION: "union ", Kind.ENUM: "enum ", Kind.ENUM64: "enum "}
        text = keyword.get(Kind(head.kind), "") + (head.name or "(anonymous)")
        for position, step in enumerate(self.steps):
            if step.name is not None:
                text += f"::{step.name}" if isinstance(head, Enum) else f".{step.name}"
            elif position or step.index:
                text += f"[{step.index}]"
        return text


def is_field_kind(kind: int) -> bool:
    """Whether the relocation is about a field: its place, size or existence."""
    return CoreReloKind.FIELD_BYTE_OFFSET <= kind <= CoreReloKind.FIELD_RSHIFT_U64


def is_type_kind(kind: int) -> bool:
    """Whether the relocation is about a whole type."""
    return CoreReloKind.TYPE_ID_LOCAL <= kind <= CoreReloKind.TYPE_SIZE or kind == CoreReloKind.TYPE_MATCHES


def is_enum_kind(kind: int) -> bool:
    """Whether the relocation is about an enumerator."""
    return kind in (CoreReloKind.ENUMVAL_EXISTS, CoreReloKind.ENUMVAL_VALUE)


def parse_spec(btf: Btf, root: int, *, access: str, kind: int) -> Spec:
    """Resolve an access string. Raises PlanError when it does not fit its type (damaged relocation data)."""
    try:
        raw = [int(part) for part in access.split(":")]
    except ValueError:
        raise PlanError(f"CO-RE access string {access!r} is not a list of numbers") from None
    if len(raw) > _MAX_DEPTH or min(raw) < 0:
        raise PlanError(f"CO-RE access string {access!r} is out of range")
    if is_type_kind(kind):
        return Spec(btf, root)
    if is_enum_kind(kind):
        return _parse_enumerator(btf, root, raw=raw)
    if is_field_kind(kind):
        return _parse_field(btf, root, raw=raw)
    raise PlanError(f"CO-RE relocation of unknown kind {kind}", hint="kinds 0-12 are known (Linux 7.2, LLVM 21)")


def _parse_enumerator(btf: Btf, root: int, *, raw: list[int]) -> Spec:
    resolved = btf.resolve(root)
    found = btf.type(resolved)
    if not isinstance(found, Enum) or len(raw) != 1 or raw[0] >= len(found.values):
        raise PlanError(f"CO-RE access {raw} does not name an enumerator of {btf.name(root)!r}")
    return Spec(btf, root, (Accessor(resolved, raw[0], found.values[raw[0]][0]),))


def _parse_field(btf: Btf, root: int, *, raw: list[int]) -> Spec:
    current = btf.resolve(root)
    steps = [Accessor(current, raw[0])]
    bits = raw[0] * btf.size(current) * 8
    for index in raw[1:]:
        found = btf.type(current)
        if isinstance(found, Struct) and index < len(found.members):
            member = found.members[index]
            bits += member.bit_offset
            if member.name:
                steps.append(Accessor(current, index, member.name))
            current = btf.resolve(member.type)
        elif isinstance(found, Array) and (index < found.nelems or _is_flexible(btf, found, before=steps[-1])):
            current = btf.resolve(found.type)
            steps.append(Accessor(current, index))
            bits += index * btf.size(current) * 8
        else:
            raise PlanError(f"CO-RE access {raw} leaves {btf.name(root)!r}: no element {index} in {found.name!r}")
    return Spec(btf, root, tuple(steps), bits)


def _is_flexible(btf: Btf, array: Array, *, before: Accessor) -> bool:
    """A zero-length array that is the last member of its struct may be indexed without bound."""
    if before.name is None or array.nelems:
        return False
    owner = btf.type(before.type)
    return isinstance(owner, Struct) and before.index == len(owner.members) - 1


def candidates(local: Spec, target: Btf) -> tuple[int, ...]:
    """Types of the kernel with the same kind and essential name as the root. Enums of any width are one kind."""
    head = local.btf.type(local.root)
    kinds = (Kind.ENUM, Kind.ENUM64) if isinstance(head, Enum) else (Kind(head.kind),)
    name = essential_name(head.name)
    return tuple(sorted(type_id for kind in kinds for type_id in target.find_flavours(name, kind)))


def match_spec(local: Spec, target: Btf, *, root: int, kind: int) -> Spec | None:
    """``local`` matched with type ``root`` of ``target``; None without a match."""
    if is_type_kind(kind):
        matches = matching_types if kind == CoreReloKind.TYPE_MATCHES else compatible_types
        return Spec(target, root) if matches((local.btf, local.root), (target, root)) else None
    if is_enum_kind(kind):
        return _match_enumerator(local, target, root=root)
    return _match_field(local, target, root=root)


def _match_enumerator(local: Spec, target: Btf, *, root: int) -> Spec | None:
    resolved = target.resolve(root)
    found = target.type(resolved)
    wanted = essential_name(local.steps[0].name or "")
    if isinstance(found, Enum):
        for index, (name, _) in enumerate(found.values):
            if essential_name(name) == wanted:
                return Spec(target, root, (Accessor(resolved, index, name),))
    return None


def _match_field(local: Spec, target: Btf, *, root: int) -> Spec | None:
    current = target.resolve(root)
    steps: list[Accessor] = []
    bits = 0
    for position, step in enumerate(local.steps):
        if step.name is not None:
            found = _match_member(local.btf, step, target=target, owner=current)
            if found is None:
                return None
            accessor, offset, current = found
            steps.append(accessor)
            bits += offset
            continue
        if position:
            array = target.type(current)
            if not isinstance(array, Array):
                return None
            if step.index >= array.nelems and not _is_flexible(target, array, before=steps[-1]):
                return None
            current = target.resolve(array.type)
        steps.append(Accessor(current, step.index))
        bits += step.index * target.size(current) * 8 if step.index else 0
    return Spec(target, root, tuple(steps), bits)


def _match_member(local: Btf, step: Accessor, *, target: Btf, owner: int) -> tuple[Accessor, int, int] | None:
    """The member of the same name in ``owner`` or its anonymous members: (step, bit offset in owner, its type).

    The name decides: a member of that name with an incompatible type ends the search.
    """
    wanted = _member(local, step)
    found = _members(target, owner).get(wanted.name)
    if found is None or not compatible_fields((local, wanted.type), (target, found[2])):
        return None
    accessor, offset, type_id = found
    return accessor, offset, target.resolve(type_id)


def _member(btf: Btf, step: Accessor) -> Member:
    owner = btf.type(step.type)
    assert isinstance(owner, Struct)
    return owner.members[step.index]


def _members(btf: Btf, owner: int, *, depth: int = 0) -> dict[str, tuple[Accessor, int, int]]:
    """The members of ``owner`` by name, those of anonymous members among them, the first of each name: (step, bit
    offset in owner, type). Cached per type: a program may read thousands of fields of a type with thousands of
    members."""
    key = ("members", owner)
    known: dict[str, tuple[Accessor, int, int]] | None = btf.memo.get(key)
    if known is not None:
        return known
    struct = btf.type(owner)
    found: dict[str, tuple[Accessor, int, int]] = {}
    if not isinstance(struct, Struct) or depth > _MAX_DEPTH:
        return found
    btf.memo[key] = {}  # for a type that contains itself
    for index, member in enumerate(struct.members):
        if member.name:
            found.setdefault(member.name, (Accessor(owner, index, member.name), member.bit_offset, member.type))
            continue
        inner = _members(btf, btf.resolve(member.type), depth=depth + 1)
        for name, (accessor, offset, type_id) in inner.items():
            found.setdefault(name, (accessor, member.bit_offset + offset, type_id))
    btf.memo[key] = found
    return found
