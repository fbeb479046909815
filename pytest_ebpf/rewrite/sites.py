"""The calls of a program, by name: helpers, kfuncs and functions of the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Enum, Func, FuncProto, Int, Ptr
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.insn import CALL, Insn
from pytest_ebpf.obj.object import Extern, LineInfo, ProgramDef
from pytest_ebpf.rewrite.helper_signatures import HELPER_SIGNATURES
from pytest_ebpf.rewrite.libraries import own_line
from pytest_ebpf.uapi.insn import PseudoCall

__all__ = ["CallSite", "Names", "Signature", "call_sites", "signature_of"]

_PARAMETERS = 5
_TAIL_CALL = "bpf_tail_call"
_NEVER_FAILS = ("bpf_get_smp_processor_id", "bpf_this_cpu_ptr", "bpf_get_current_task_btf", "bpf_get_current_task")
_VERDICTS = ("bpf_redirect", "bpf_redirect_map", "bpf_redirect_neigh", "bpf_redirect_peer")


@dataclass(frozen=True, slots=True)
class Signature:
    """``returns``: "signed" (a negative number is an error), "unsigned", "pointer" or "void". ``params``: names, with
    "*" before those of pointers. ``width``: bytes of the number that it returns; ``widths``: of each parameter that is
    a number, negative for signed ones."""

    returns: str
    params: tuple[str, ...]
    width: int = 8
    widths: tuple[int, ...] = ()


_UNKNOWN = Signature("signed", ())
_NEW_HELPER = ("signed", (), 8, ())


@dataclass(frozen=True, slots=True)
class CallSite:
    """A call at ``slot``. ``kind``: "helper", "kfunc" or "function". ``line``: None without line records."""

    slot: int
    function: str
    kind: str
    signature: Signature
    line: LineInfo | None

    @property
    def can_fail(self) -> bool:
        """Whether it returns something that says so: NULL, or a negative number."""
        if self.function in _NEVER_FAILS:
            return False
        if self.function == _TAIL_CALL:
            return True  # it fails by coming back
        return self.signature.returns == "pointer" or (self.signature.returns == "signed" and self.kind != "function")

    @property
    def is_verdict(self) -> bool:
        """Whether it returns a verdict, which a program returns in turn: its error is the verdict that drops."""
        return self.function in _VERDICTS


@dataclass(frozen=True, slots=True)
class Names:
    """What the numbers in calls stand for. ``helpers``: by number. ``starts``: the functions of the program and where
    they begin. ``externs``: the kfuncs that the object declares. ``btf``: its types. ``aliases``: functions that stand
    in for others, and for which."""

    helpers: Sequence[str]
    starts: Sequence[tuple[int, ProgramDef]]
    externs: Mapping[str, Extern]
    btf: Btf | None
    aliases: Mapping[str, str]


def call_sites(insns: Sequence[Insn], names: Names, *, lines: Sequence[LineInfo]) -> tuple[CallSite, ...]:
    """Every call, in the order of the instructions."""
    kfuncs = {start + r.insn: r.symbol for start, f in names.starts for r in f.relocs if r.kind == "kfunc"}
    functions = dict(names.starts)
    sites = []
    for slot, insn in enumerate(insns):
        if insn.code != CALL:
            continue
        line = own_line(lines, slot, start=max((start for start in functions if start <= slot), default=0))
        if slot in kfuncs:
            extern = names.externs.get(kfuncs[slot])
            proto = signature_of(names.btf, extern.type_id) if extern is not None else _UNKNOWN
            sites.append(CallSite(slot, kfuncs[slot], "kfunc", proto, line))
        elif insn.src == PseudoCall.CALL and (callee := functions.get(slot + 1 + insn.imm)) is not None:
            name = names.aliases.get(callee.name, callee.name)
            sites.append(CallSite(slot, name, "function", signature_of(names.btf, callee.btf_id), line))
        elif insn.src == 0 and 0 <= insn.imm < len(names.helpers):
            name = names.helpers[insn.imm]
            sites.append(CallSite(slot, name, "helper", Signature(*HELPER_SIGNATURES.get(name, _NEW_HELPER)), line))
    return tuple(sites)


def signature_of(btf: Btf | None, type_id: int) -> Signature:
    """Of a FUNC or FUNC_PROTO in BTF."""
    if btf is None or not type_id:
        return _UNKNOWN
    found = btf.type(type_id)
    proto = btf.type(found.type) if isinstance(found, Func) else found
    if not isinstance(proto, FuncProto):
        return _UNKNOWN
    params = tuple(("*" if _is_pointer(btf, param.type) else "") + param.name for param in proto.params)
    widths = tuple(_width(btf, param.type) for param in proto.params)
    return Signature(_returns(btf, proto.ret), params[:_PARAMETERS], abs(_width(btf, proto.ret)), widths[:_PARAMETERS])


def _width(btf: Btf, type_id: int) -> int:
    found = btf.type(btf.resolve(type_id)) if type_id else None
    if isinstance(found, Int):
        return -found.size if found.signed else found.size
    return found.size if isinstance(found, Enum) else 8


def _returns(btf: Btf, type_id: int) -> str:
    if not type_id or not btf.resolve(type_id):
        return "void"
    found = btf.type(btf.resolve(type_id))
    if isinstance(found, Ptr):
        return "pointer"
    return "signed" if isinstance(found, Int) and found.signed else "unsigned"


def _is_pointer(btf: Btf, type_id: int) -> bool:
    return bool(type_id) and isinstance(btf.type(btf.resolve(type_id)), Ptr)
