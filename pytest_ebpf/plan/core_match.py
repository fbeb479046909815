"""When CO-RE takes two BTF types of different origin for the same: three rules, from loose to strict.

* fields: what a member may be read as;
* types: what ``bpf_core_type_exists()`` asks;
* matching: what ``bpf_core_type_matches()`` asks, names and members included.

All as in libbpf's src/relo_core.c (v1.7). A pair is (Btf, type id).
"""

from __future__ import annotations

from typing import TypeAlias

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, BtfType, Enum, FuncProto, Fwd, Int, Kind, Ptr, Struct, essential_name
from pytest_ebpf.errors import PlanError

__all__ = ["TypeIn", "compatible_fields", "compatible_functions", "compatible_types", "matching_types"]

TypeIn: TypeAlias = tuple[Btf, int]

_Memo: TypeAlias = dict[tuple[int, int, bool], bool]  # (local id, target id, behind_ptr) -> result

_DEPTH = 32
_DEEP = "CO-RE types are nested deeper than 32 levels"


def compatible_fields(local: TypeIn, target: TypeIn) -> bool:
    """Whether a member of type ``target`` can stand in for one of type ``local``: sizes, signs and pointees may
    differ; the kinds must agree, and the names of enums where both have one."""
    for _ in range(_DEPTH):
        ours, theirs = _resolved(local), _resolved(target)
        if isinstance(ours, Struct) and isinstance(theirs, Struct):
            return True
        if not _same_kind(ours.kind, theirs.kind):
            return False
        if isinstance(ours, Array) and isinstance(theirs, Array):
            local, target = (local[0], ours.type), (target[0], theirs.type)
            continue
        if isinstance(ours, Int) and isinstance(theirs, Int):
            return ours.offset == 0 and theirs.offset == 0
        if ours.kind in (Kind.FWD, Kind.ENUM, Kind.ENUM64):
            names = essential_name(ours.name), essential_name(theirs.name)
            return not all(names) or names[0] == names[1]
        return ours.kind in (Kind.PTR, Kind.FLOAT)
    raise PlanError(_DEEP)


def compatible_types(local: TypeIn, target: TypeIn) -> bool:
    """Whether the kinds agree all the way down; the caller has compared the names of the roots."""
    return _compatible(local, target, depth=_DEPTH, memo={})


def compatible_functions(local: TypeIn, target: TypeIn) -> bool:
    """``compatible_types`` of two prototypes; a struct that the object only declares stands for its definition where
    it is returned or passed by address: the object does not look into it, and the verifier knows the type."""
    if compatible_types(local, target):
        return True
    ours, theirs = _resolved(local), _resolved(target)
    if not isinstance(ours, FuncProto) or not isinstance(theirs, FuncProto) or len(ours.params) != len(theirs.params):
        return False
    params = zip(ours.params, theirs.params, strict=True)
    pairs = [(one.type, other.type) for one, other in params] + [(ours.ret, theirs.ret)]
    return all(
        compatible_types((local[0], one), (target[0], other)) or _declares((local[0], one), (target[0], other))
        for one, other in pairs
    )


def _declares(local: TypeIn, target: TypeIn) -> bool:
    """Whether both are pointers to a struct (or union) of one name, of which the object may only know the name."""
    ours, theirs = _resolved(local), _resolved(target)
    if not isinstance(ours, Ptr) or not isinstance(theirs, Ptr):
        return False
    one, other = _resolved((local[0], ours.type)), _resolved((target[0], theirs.type))
    if not isinstance(one, Fwd) or not isinstance(other, Struct | Fwd):
        return False
    return one.is_union == other.is_union and essential_name(one.name) == essential_name(other.name)


def _compatible(local: TypeIn, target: TypeIn, *, depth: int, memo: _Memo) -> bool:
    key = (local[1], target[1], False)
    if key not in memo:  # types may share parts: without a cache, two per level make 2 ** 32 comparisons
        memo[key] = _compare(local, target, depth=depth, memo=memo)
    return memo[key]


def _compare(local: TypeIn, target: TypeIn, *, depth: int, memo: _Memo) -> bool:
    while depth > 0:
        depth -= 1
        ours, theirs = _resolved(local), _resolved(target)
        if not _same_kind(ours.kind, theirs.kind):
            return False
        if isinstance(ours, Int) and isinstance(theirs, Int):
            return ours.offset == 0 and theirs.offset == 0
        if isinstance(ours, FuncProto) and isinstance(theirs, FuncProto):
            if len(ours.params) != len(theirs.params):
                return False
            for one, other in zip(ours.params, theirs.params, strict=True):
                if not _compatible((local[0], one.type), (target[0], other.type), depth=depth, memo=memo):
                    return False
            local, target = (local[0], ours.ret), (target[0], theirs.ret)
        elif isinstance(ours, Ptr | Array) and isinstance(theirs, Ptr | Array):
            local, target = (local[0], ours.type), (target[0], theirs.type)
        else:
            return ours.kind in (Kind.VOID, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FWD)
    raise PlanError(_DEEP)


