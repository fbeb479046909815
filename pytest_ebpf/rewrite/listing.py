"""The calls of an object's programs that can fail, found without a kernel."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_ebpf.obj.insn import unpack_insns
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.link import Prepared, function_index, link
from pytest_ebpf.rewrite.sites import CallSite, Names, call_sites

__all__ = ["failing_calls"]


def failing_calls(obj: ObjectFile, *, program: str = "", helpers: Sequence[str]) -> list[tuple[str, CallSite]]:
    """(program, call) of each, also in the functions that it reaches; of all programs unless one is named. Slots are
    those that the kernel gets, since nothing that a load does moves an instruction."""
    functions = function_index(obj)
    externs = {extern.name: extern for extern in obj.externs}
    found: list[tuple[str, CallSite]] = []
    for function in obj.programs:
        if function.name != (program or function.name) or function.spec is None:
            continue
        linked = link(function, functions, prepare=lambda part: Prepared(part, part.insns), byteorder=obj.byteorder)
        names = Names(helpers, linked.starts, externs, obj.btf, {})
        insns = unpack_insns(linked.insns, byteorder=obj.byteorder)
        sites = call_sites(insns, names, lines=linked.line_info)
        found += [(function.name, site) for site in sites if site.can_fail]
    return found
