"""Suggestions for a name that does not exist, in one wording for every message."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["close_names", "did_you_mean", "suggestion"]

_CUTOFF = 0.6  # difflib's own: the share of characters that two names have in common
_MOST_LISTED = 40


def close_names(name: str, known: Iterable[str], *, most: int = 3, cutoff: float = _CUTOFF) -> list[str]:
    """The ``known`` names most like ``name``, best first, at most ``most``."""
    from difflib import get_close_matches  # 2 ms, and only an error needs it

    return get_close_matches(name, list(known), n=most, cutoff=cutoff)


def suggestion(names: Iterable[str]) -> str:
    """ "did you mean a or b?", or "" for no names."""
    meant = " or ".join(names)
    return f"did you mean {meant}?" if meant else ""


def did_you_mean(
    name: str, known: Iterable[str], *, most: int = 3, cutoff: float = _CUTOFF, otherwise: str | None = None
) -> str:
    """A hint for an unknown ``name``: "did you mean a or b?" where known names resemble it.

    Where none does: ``otherwise``, or by default the list of the known names ("known: a, b, c", "known: none").
    """
    names = list(dict.fromkeys(known))
    near = suggestion(close_names(name, names, most=most, cutoff=cutoff))
    if near or otherwise is not None:
        return near or otherwise or ""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f"known: {', '.join(names[:_MOST_LISTED]) or 'none'}{more}"
