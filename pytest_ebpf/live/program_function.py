"""Functions of loaded programs, as targets of freplace, fentry and fexit programs."""

from __future__ import annotations

from typing import Protocol, TypeGuard

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Func, Kind
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.plan.attach import ExtTarget
from pytest_ebpf.uapi.btf import Linkage

__all__ = ["TypedProgram", "function_of_program", "is_program"]


class TypedProgram(Protocol):
    """A loaded program and the types of its object: ``live.program.Program``."""

    @property
    def name(self) -> str: ...
    @property
    def handle(self) -> Handle: ...
    @property
    def btf(self) -> Btf | None: ...


def is_program(value: object) -> TypeGuard[TypedProgram]:
    """Whether ``value`` is a program that a test loaded."""
    handle = getattr(value, "handle", None)
    return isinstance(handle, Handle) and handle.kind == "prog" and hasattr(value, "btf")


def function_of_program(name: str, value: object) -> ExtTarget:
    """A program, or (program, "function in it"): the FUNC that is replaced or traced by the program ``name``."""
    program, function = value if isinstance(value, tuple) and len(value) == 2 else (value, "")
    if not is_program(program):
        raise BpfUsageError(
            f"{name}: expected a loaded program, got {value!r}",
            hint='Give obj["prog"], or (obj["prog"], "function in it").',
        )
    function = function or program.name
    btf = program.btf
    for type_id in btf.find(function, Kind.FUNC) if btf is not None else ():
        found = btf.type(type_id) if btf is not None else None
        if isinstance(found, Func) and found.linkage != Linkage.EXTERN:
            return ExtTarget(program.handle, type_id)
    why = "its object has no BTF" if btf is None else f"there is no function {function!r} in it"
    raise BpfUsageError(f"{name} cannot be attached to program {program.name}: {why}")
