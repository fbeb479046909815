"""The kernel series we know: one TOML file each in ``vmimages/``, data only.

A file is named after its series and has four keys, and may have a fifth:

    version = "6.1"        what the Debian versions of the series begin with ("7.3~rc" for release candidates)
    flavour = "amd64"      Debian's kernel flavour; "cloud-amd64" lacks 9p (vm/guest/virtiofs.py)
    layout  = "single"     "single": one package has image and modules; "split": three packages (6.19 and later)
    suites  = ["…", …]     the suites that may hold it; those ending in -security are in the security archive
    architectures = ["…"]  the other processors that Debian builds it for (Debian's names); none if not given
"""

from __future__ import annotations

import re
from pathlib import Path

from pytest_ebpf.errors import ImageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.images.architecture import ARCHITECTURES, NATIVE

__all__ = ["LAYOUTS", "Catalogue", "Part", "Series", "catalogue_directory", "load_catalogue", "parse_series"]

_KEYS = {"version": str, "flavour": str, "layout": str, "suites": list}
_OPTIONAL = "architectures"


@dataclass(frozen=True, slots=True)
class Part:
    """One package of a kernel: what it is for and the names it may have, best first. ``{}`` is the release."""

    role: str
    names: tuple[str, ...]


# Debian's linux source package, debian/templates: up to 6.18 linux-image-<release> has everything; from 6.19 on it is
# empty and depends on three others. The signed build comes first; the unsigned one exists earlier and boots as well.
LAYOUTS: dict[str, tuple[Part, ...]] = {
    "single": (Part("image", ("linux-image-{}", "linux-image-{}-unsigned")),),
    "split": (
        Part("image", ("linux-binary-{}", "linux-binary-unsigned-{}")),
        Part("modules", ("linux-modules-{}",)),
        Part("base", ("linux-base-{}",)),  # configuration, modules.builtin, modules.order
    ),
}


@dataclass(frozen=True, slots=True)
class Series:
    """One row of the catalogue. ``name`` is what a user types: ``6.1`` or ``7.3-rc``. ``others``: architectures that it
    is built for besides x86-64."""

    name: str
    version: str
    flavour: str
    layout: str
    suites: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def is_rc(self) -> bool:
        return self.name.endswith("-rc")

    @property
    def order(self) -> tuple[int, int, bool]:
        """Sorts series by age; the candidates of a release come before it."""
        major, minor = self.name.removesuffix("-rc").split(".")
        return int(major), int(minor), not self.is_rc

    @property
    def parts(self) -> tuple[Part, ...]:
        return LAYOUTS[self.layout]

    @property
    def architectures(self) -> tuple[str, ...]:
        """Debian's names of all processors that it is built for."""
        return (NATIVE, *self.others)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All series, oldest first."""

    series: tuple[Series, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(series.name for series in self.series)

    def find(self, name: str) -> Series:
        """The series of that name, or an ImageError that lists what there is and names the nearest."""
        for series in self.series:
            if series.name == name:
                return series
        nearest = self._nearest(name)
        raise ImageError(
            f"unknown kernel series {name!r}" + (f" (the nearest is {nearest})" if nearest else ""),
            hint=f"known: {', '.join(self.names)}; aliases: oldest, newest, rc; or host, or a path with a slash",
        )

    def _nearest(self, name: str) -> str:
        """The series closest in age, empty if ``name`` is not a version."""
        match = re.match(r"(\d+)\.(\d+)", name)
        if match is None:
            return ""
        wanted = 100 * int(match[1]) + int(match[2])
        return min(self.series, key=lambda one: abs(100 * one.order[0] + one.order[1] - wanted)).name

    def alias(self, name: str, *, architecture: str = NATIVE) -> Series | None:
        """The series that an alias stands for, of those that are built for a processor. None if ``name`` is not an
        alias."""
        built = [series for series in self.series if architecture in series.architectures]
        released = [series for series in built if not series.is_rc]
        candidates = [series for series in built if series.is_rc]
        if name == "oldest" and released:
            return released[0]
        if name == "newest" and released:
            return released[-1]
        if name == "rc" and candidates:
            return candidates[-1]
        return None


def catalogue_directory() -> Path:
    """Where the TOML files are: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).parents[2]
    for candidate in (package / "_vmimages", package.parent / "vmimages"):
        if candidate.is_dir():
            return candidate
    raise ImageError("the kernel catalogue (vmimages/) is missing", hint="reinstall pytest-ebpf")


def load_catalogue(directory: Path | None = None) -> Catalogue:
    """Read every ``*.toml`` of ``directory`` (default: ours). A few milliseconds; no network."""
    folder = catalogue_directory() if directory is None else directory
    series = [parse_series(file.stem, file.read_bytes()) for file in folder.glob("*.toml")]
    return Catalogue(tuple(sorted(series, key=lambda one: one.order)))


def parse_series(name: str, data: bytes) -> Series:
    """One TOML file to a row. ImageError names the file and the key at fault."""
    import tomllib

    where = f"vmimages/{name}.toml"
    if not re.fullmatch(r"\d+\.\d+(-rc)?", name):
        raise ImageError(f"{where}: a file is named after its series, like 6.1.toml or 7.3-rc.toml")
    try:
        table = tomllib.loads(data.decode())
    except ValueError as error:
        raise ImageError(f"{where}: {error}") from error
    if unknown := sorted(table.keys() - _KEYS.keys() - {_OPTIONAL}):
        raise ImageError(
            f"{where}: unknown key {', '.join(unknown)}", hint=f"known keys: {', '.join([*_KEYS, _OPTIONAL])}"
        )
    for key, kind in _KEYS.items():
        if not isinstance(table.get(key), kind) or not table[key]:
            raise ImageError(f"{where}: {key} must be a non-empty {'list' if kind is list else 'string'}")
    if table["layout"] not in LAYOUTS:
        raise ImageError(f"{where}: unknown layout {table['layout']!r}", hint=f"known: {', '.join(LAYOUTS)}")
    if not all(isinstance(suite, str) for suite in table["suites"]):
        raise ImageError(f"{where}: suites must be a list of strings")
    others = table.get(_OPTIONAL, [])
    if not isinstance(others, list) or not set(others) <= ARCHITECTURES.keys() - {NATIVE}:
        known = ", ".join(ARCHITECTURES.keys() - {NATIVE})
        raise ImageError(f"{where}: {_OPTIONAL} must be a list of Debian's names of processors", hint=f"known: {known}")
    return Series(name, table["version"], table["flavour"], table["layout"], tuple(table["suites"]), tuple(others))
