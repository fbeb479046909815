"""What a user types to name a kernel, as a value. Cheap and offline: used while pytest collects.

host                         the running kernel
6.1, 7.3-rc                  the newest package of a series
oldest, newest, rc           a series chosen from the catalogue; newest is never a release candidate
6.1.176, 6.1.0-50-amd64      a version or a release of a series, or how it begins
./bzImage, /boot/vmlinuz-…   a file, its modules beside it; or a built kernel tree, or an extracted directory
6.12:arm64, newest:s390x     any of the catalogue's, for another processor, which is emulated
"""

from __future__ import annotations

import re
from pathlib import Path

from pytest_ebpf.errors import ImageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.images.architecture import ARCHITECTURES, NATIVE, Architecture, find_architecture
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
    """A series of the catalogue. ``release`` is empty for "the newest", else how version or release must begin.
    ``architecture`` is Debian's name of the processor."""

    text: str
    series: Series
    release: str = ""
    architecture: str = NATIVE

    @property
    def name(self) -> str:
        """A short id for reports: ``6.1``, ``6.1.176``, ``6.12:arm64``; an alias gives its series."""
        return self.numbers + ("" if self.architecture == NATIVE else f":{self.architecture}")

    @property
    def numbers(self) -> str:
        """``name`` without the processor."""
        return self.release or self.series.name

    @property
    def flavour(self) -> str:
        """Debian's name of the kernels that fit."""
        return self.series.flavour if self.architecture == NATIVE else ARCHITECTURES[self.architecture].flavour


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
    numbers, colon, named = text.partition(":")
    if colon and Path(text).exists():
        return PathSpec(text, Path(text).absolute())
    if colon and numbers == "host":
        raise ImageError(
            f"{text!r}: the host has the processor that it has", hint=f"name a series, as in newest:{named or 'arm64'}"
        )
    architecture = find_architecture(named) if colon else ARCHITECTURES[NATIVE]
    return _series_spec(text, numbers, architecture=architecture, known=known)


def _series_spec(text: str, numbers: str, *, architecture: Architecture, known: Catalogue) -> KernelSpec:
    """``text`` is ``numbers`` with the architecture behind it, if it has one."""
    if series := known.alias(numbers, architecture=architecture.name):
        return SeriesSpec(text, series, architecture=architecture.name)
    match = _VERSION.fullmatch(numbers)
    if match is None:
        if text and Path(text).exists():
            return PathSpec(text, Path(text).absolute())
        known.find(numbers)
        raise ImageError(f"{text!r} is not a kernel spec")
    rc = match["rc"] or ""
    series = known.find(match["series"] + ("-rc" if rc else ""))
    if architecture.name not in series.architectures:
        having = ", ".join(one.name for one in known.series if architecture.name in one.architectures)
        raise ImageError(
            f"{text}: Debian has no kernel {series.name} for {architecture.name}",
            hint=f"{architecture.name} has {having or 'none'}; {series.name} has {', '.join(series.architectures)}",
        )
    whole = not match["rest"] and rc in ("", "-rc", "~rc")
    return SeriesSpec(text, series, "" if whole else numbers, architecture.name)


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
