"""How fast guests are on this machine, as measured: every deadline follows it.

A guest that took three times as long as usual to get ready (a slow machine, or a busy one) gets three times as long for
everything else. The pace of the last guests is kept, so that the first deadline of a run, that of its first boot, knows
it too. On a machine as fast as the usual one, or faster, deadlines are what they are.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import MappingProxyType

from pytest_ebpf.files import replace_file

__all__ = ["keep_pace", "kept_pace", "pace_of"]

# Seconds from QEMU's start to an agent that listens, on the machine that the deadlines were thought out on.
_USUAL = MappingProxyType(
    {("tcg", "cold"): 4.5, ("tcg", "stock"): 10.0, ("tcg", "warm"): 0.6, ("kvm", "cold"): 1.5, ("kvm", "warm"): 0.4}
)
_SLOWEST = 8.0
_KEPT = 5
_FILE = "pace.json"


def pace_of(seconds: float, *, kind: str, way: str) -> float:
    """How many times slower than usual a guest got ready; 1 to 8."""
    return min(_SLOWEST, max(1.0, seconds / _USUAL.get((kind, way), seconds or 1.0)))


def kept_pace(cache: Path, *, kind: str) -> float:
    """The median of the last guests; 1 where nothing is known."""
    paces = sorted(_read(cache).get(kind, ()))
    return paces[len(paces) // 2] if paces else 1.0


def keep_pace(cache: Path, pace: float, *, kind: str) -> None:
    """Add a guest. A cache that cannot be written to costs the next run its knowledge."""
    kept = _read(cache)
    kept[kind] = [*kept.get(kind, ()), round(pace, 2)][-_KEPT:]
    with contextlib.suppress(OSError):
        replace_file(cache / _FILE, json.dumps(kept) + "\n")


def _read(cache: Path) -> dict[str, list[float]]:
    """What is there and has the right form."""
    try:
        found = json.loads((cache / _FILE).read_text())
        return {str(kind): [min(_SLOWEST, max(1.0, float(one))) for one in paces] for kind, paces in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
