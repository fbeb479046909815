"""Whether a kernel version is meant by ">=5.15,<6.12"."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["fits"]


def fits(version: str, specifiers: str) -> bool | None:
    """Whether a kernel fits; None when its version is not known (precisely enough) before it boots.

    A specifier of two numbers is about series: 6.1.176 is ``==6.1`` and ``<=6.1`` and not ``>6.1``.
    """
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    if not version:
        return None
    known = version.split(".")
    open_ = False
    for specifier in SpecifierSet(specifiers):
        parts = specifier.version.removesuffix(".*").split(".")
        if len(parts) > len(known):
            open_ = open_ or _same_series(parts, known)
            if _same_series(parts, known):
                continue
        shortened = ".".join(known[: max(len(parts), 2)])
        if not specifier.contains(Version(shortened), prereleases=True):
            return False
    return None if open_ else True


def _same_series(parts: Sequence[str], known: Sequence[str]) -> bool:
    return list(parts[: len(known)]) == list(known)
