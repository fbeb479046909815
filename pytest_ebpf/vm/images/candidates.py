"""Suites' packages + a spec -> the kernels that fit, newest first. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from pytest_ebpf.errors import ImageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.images.architecture import NATIVE
from pytest_ebpf.vm.images.catalogue import Part
from pytest_ebpf.vm.images.index import Package, SuiteIndex
from pytest_ebpf.vm.images.spec import SeriesSpec, version_matches

__all__ = ["Choice", "Chosen", "choose", "newest_first"]

_UNPACK_FORMAT = 1  # part of the digest: raise it when the layout of an unpacked image changes


@dataclass(frozen=True, slots=True)
class Chosen:
    """A package with the archive it is in."""

    role: str
    base: str
    package: Package


@dataclass(frozen=True, slots=True)
class Choice:
    """One kernel that fits: its packages, all of one version from one suite."""

    series: str
    release: str
    version: str
    suite: str
    verified: str
    parts: tuple[Chosen, ...]
    architecture: str = NATIVE

    @property
    def digest(self) -> str:
        """Identity of the unpacked image: the hashes of what is in it."""
        hashes = sorted(part.package.sha256 for part in self.parts)
        return hashlib.sha256("\n".join([str(_UNPACK_FORMAT), *hashes]).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(part.package.size for part in self.parts)

    @property
    def installed(self) -> int:
        """Bytes on disk, as the packages say; image and types in uncompressed form come on top."""
        return sum(part.package.installed for part in self.parts)


def choose(spec: SeriesSpec, indexes: Iterable[SuiteIndex]) -> tuple[Choice, ...]:
    """Every complete kernel that fits ``spec``, newest first; of equals the first suite wins. ImageError if none."""
    suites = list(indexes)
    incomplete: list[str] = []
    found = [choice for index in suites for choice in _choices(spec, index, incomplete=incomplete)]
    if found:
        return tuple(newest_first(found))
    wanted = spec.name if not spec.release else f"{spec.name} (series {spec.series.name})"
    if incomplete:
        raise ImageError(
            f"kernel {wanted}: the archive has only parts of it: {incomplete[0]}",
            hint="superseded kernels are taken from the archive in pieces: choose a neighbouring series "
            "(`pytest-ebpf kernels list --refresh` shows what there is)",
        )
    where = ", ".join(f"{one.suite}{'' if one.packages else ' (not in this archive)'}" for one in suites)
    raise ImageError(
        f"kernel {wanted}: no package in {where}",
        hint="archives drop superseded versions; `pytest-ebpf kernels list --refresh` shows what there is",
    )


def newest_first(choices: Iterable[Choice]) -> list[Choice]:
    """Sorted by Debian version comparison, stable for equals."""
    from debian.debian_support import Version

    return sorted(choices, key=lambda one: Version(one.version), reverse=True)


def _choices(spec: SeriesSpec, index: SuiteIndex, *, incomplete: list[str]) -> Iterator[Choice]:
    series = spec.series
    parts = [(part, _candidates(part, spec, index=index)) for part in series.parts]
    first, *others = parts
    for (release, version), package in first[1].items():
        if spec.release and not _fits(spec.release, release, version=version):
            continue
        chosen = [Chosen(first[0].role, index.base, package)]
        for part, candidates in others:
            if (other := candidates.get((release, version))) is not None:
                chosen.append(Chosen(part.role, index.base, other))
            else:
                incomplete.append(f"{package.name} {version} without {part.names[0].format(release)}")
                break
        else:
            found = (release, version, index.suite, index.verified, tuple(chosen), spec.architecture)
            yield Choice(series.name, *found)


def _fits(wanted: str, release: str, *, version: str) -> bool:
    return version_matches(version, prefix=wanted) or version_matches(release, prefix=wanted)


def _candidates(part: Part, spec: SeriesSpec, *, index: SuiteIndex) -> dict[tuple[str, str], Package]:
    """A part's packages in a suite by (release, version); where two names exist, the first in the catalogue's order."""
    series = spec.series
    found: dict[tuple[str, str], Package] = {}
    for name in reversed(part.names):
        pattern = re.compile(re.escape(name).replace(r"\{\}", _release_pattern(spec.flavour)))
        for package in index.packages:
            match = pattern.fullmatch(package.name)
            # linux-image-6.1-amd64 and the like are meta packages: they only depend on the real one
            if match and version_matches(package.version, prefix=series.version) and not _is_meta(package):
                found[match["release"], package.version] = package
    return found


def _release_pattern(flavour: str) -> str:
    """Releases like 6.1.0-50-amd64, 6.1.0-0.deb11.52-amd64, 6.12.117+deb13-amd64, 7.3-rc7-amd64; not …-rt-amd64."""
    return rf"(?P<release>\d[\w.+~]*(?:-(?:\d|rc)[\w.]*)*-{re.escape(flavour)})"


def _is_meta(package: Package) -> bool:
    return "linux-image-" in package.depends
