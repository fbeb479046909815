"""Register and stack states as values: ``R0=map_value(map=counts,ks=4,vs=8) fp-8=mmmm???? refs=2``.

The spelling differs per kernel (``kernel/bpf/log.c``): numbers are ``inv`` up to 5.17 and ``scalar`` since, liveness is
a suffix of the name up to 6.17 (``R1_w=``), a known number stands bare, precise ones have a ``P`` before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_ebpf.frozen import dataclass

__all__ = ["Register", "State", "parse_register", "parse_state"]

# Values hold spaces only inside brackets: var_off=(0x0; 0xff).
_SLOT = re.compile(r"(R\d+|fp-?\d+)(?:_([a-zA-Z]+))?=((?:[^\s()]+|\((?:[^()]|\([^()]*\))*\))*)")
_FRAME = re.compile(r"\s*frame(\d+):")
_REFS = re.compile(r"refs=([\d,]+)")
_CONSTANT = re.compile(r"(P?)(-?(?:0x[0-9a-f]+|\d+))$")
_FRAME_POINTER = re.compile(r"fp(?:\[(\d+)\])?([+-]?\d+)?$")
_KIND = re.compile(r"(P?)([a-zA-Z_][\w.-]*|fp\[\d+\])?(?:\((.*)\))?$")
# inv7, invP7: how a known number was spelt up to 5.17
_OLD_CONSTANT = re.compile(r"inv(P?)(-?\d+)$")


@dataclass(frozen=True, slots=True)
class Register:
    """What a register or stack slot holds.

    ``name`` is R0 ... R10 or fp-8. ``type`` is the kernel's name in its newest spelling: scalar, ctx, fp, map_value,
    map_value_or_null, ...; for a stack slot of bytes ``bytes`` (``mmmm????``: m written, 0 zero, ? never written).
    ``constant`` is the value of a known number. ``attributes`` are what the brackets hold, in order and in the
    kernel's names. ``liveness`` is the suffix (r read, w written), "" where the kernel prints none. ``text`` is all.
    """

    name: str
    type: str
    text: str
    constant: int | None = None
    precise: bool = False
    attributes: tuple[tuple[str, str], ...] = ()
    liveness: str = ""

    def attribute(self, name: str) -> str:
        """The attribute of that name, "" when there is none."""
        return dict(self.attributes).get(name, "")

    def __str__(self) -> str:
        return f"{self.name}={self.text}"


@dataclass(frozen=True, slots=True)
class State:
    """A state as printed: all registers that the line names, the frame it is about, and the references held."""

    registers: tuple[Register, ...] = ()
    frame: int = 0
    refs: tuple[int, ...] = ()

    def get(self, name: str) -> Register | None:
        """The register or slot of that name."""
        return next((register for register in self.registers if register.name == name), None)


def parse_state(text: str) -> State:
    """The state in a line or in the comment of an instruction; text that is not a register is ignored. Never raises."""
    frame = _FRAME.match(text)
    refs = _REFS.search(text)
    return State(
        tuple(parse_register(name, value, liveness=live) for name, live, value in _SLOT.findall(text)),
        int(frame[1]) if frame else 0,
        tuple(int(number) for number in refs[1].split(",") if number) if refs else (),
    )


def parse_register(name: str, value: str, *, liveness: str = "") -> Register:
    """One ``name=value``."""
    if found := _OLD_CONSTANT.match(value) or _CONSTANT.match(value):
        return Register(name, "scalar", value, _number(found[2]), bool(found[1]), (), liveness)
    if found := _FRAME_POINTER.match(value):
        return Register(name, "fp", value, None, False, (("off", found[2] or "0"),), liveness)
    found = _KIND.match(value)
    if found is None or (name.startswith("fp") and _is_bytes(value)):
        return Register(name, "bytes" if name.startswith("fp") else "", value, liveness=liveness)
    kind = "scalar" if found[2] in ("inv", None) else found[2].removeprefix("P")
    return Register(name, kind, value, None, bool(found[1]), tuple(_attributes(found[3] or "")), liveness)


def _number(text: str) -> int:
    return int(text, 16) if "x" in text else int(text)


def _is_bytes(value: str) -> bool:
    """Eight letters, one per byte; a byte may be followed by the number saved there (``mmmmscalar(...)``)."""
    return re.match(r"[m0?rdifp]{4}(?:[m0?rdifp]{4}$|\w*\()", value) is not None


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    """``smin=smin32=0,var_off=(0x0; 0xff)`` as pairs; equal values are printed once behind both names."""
    for part in re.findall(r"(?:[^,()]|\([^()]*\))+", text):
        *names, value = part.split("=")
        for name in names:
            yield name.strip(), value
