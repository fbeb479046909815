"""What is known about a fault: message, instruction, source line, registers, and how they came about."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.verifier.explain.register_text import describe
from pytest_ebpf.verifier.explain.value_origin import Cause
from pytest_ebpf.verifier.log.state import Register
from pytest_ebpf.verifier.rejection.classify import Rejection

__all__ = ["Fault", "arguments_of", "number"]

_MACRO = re.compile(r"\b((?:bpf|BPF)_\w*(?:read|READ)\w*)\(")  # their first arguments are the helper's
_CALL = re.compile(r"call (?P<name>[a-z_]\w*)(?:#-?\d+)?")


@dataclass(frozen=True, slots=True)
class Fault:
    """``insn`` is the text of the instruction at fault and ``source`` its line ("" where they are not known), ``log``
    the end of the log. ``registers`` are those that matter just before, ``causes`` the steps that made them."""

    rejection: Rejection
    insn: str = ""
    source: str = ""
    log: str = ""
    registers: Sequence[Register] = ()
    causes: Sequence[Cause] = ()

    @property
    def message(self) -> str:
        """The verifier's message."""
        return self.rejection.message

    @property
    def name(self) -> str:
        """The register that the message names, "" for none."""
        found = re.search(r"\bR\d+\b", self.message)
        return self.rejection.field("reg") or (found[0] if found else "")

    @property
    def register(self) -> Register | None:
        """The register that the message names, as it was just before."""
        return next((one for one in self.registers if one.name == self.name), None)

    @property
    def callee(self) -> str:
        """The helper or kernel function that is called, "" where the instruction is no such call."""
        found = _CALL.match(self.insn)
        return found["name"] if found else ""

    @property
    def expression(self) -> str:
        """What the source line passes in that register, "" where the line does not show it."""
        given = arguments_of(self.source, self.callee) if self.callee else ()
        if not given and "probe_read" in self.callee and (macro := _MACRO.search(self.source)):
            given = arguments_of(self.source, macro[1])
        at = int(self.name[1:]) - 1 if self.name else -1
        return given[at] if 0 <= at < len(given) else ""

    @property
    def subject(self) -> str:
        """The register, with the expression of the source where it is known: ``R2 (len)``."""
        return f"{self.name} ({self.expression})" if self.expression else self.name

    @property
    def state(self) -> str:
        """``R2 (len) is a number, 0 to 4095. ``, "" where the log does not show it."""
        register = self.register
        if register is None or register.type != "scalar" or register.constant is not None:
            return ""
        return f"{self.subject} is {describe(register)} here. "


def arguments_of(source: str, callee: str) -> tuple[str, ...]:
    """The arguments of a call as the source line has them; () where the line does not have the whole call."""
    start = source.find(callee + "(")
    if start < 0:
        return ()
    found: list[str] = []
    depth, part = 0, ""
    for letter in source[start + len(callee) + 1 :]:
        if letter in ")]}" and depth == 0:
            return (*found, part.strip()) if part.strip() else tuple(found)
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            found.append(part.strip())
            part = ""
        else:
            part += letter
    return ()


def number(fault: Fault, name: str) -> int:
    """A field of the message as a number; 0 where it has none."""
    text = fault.rejection.field(name)
    return int(text) if re.fullmatch(r"-?\d+", text) else 0
