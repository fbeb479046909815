"""Names of capabilities as a bit mask."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.uapi.capabilities import Capability

__all__ = ["CAPABILITIES", "capability_bits"]

CAPABILITIES: tuple[str, ...] = tuple(one.name.lower() for one in Capability)


def capability_bits(names: Iterable[str]) -> int:
    """A bit for each: "CAP_NET_ADMIN" and "net_admin" are the same. ``BpfUsageError`` names the nearest that there
    is."""
    if isinstance(names, str):
        raise BpfUsageError(f"capabilities= is a list of names, not {names!r}")
    bits = 0
    for name in names:
        plain = str(name).lower().removeprefix("cap_")
        if plain not in CAPABILITIES:
            close = get_close_matches(plain, CAPABILITIES, n=2)
            meant = " or ".join(f"CAP_{one.upper()}" for one in close)
            raise BpfUsageError(f"there is no capability {name!r}", hint=f"Did you mean {meant}?" if meant else "")
        bits |= 1 << Capability[plain.upper()]
    return bits
