"""Why a program or its BTF was refused, where it is the kernel that does not know something: a program type, a helper,
an instruction, a kind of BTF. What the verifier says about the program itself is for the verifier's log."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import BtfLoad, ProgLoad
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.live.hints.attach import lacks_attach_type
from pytest_ebpf.live.hints.base import Case, Hint, lacks
from pytest_ebpf.uapi.btf import Kind
from pytest_ebpf.uapi.flags import ProgFlag
from pytest_ebpf.uapi.numbers import ENOTSUPP
from pytest_ebpf.uapi.sections import PROG_TYPES

__all__ = ["LOAD_HINTS"]

# verifier.c: check_helper_call(); the first where the number is beyond the last helper
_HELPER = re.compile(r"(?:invalid func|unknown func|cannot use helper) \w+#(\d+)")
_GPL = re.compile(r"GPL-restricted function|from non-GPL|GPL compatible")
_KFUNC = re.compile(r"calling kernel function (\w+) is not allowed")
_OPCODE = re.compile(r"unknown opcode|uses reserved fields|invalid BPF_\w+ instruction|unknown atomic op")
_ATOMIC = re.compile(r"BPF_(?:STX|XADD|ATOMIC) uses reserved fields|unknown atomic op")
# btf.c: the number in "Invalid kind:19" -> feature
_KINDS: Mapping[int, str] = MappingProxyType(
    {
        Kind.FUNC: "func",
        Kind.FUNC_PROTO: "func",
        Kind.VAR: "datasec",
        Kind.DATASEC: "datasec",
        Kind.FLOAT: "float",
        Kind.DECL_TAG: "decl_tag",
        Kind.TYPE_TAG: "type_tag",
        Kind.ENUM64: "enum64",
    }
)
_KIND = re.compile(r"[Ii]nvalid kind:(\d+)|kind=(\d+)")
_BTF_LIMIT = 16 << 20  # BTF_MAX_SIZE
_MANY = 4096  # BPF_MAXINSNS


def _op(case: Case) -> ProgLoad:
    assert isinstance(case.op, ProgLoad)
    return case.op


def _type(case: Case) -> str:
    number = _op(case).type
    return PROG_TYPES[number] if number < len(PROG_TYPES) else ""


def _unknown_type(case: Case) -> str:
    """Rejected without a verifier log: bpf_prog_load() looks up the type before it verifies the program."""
    name = _type(case)
    if not case.silent or not name or name == "UNSPEC":
        return ""
    return lacks(case, feature=f"prog:{name.lower()}", what=f"{name} programs")


def _helper(case: Case) -> str:
    found = _HELPER.search(case.log)
    number = int(found[1]) if found else 0
    if not 0 < number < len(HELPERS):
        return ""
    name = HELPERS[number]
    missing = lacks(case, feature=f"helper:{name}", what=f"The helper {name}()")
    return missing or f"This kernel has the helper {name}(), but {_type(case)} programs may not call it."


def _kfunc(case: Case) -> str:
    found = _KFUNC.search(case.log)
    if found is None:
        return ""
    missing = lacks(case, feature=f"kfunc:{found[1]}", what=f"The kernel function {found[1]}()")
    return missing or f"This kernel has {found[1]}(), but {_type(case)} programs may not call it."


def _license(case: Case) -> str:
    """The object declares no license at all: nobody decided against the GPL."""
    if _op(case).license or not _GPL.search(case.log):
        return ""
    return (
        "The object has no license section, so it counts as not GPL-compatible. Add "
        'char _license[] SEC("license") = "GPL"; or load it with bpf.load(..., license="GPL").'
    )


def _instruction(case: Case) -> str:
    if not _OPCODE.search(case.log):
        return ""
    atomics = (
        # clang 22 writes one for __sync_fetch_and_add() too whose result nobody reads (-mcpu=v3)
        ("atomics", "use __atomic_fetch_add(p, n, __ATOMIC_RELAXED) without its result, or compile with -mcpu=v2"),
        ("load_acquire", "use a plain load"),
    )
    sets = (
        ("v4", "compile with -mcpu=v3"),
        ("v3", "compile with -mcpu=v2"),
        ("v2", "compile with -mcpu=v1"),
    )
    for name, way_out in (*atomics, *sets) if _ATOMIC.search(case.log) else (*sets, *atomics):
        missing = lacks(case, feature=f"isa:{name}", what=_INSTRUCTIONS[name], instead=way_out)
        if missing:
            return missing
    return ""


_INSTRUCTIONS: Mapping[str, str] = MappingProxyType(
    {
        "v2": "Instruction set v2",
        "v3": "Instruction set v3",
        "v4": "Instruction set v4",
        "atomics": "Atomic operations with a result",
        "load_acquire": "Load-acquire and store-release",
    }
)


def _loop(case: Case) -> str:
    if "back-edge" not in case.log:
        return ""
    return lacks(case, feature="isa:bounded_loops", what="Loops", instead="unroll the loop (#pragma unroll)")


def _long(case: Case) -> str:
    count = len(_op(case).insns) // 8
    if not case.silent or count <= _MANY:
        return ""
    missing = lacks(case, feature="isa:large_programs", what=f"Programs of more than {_MANY} instructions")
    return missing or (
        f"The program has {count} instructions; without CAP_BPF {_MANY} are allowed, with it a million."
        if not case.described.cap_bpf
        else ""
    )


def _sleepable(case: Case) -> str:
    if not case.silent or not _op(case).flags & ProgFlag.SLEEPABLE:
        return ""
    return lacks(case, feature="isa:sleepable", what="Programs that may sleep (.s)", instead="leave the .s away")


def _bound(case: Case) -> str:
    if "require device-bound program" in case.log:
        return (
            'Load it for the interface whose metadata it reads: programs={"name": {"interface": bpf_veth.b}} '
            "(Linux 6.3), and attach it there."
        )
    if not case.silent or not _op(case).flags & ProgFlag.XDP_DEV_BOUND_ONLY:
        return ""
    return "An XDP program for one interface wants Linux 6.3 or newer, and an interface that exists."


def _attach_type(case: Case) -> str:
    return lacks_attach_type(case, _op(case).expected_attach_type) if case.silent else ""


def _silent(case: Case) -> str:
    if not case.silent:
        return ""
    return (
        f"The kernel knows {_type(case)} programs, and refused this one before it was verified: an attach type or a "
        "flag (sleepable, frags) that it does not know, an attach target that is not for this type, or missing BTF."
    )


def _btf_kind(case: Case) -> str:
    found = _KIND.search(case.log)
    name = _KINDS.get(int(found[1] or found[2])) if found else None
    return lacks(case, feature=f"btf:{name}", what=f"BTF of kind {name.upper()}") if name else ""


def _btf_size(case: Case) -> str:
    assert isinstance(case.op, BtfLoad)
    size = len(case.op.data)
    return f"The BTF has {size} bytes; the kernel takes {_BTF_LIMIT}." if size > _BTF_LIMIT else ""


def _btf_log(case: Case) -> str:
    lines = [line for line in case.log.splitlines() if line.strip()]
    return f"The kernel says about the object's BTF: {lines[-1].strip()}" if lines else ""


_NO = (errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP, ENOTSUPP)
LOAD_HINTS: tuple[Hint, ...] = (
    Hint("ProgLoad", _NO, _unknown_type),
    Hint("ProgLoad", (errno.EINVAL, errno.EACCES), _license),
    Hint("ProgLoad", (errno.EINVAL,), _helper),
    Hint("ProgLoad", (errno.EINVAL, errno.EACCES), _kfunc),
    Hint("ProgLoad", (errno.EINVAL,), _instruction),
    Hint("ProgLoad", (errno.EINVAL,), _loop),
    Hint("ProgLoad", (errno.E2BIG, errno.EINVAL), _long),
    Hint("ProgLoad", (errno.EINVAL,), _sleepable),
    Hint("ProgLoad", (errno.EINVAL, errno.EOPNOTSUPP), _bound),
    Hint("ProgLoad", (errno.EINVAL,), _attach_type),
    Hint("ProgLoad", _NO, _silent),
    Hint("ProgLoad", (errno.ENOMEM,), "The kernel has no memory for the program: load fewer at once."),
    Hint(
        "ProgLoad",
        (errno.EFAULT,),
        "The verifier reported a bug of its own (EFAULT): look at bpf_dmesg, and report it with the object.",
    ),
    Hint("BtfLoad", (errno.EINVAL,), _btf_kind),
    Hint("BtfLoad", (errno.E2BIG,), _btf_size),
    Hint("BtfLoad", (errno.EINVAL, errno.E2BIG, ENOTSUPP), _btf_log),
)
