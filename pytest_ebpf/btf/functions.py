"""Whether a FUNC of BTF can be used: with ``-g1`` compilers write FUNC records whose prototype does not exist."""

from __future__ import annotations

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Func, Kind

__all__ = ["is_function"]


def is_function(btf: Btf, type_id: int) -> bool:
    """Whether ``type_id`` is a FUNC whose type is a FUNC_PROTO. clang 14 writes 0 there, later ones any number."""
    if not 0 < type_id < len(btf):
        return False
    found = btf.type(type_id)
    return isinstance(found, Func) and 0 < found.type < len(btf) and btf.kind(found.type) == Kind.FUNC_PROTO
