"""Exception callbacks: functions that run instead of a program that throws (``bpf_throw()``, Linux 6.7).

The program names its callback in BTF alone: ``__exception_cb(f)`` is a declaration tag "exception_callback:f" on the
program's FUNC. No instruction calls it.
"""

from __future__ import annotations

from pytest_ebpf.btf.types import DeclTag
from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.object import ObjectFile, ProgramDef

__all__ = ["exception_callbacks", "find_callback"]

_TAG = "exception_callback:"


def exception_callbacks(obj: ObjectFile) -> dict[int, tuple[str, ...]]:
    """FUNC id -> names of the functions that it names as its exception callback. More than one is an error."""
    btf = obj.btf
    if btf is None or _TAG.encode() not in btf.strings:
        return {}
    found: dict[int, tuple[str, ...]] = {}
    for _, type_ in btf:
        if isinstance(type_, DeclTag) and type_.component < 0 and type_.name.startswith(_TAG):
            found[type_.type] = (*found.get(type_.type, ()), type_.name.removeprefix(_TAG))
    return found


def find_callback(obj: ObjectFile, program: ProgramDef, *, names: tuple[str, ...]) -> ProgramDef | None:
    """The callback of ``program``. PlanError when it is not a global function of the object, or one of several."""
    if not names:
        return None
    if len(names) > 1:
        raise PlanError(f"{program.name} names {len(names)} exception callbacks ({', '.join(names)}): it can have one")
    for function in (*obj.text, *obj.programs):
        if function.name == names[0] and function.is_global:
            return function
    raise PlanError(
        f"{program.name}: its exception callback {names[0]!r} is not a global function of this object",
        hint="an exception callback is a function that is not static, for example __noinline int f(__u64 cookie)",
    )
