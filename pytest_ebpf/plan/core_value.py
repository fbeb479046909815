"""The number that a CO-RE relocation asks for: an offset, size, shift or id, or 0 or 1.

As in libbpf's ``bpf_core_calc_field_relo`` and its siblings (src/relo_core.c, v1.7).
"""

from __future__ import annotations

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Enum, Int, Member, Ptr, Struct
from pytest_ebpf.errors import PlanError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.plan import core_spec as core
from pytest_ebpf.plan.core_spec import Spec
from pytest_ebpf.uapi.btf import CoreReloKind

__all__ = ["Value", "evaluate"]

_MASK64 = (1 << 64) - 1
_DEPTH = 32  # arrays of arrays; deeper ones are loops


@dataclass(frozen=True, slots=True)
class Value:
    """``number`` None: the kernel does not have it, the instruction is poisoned.

    ``size``: bytes that a load or store of the field moves (0: the kind does not concern one), and ``resizable`` what
    it may be widened or narrowed as: "pointer", "unsigned" or "". ``exact``: the number in the instruction before
    relocation must be this value for the local type (bitfields are laid out by the compiler in its own way).
    """

    number: int | None
    size: int = 0
    resizable: str = ""
    exact: bool = True


def evaluate(spec: Spec | None, *, kind: int) -> Value:
    """The value of relocation ``kind``. ``spec``: the match in the types of the kernel, None without one."""
    if core.is_field_kind(kind):
        return _field(spec, kind)
    if core.is_type_kind(kind):
        return _type(spec, kind)
    return _enumerator(spec, kind)


def _type(spec: Spec | None, kind: int) -> Value:
    if spec is None:
        return Value(0)
    if kind in (CoreReloKind.TYPE_ID_LOCAL, CoreReloKind.TYPE_ID_TARGET):
        return Value(spec.root, exact=False)
    if kind == CoreReloKind.TYPE_SIZE:
        return Value(spec.btf.size(spec.root))
    return Value(1)


def _enumerator(spec: Spec | None, kind: int) -> Value:
    if kind == CoreReloKind.ENUMVAL_EXISTS:
        return Value(int(spec is not None))
    if spec is None:
        return Value(None)
    step = spec.steps[0]
    owner = spec.btf.type(step.type)
    assert isinstance(owner, Enum)
    return Value(owner.values[step.index][1] & _MASK64)


def _field(spec: Spec | None, kind: int) -> Value:
    if kind == CoreReloKind.FIELD_EXISTS:
        return Value(int(spec is not None))
    if spec is None:
        return Value(None)
    last = spec.steps[-1]
    if last.name is None:
        return _element(spec, kind)
    owner = spec.btf.type(last.type)
    assert isinstance(owner, Struct)
    member = owner.members[last.index]
    bits = member.bit_size
    return _bitfield(spec, member, kind=kind, bits=bits) if bits else _member(spec, member, kind=kind)


def _element(spec: Spec, kind: int) -> Value:
    """``a[n]``: only its offset and size can be asked for."""
    type_id = spec.steps[-1].type
    size = spec.btf.size(type_id)
    if kind == CoreReloKind.FIELD_BYTE_OFFSET:
        return Value(spec.bit_offset // 8, size=size, resizable=_resizable(spec.btf, type_id))
    if kind == CoreReloKind.FIELD_BYTE_SIZE:
        return Value(size)
    raise PlanError(f"CO-RE relocation {kind} of {spec}: an array element only has an offset and a size")


def _member(spec: Spec, member: Member, *, kind: int) -> Value:
    btf = spec.btf
    resolved = btf.resolve(member.type)
    if kind == CoreReloKind.FIELD_BYTE_OFFSET:
        resolved = _element_type(btf, resolved)  # a load moves one element
        return Value(spec.bit_offset // 8, size=btf.size(resolved), resizable=_resizable(btf, resolved))
    if kind == CoreReloKind.FIELD_SIGNED:
        return Value(int(_is_signed(btf, resolved)))
    size = btf.size(resolved)
    if kind == CoreReloKind.FIELD_BYTE_SIZE:
        return Value(size)
    if kind == CoreReloKind.FIELD_RSHIFT_U64:
        return Value((64 - size * 8) & _MASK64)
    return Value(_lshift(btf, size=size, bits=size * 8, from_bit=0))


def _element_type(btf: Btf, type_id: int) -> int:
    for _ in range(_DEPTH):
        array = btf.type(type_id)
        if not isinstance(array, Array):
            return type_id
        type_id = btf.resolve(array.type)
    raise PlanError(f"CO-RE: BTF type {type_id} nests without end")


def _bitfield(spec: Spec, member: Member, *, kind: int, bits: int) -> Value:
    """A bitfield is read through the smallest aligned integer, of at most 8 bytes, that holds all of it."""
    btf, resolved = spec.btf, spec.btf.resolve(member.type)
    if kind == CoreReloKind.FIELD_SIGNED:
        return Value(int(_is_signed(btf, resolved)))
    if kind == CoreReloKind.FIELD_RSHIFT_U64:
        return Value(64 - bits)
    size = btf.size(resolved)
    if not size:
        raise PlanError(f"CO-RE: bitfield {spec} has a type without bits")
    start = spec.bit_offset // 8 // size * size
    while spec.bit_offset + bits - start * 8 > size * 8:
        if size >= 8:
            raise PlanError(f"CO-RE: bitfield {spec} does not fit into 8 bytes")
        size *= 2
        start = spec.bit_offset // 8 // size * size
    numbers: dict[int, int] = {
        CoreReloKind.FIELD_BYTE_OFFSET: start,
        CoreReloKind.FIELD_BYTE_SIZE: size,
        CoreReloKind.FIELD_LSHIFT_U64: _lshift(btf, size=size, bits=bits, from_bit=spec.bit_offset - start * 8),
    }
    return Value(numbers[kind], exact=False)


def _lshift(btf: Btf, *, size: int, bits: int, from_bit: int) -> int:
    """The left shift of a 64-bit register, loaded with ``size`` bytes, that removes the bits above the field."""
    if btf.byteorder == "little":
        return 64 - (bits + from_bit)
    return (8 - size) * 8 + from_bit


def _is_signed(btf: Btf, type_id: int) -> bool:
    found = btf.type(type_id)
    return isinstance(found, Int | Enum) and found.signed


def _resizable(btf: Btf, type_id: int) -> str:
    found = btf.type(type_id)
    if isinstance(found, Ptr):
        return "pointer"
    return "unsigned" if isinstance(found, Int) and not found.signed else ""
