"""The declaration tags (``btf_decl_tag``) of an object's functions."""

from __future__ import annotations

from pytest_ebpf.btf.types import DeclTag, Kind
from pytest_ebpf.obj.object import ObjectFile

__all__ = ["function_tags"]


def function_tags(obj: ObjectFile) -> dict[int, list[str]]:
    """Type id of what is tagged as a whole -> the texts of its tags, in the order of the object."""
    found: dict[int, list[str]] = {}
    btf = obj.btf
    if btf is None:
        return found
    for type_id, kind in zip(btf.ids(), btf.kinds(), strict=True):
        if kind == Kind.DECL_TAG:
            tag = btf.type(type_id)
            assert isinstance(tag, DeclTag)
            if tag.component == -1:
                found.setdefault(tag.type, []).append(tag.name)
    return found