def matching_types(local: TypeIn, target: TypeIn) -> bool:
    """Whether ``target`` has all that ``local`` has, by name and shape. Behind a pointer, structs are compared by
    name alone, and a declaration stands for its definition."""
    return _matching(local, target, behind_ptr=False, depth=_DEPTH, memo={})


def _matching(local: TypeIn, target: TypeIn, *, behind_ptr: bool, depth: int, memo: _Memo) -> bool:
    key = (local[1], target[1], behind_ptr)
    if key not in memo:
        memo[key] = _match(local, target, behind_ptr=behind_ptr, depth=depth, memo=memo)
    return memo[key]


def _match(local: TypeIn, target: TypeIn, *, behind_ptr: bool, depth: int, memo: _Memo) -> bool:
    while depth > 0:
        depth -= 1
        ours, theirs = _resolved(local), _resolved(target)
        if essential_name(ours.name) != essential_name(theirs.name):
            return False
        if isinstance(ours, Struct | Fwd):
            return _matching_composites(local, target, behind_ptr=behind_ptr, depth=depth, memo=memo)
        if not _same_kind(ours.kind, theirs.kind):
            return False
        if isinstance(ours, Enum) and isinstance(theirs, Enum):
            return _matching_enums(ours, theirs)
        if isinstance(ours, Int) and isinstance(theirs, Int):
            return ours.size == theirs.size and ours.signed == theirs.signed
        if isinstance(ours, FuncProto) and isinstance(theirs, FuncProto):
            signatures = (local[0], ours), (target[0], theirs)
            if not _matching_params(*signatures, behind_ptr=behind_ptr, depth=depth, memo=memo):
                return False
            local, target = (local[0], ours.ret), (target[0], theirs.ret)
        elif isinstance(ours, Ptr) and isinstance(theirs, Ptr):
            behind_ptr = True
            local, target = (local[0], ours.type), (target[0], theirs.type)
        elif isinstance(ours, Array) and isinstance(theirs, Array):
            if ours.nelems != theirs.nelems:
                return False
            local, target = (local[0], ours.type), (target[0], theirs.type)
        else:
            return ours.kind == Kind.VOID
    raise PlanError(_DEEP)


def _resolved(pair: TypeIn) -> BtfType:
    btf, type_id = pair
    return btf.type(btf.resolve(type_id))


def _same_kind(one: int, other: int) -> bool:
    return one == other or {one, other} == {Kind.ENUM, Kind.ENUM64}


def _matching_params(
    local: tuple[Btf, FuncProto], target: tuple[Btf, FuncProto], *, behind_ptr: bool, depth: int, memo: _Memo
) -> bool:
    ours, theirs = local[1].params, target[1].params
    return len(ours) == len(theirs) and all(
        _matching((local[0], one.type), (target[0], other.type), behind_ptr=behind_ptr, depth=depth, memo=memo)
        for one, other in zip(ours, theirs, strict=True)
    )


def _matching_enums(ours: Enum, theirs: Enum) -> bool:
    names = {essential_name(name) for name, _ in theirs.values}
    return ours.size == theirs.size and all(essential_name(name) in names for name, _ in ours.values)


def _matching_composites(local: TypeIn, target: TypeIn, *, behind_ptr: bool, depth: int, memo: _Memo) -> bool:
    ours, theirs = _resolved(local), _resolved(target)
    if not isinstance(ours, Struct | Fwd) or not isinstance(theirs, Struct | Fwd):
        return False
    if isinstance(ours, Fwd) or behind_ptr:
        known = isinstance(ours, Fwd) or isinstance(theirs, Fwd) or ours.kind == theirs.kind
        return known and ours.is_union == theirs.is_union
    if not isinstance(theirs, Struct) or ours.kind != theirs.kind or len(ours.members) > len(theirs.members):
        return False
    return all(
        any(
            essential_name(mine.name) == essential_name(yours.name)
            and _matching((local[0], mine.type), (target[0], yours.type), behind_ptr=False, depth=depth, memo=memo)
            for yours in theirs.members
        )
        for mine in ours.members
    )
