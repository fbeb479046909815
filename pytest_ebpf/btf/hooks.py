"""What a program gets at a hook: the arguments that the BTF of a kernel states."""

from __future__ import annotations

from pytest_ebpf.btf.c_decl import CDeclarer
from pytest_ebpf.btf.c_names import CNames
from pytest_ebpf.btf.functions import is_function
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Func, FuncProto, Kind
from pytest_ebpf.frozen import dataclass

__all__ = ["HOOK_KINDS", "Hook", "find_hook", "hook_names"]

# The function whose arguments a program sees: the prefix of its name before that of the hook. Linux 5.10 and later has
# __traceiter_NAME for each tracepoint, whose first argument is not passed on; LSM programs sit on bpf_lsm_NAME
# (include/linux/tracepoint.h, kernel/bpf/bpf_lsm.c).
HOOK_KINDS = {"fentry": "", "kprobe": "", "lsm": "bpf_lsm_", "tracepoint": "__traceiter_"}
_DATA = "__data"


@dataclass(frozen=True, slots=True)
class Hook:
    """``arguments``: a C declaration of each; ``returns``: the C type of the result, "" for tracepoints."""

    name: str
    arguments: tuple[str, ...]
    returns: str = ""

    @property
    def signature(self) -> str:
        """``int do_unlinkat(int dfd, struct filename *name)``."""
        return f"{self.returns} {self.name}({', '.join(self.arguments) or 'void'})".strip()


def find_hook(btf: Btf, kind: str, *, name: str) -> Hook | None:
    """The hook, None where this kernel has none of that name (its function may be inlined)."""
    function = f"{HOOK_KINDS[kind]}{name.rpartition(':')[2]}"
    found = next((one for one in btf.find(function, Kind.FUNC) if is_function(btf, one)), 0)
    if not found:
        return None
    func = btf.type(found)
    assert isinstance(func, Func)
    proto = btf.type(func.type)
    assert isinstance(proto, FuncProto)
    writer = CDeclarer(btf, CNames(btf))
    arguments = tuple(
        "..." if not param.type else writer.declare(param.type, param.name)
        for param in proto.params
        if not (kind == "tracepoint" and param.name == _DATA)
    )
    returns = "" if kind == "tracepoint" else writer.declare(proto.ret)
    return Hook(name, arguments, returns)


def hook_names(btf: Btf, kind: str) -> set[str]:
    """The names of every hook of that kind."""
    prefix = HOOK_KINDS[kind]
    names = (btf.name(one) for one in range(1, len(btf)) if btf.kind(one) == Kind.FUNC)
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
