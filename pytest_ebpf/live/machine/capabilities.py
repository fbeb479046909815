"""Names of capabilities as a bit mask."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.suggest import close_names, suggestion
from pytest_ebpf.uapi.capabilities import Capability

__all__ = ["CAPABILITIES", "capability_bits"]

CAPABILITIES: tuple[str, ...] = tuple(one.name.lower() for one in Capability)


def capability_bits(names: Iterable[str]) -> int:
    """A bit for each: "CAP_NET_ADMIN" and "net_admin" are the same. ``BpfUsageError`` names the most
    similar one."""
    if isinstance(names, str):
        raise BpfUsageError(f"capabilities= expects a list of names, got {names!r}")
    bits = 0
    for name in names:
        plain = str(name).lower().removeprefix("cap_")
        if plain not in CAPABILITIES:
            near = suggestion(f"CAP_{each.upper()}" for each in close_names(plain, CAPABILITIES, most=2))
            raise BpfUsageError(f"there is no capability {name!r}", hint=near)
        bits |= 1 << Capability[plain.upper()]
    return bits
