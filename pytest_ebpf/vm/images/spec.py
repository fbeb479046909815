"""What a user types to name a kernel, as a value. Cheap and offline: used while pytest collects.

host                         the running kernel
6.1, 7.3-rc                  the newest package of a series
oldest, newest, rc           a series chosen from the catalogue; newest is never a release candidate
6.1.176, 6.1.0-50-amd64      a version or a release of a series, or how it begins
./bzImage, /boot/vmlinuz-…   a file, its modules beside it; or a built kernel tree, or an extracted directory
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.catalogue import Catalogue, Series, load_catalogue

__all__ = ["HostSpec", "KernelSpec", "PathSpec", "SeriesSpec", "parse_spec", "version_matches"]

_VERSION = re.compile(r"(?P<series>\d+\.\d+)(?P<rc>[-~]rc\d*)?(?P<rest>([.+~-].*)?)")


@dataclass(frozen=True, slots=True)
class HostSpec:
    """The running kernel: it has no image."""

    text: str

    @property
    def name(self) -> str:
        return "host"


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """A series of the catalogue. ``release`` is empty for "the newest", else how version or release must begin."""

    text: str
    series: Series
    release: str = ""

    @property
    def name(self) -> str:
        """A short id for reports: ``6.1``, ``6.1.176``; an alias gives its series."""
        return self.release or self.series.name


@dataclass(frozen=True, slots=True)
class PathSpec:
    """A kernel of the user's own."""

    text: str
    path: Path

    @property
    def name(self) -> str:
        return self.path.name or self.text


KernelSpec = HostSpec | SeriesSpec | PathSpec


def parse_spec(text: str, *, catalogue: Catalogue | None = None) -> KernelSpec:
    """Text to spec. ImageError for an unknown series (lists those known) and for text that is not a spec."""
    text = text.strip()
    if text == "host":
        return HostSpec(text)
    if "/" in text or text.startswith((".", "~")):
        return PathSpec(text, Path(text).expanduser().absolute())
    known = load_catalogue() if catalogue is None else catalogue
    if series := known.alias(text):
        return SeriesSpec(text, series)
    match = _VERSION.fullmatch(text)
    if match is None:
        if text and Path(text).exists():
            return PathSpec(text, Path(text).absolute())
        known.find(text)
        raise ImageError(f"{text!r} is not a kernel spec")
    rc = match["rc"] or ""
    series = known.find(match["series"] + ("-rc" if rc else ""))
    whole = not match["rest"] and rc in ("", "-rc", "~rc")
    return SeriesSpec(text, series, "" if whole else text)


def version_matches(version: str, *, prefix: str) -> bool:
    """Whether a Debian version (or a release) begins with ``prefix`` at a boundary: 6.1 fits 6.1.176-1, never 6.12-1.

    The stable prefix 7.3 does not fit 7.3~rc7-1, the candidate prefix 7.3-rc7 does.
    """
    wanted = re.sub(r"-(rc\d*)", r"~\1", prefix, count=1)
    had = re.sub(r"-(rc\d*)", r"~\1", version, count=1)
    if not had.startswith(wanted):
        return False
    after = had[len(wanted) : len(wanted) + 1]
    if after == "~" and "~rc" not in wanted:
        return not had[len(wanted) :].startswith("~rc")
    return not (wanted[-1].isdigit() and after.isdigit())
