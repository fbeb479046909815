"""What a row about a loader's report is."""

from __future__ import annotations

from pytest_ebpf.frozen import dataclass

__all__ = ["LoaderRule"]


@dataclass(frozen=True, slots=True)
class LoaderRule:
    """One report of a loader. ``pattern`` is searched in all that the loader printed; its groups fill ``headline`` and
    ``advice``. ``verdict`` is ``unknown`` where no kernel refused a program. ``source`` names who prints it."""

    id: str
    verdict: str
    cls: str
    kind: str
    pattern: str
    headline: str
    advice: str
    source: str
