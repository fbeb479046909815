"""Whether a function can stand in for another: the signatures that BTF and the table of helpers have of them."""

from __future__ import annotations

from pytest_ebpf.obj.object import ObjectFile, ProgramDef
from pytest_ebpf.rewrite.helper_signatures import HELPER_SIGNATURES
from pytest_ebpf.rewrite.sites import Signature, signature_of

__all__ = ["signature_difference"]


def signature_difference(obj: ObjectFile, name: str, *, stand_in: ProgramDef) -> str:
    """How ``stand_in`` differs from the helper, kfunc or function ``name`` of the same object; "" for not at all,
    as far as their types are known."""
    has = signature_of(obj.btf, stand_in.btf_id)
    wanted = _signature(obj, name)
    if wanted is None or not stand_in.btf_id:
        return ""
    if len(has.params) != len(wanted.params):
        return f"it takes {len(has.params)} arguments, not {len(wanted.params)}"
    for number, (own, other) in enumerate(zip(has.params, wanted.params, strict=True), 1):
        if own.startswith("*") != other.startswith("*"):
            return f"argument {number} is {_kind(own)}, not {_kind(other)}"
    if (has.returns == "pointer") != (wanted.returns == "pointer"):
        return f"it returns {_returned(has)}, not {_returned(wanted)}"
    if wanted.returns != "void" and has.returns == "void":
        return "it returns nothing"
    if wanted.returns in ("signed", "unsigned") and has.width < wanted.width:
        return f"it returns {has.width} bytes, not {wanted.width}"
    return ""


def _signature(obj: ObjectFile, name: str) -> Signature | None:
    if name in HELPER_SIGNATURES:
        return Signature(*HELPER_SIGNATURES[name])
    for extern in obj.externs:
        if extern.name == name and extern.kind == "kfunc":
            return signature_of(obj.btf, extern.type_id) if extern.type_id else None
    for function in (*obj.text, *obj.programs):
        if function.name == name:
            return signature_of(obj.btf, function.btf_id) if function.btf_id else None
    return None


def _kind(param: str) -> str:
    return "a pointer" if param.startswith("*") else "a number"


def _returned(signature: Signature) -> str:
    return "nothing" if signature.returns == "void" else _kind("*" if signature.returns == "pointer" else "")
