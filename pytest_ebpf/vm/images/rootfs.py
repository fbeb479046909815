"""The minimal root of guests of another architecture: Python, a shell, kmod, out of Debian's packages.

A guest of this machine's architecture sees this machine's root. Another one cannot run these programs, so it gets a
root of its own, in the cache as ``roots/<architecture>-<digest>``. The same packages of x86-64 are kept beside it:
their Python runs here, and makes the agent's byte code for the other, which depends on the version of Python alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_ebpf.errors import ImageError, PackageGone
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.images.architecture import NATIVE
from pytest_ebpf.vm.images.archive import extract
from pytest_ebpf.vm.images.cache import Store
from pytest_ebpf.vm.images.download import Item, Web
from pytest_ebpf.vm.images.index import Package, SuiteIndex, Wanted
from pytest_ebpf.vm.images.progress import Reporter

__all__ = ["ROOT_SUITES", "Rooted", "obtain_root", "root_of", "wanted_for"]

# The suites that belong together, best first. riscv64 became an architecture of Debian with trixie. A mirror may lack
# packages of an architecture in one suite and have them in the next.
ROOT_SUITES = (("trixie-security", "trixie"), ("forky",), ("sid",))
_PYTHON = "3.13"  # in all of them
_PYTHON_PACKAGES = ("minimal", "stdlib")
_PACKAGES = (
    f"python{_PYTHON}-minimal",
    *(f"libpython{_PYTHON}-{part}" for part in _PYTHON_PACKAGES),
    *("libc6", "zlib1g", "libexpat1", "libffi8"),  # what the agent's Python maps
    *("libbz2-1.0", "liblzma5", "libzstd1", "libssl3t64", "libcrypt1", "libuuid1"),  # its library, and kmod
    *("kmod", "libkmod2", "busybox-static", "bash", "libtinfo6", "netbase"),
)
_FORMAT = 2  # of an unpacked root
_READY = "ready"
_TOPS = ("bin", "sbin", "lib", "lib64")  # links into usr/, as base-files makes them
# Places to mount something on, and files that programs look for.
_FOLDERS = ("etc", "usr/lib/modules", "usr/lib64", "usr/sbin")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
_WORKERS = 4
# Names of busybox's programs that commands of tests may use.
_APPLETS = """
sh ash awk basename cat chmod chown chroot cp cut date dd df dirname dmesg du echo env expr false find free grep gunzip
gzip head hostname id ifconfig ip kill killall ln ls mkdir mkfifo mknod mktemp mount mv nc nproc od pgrep pidof ping
ping6 pkill printf ps pwd readlink realpath rm rmdir route sed seq setsid sha256sum sleep sort stat sync sysctl tail tar
tee telnet test timeout touch tr true truncate tty umount uname uniq uptime usleep vi watch wc wget which xargs yes zcat
"""


@dataclass(frozen=True, slots=True)
class Rooted:
    """What a guest of another architecture needs besides its kernel: its ``root``, and the ``twin``, the same packages
    of this machine's architecture. ``python`` is a path in both."""

    root: Path
    twin: Path
    python: str = f"/usr/bin/python{_PYTHON}"


def wanted_for(architecture: str) -> list[Wanted]:
    """The indexes to ask for the root of an architecture, its twin's included."""
    names = "|".join(map(re.escape, _PACKAGES))
    return [Wanted(one, name, names) for name in (architecture, NATIVE) for suites in ROOT_SUITES for one in suites]


def root_of(architecture: str, *, store: Store) -> Rooted | None:
    """What is in the cache; None if it is not complete, or for this machine's own architecture."""
    root, twin = _newest(store, architecture), _newest(store, NATIVE)
    return Rooted(root, twin) if root is not None and twin is not None else None


def _newest(store: Store, architecture: str) -> Path | None:
    found = [path for path in store.roots.glob(f"{architecture}-*") if (path / _READY).is_file()]
    return max(found, key=lambda path: (path / _READY).stat().st_mtime, default=None)


def obtain_root(
    architecture: str, indexes: Mapping[Wanted, SuiteIndex], *, store: Store, web: Web, reporter: Reporter
) -> Rooted:
    """The root of an architecture and its twin, made where they are missing or superseded."""
    asked = wanted_for(architecture)
    found = {}
    for name in (architecture, NATIVE):
        known = {one.suite: indexes[one] for one in asked if one.architecture == name and one in indexes}
        found[name] = _first(name, known, store=store, web=web, reporter=reporter)
    return Rooted(found[architecture], found[NATIVE])


def _first(architecture: str, known: Mapping[str, SuiteIndex], *, store: Store, web: Web, reporter: Reporter) -> Path:
    """From the first suites that really have it. ``known`` is by suite."""
    faults: list[ImageError] = []
    for suites in ROOT_SUITES:
        try:
            several = [known[suite] for suite in suites if suite in known]
            return _obtain(architecture, several, store=store, web=web, reporter=reporter)
        except (PackageGone, _Lacking) as error:
            faults.append(error)
            reporter.say(f"note: root of {architecture}: {' and '.join(suites)}: {error.message}")
    raise faults[0]


class _Lacking(ImageError):
    """The suites do not have all that a root takes."""


def _obtain(architecture: str, indexes: Iterable[SuiteIndex], *, store: Store, web: Web, reporter: Reporter) -> Path:
    chosen = _choose(architecture, indexes)
    hashes = sorted(package.sha256 for _, package in chosen)
    digest = hashlib.sha256("\n".join([str(_FORMAT), *_FILES, *hashes]).encode()).hexdigest()[:16]
    home = store.roots / f"{architecture}-{digest}"
    with store.lock(f"root-{home.name}", tick=web.stop_if_cancelled):
        if (home / _READY).is_file():
            os.utime(home / _READY)
            return home
        total = sum(package.size for _, package in chosen)
        task = reporter.task(f"root of {architecture}", total=total)
        items = [Item(f"{base}/{package.path}", package.sha256, package.size) for base, package in chosen]
        targets = [store.downloads / f"{item.sha256}.deb" for item in items]
        with ThreadPoolExecutor(_WORKERS) as pool:
            jobs = zip(items, targets, strict=True)
            list(pool.map(lambda job: web.download(job[0], job[1], advance=task.advance), jobs))
        task.stage("unpacking")
        scratch = store.tmp / home.name
        _build(targets, into=scratch)
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        scratch.rename(home)
        for target in targets:
            target.unlink(missing_ok=True)
        task.done("ready")
    return home


def _choose(architecture: str, indexes: Iterable[SuiteIndex]) -> list[tuple[str, Package]]:
    """(base of the archive, package): the newest of each name. ImageError names those that the archive lacks."""
    from debian.debian_support import Version

    best: dict[str, tuple[str, Package]] = {}
    for index in indexes:
        for package in index.packages:
            had = best.get(package.name)
            if had is None or Version(package.version) > Version(had[1].version):
                best[package.name] = (index.base, package)
    if missing := [name for name in _PACKAGES if name not in best]:
        suites = " and ".join(ROOT_SUITES[0])
        raise _Lacking(
            f"no root for {architecture} guests: the archive lacks {', '.join(missing)}",
            hint=f"the mirror must have {suites} for {architecture} and {NATIVE}",
        )
    return [best[name] for name in _PACKAGES]


def _build(packages: Iterable[Path], *, into: Path) -> None:
    """Unpack into the directory ``into``, emptied first."""
    shutil.rmtree(into, ignore_errors=True)
    for folder in _FOLDERS:
        (into / folder).mkdir(parents=True)
    for package in packages:
        extract(package, into=into, place=_place, links=True)
    for top in _TOPS:
        (into / top).symlink_to(f"usr/{top}")
    for name, text in _FILES.items():
        (into / name).write_text(text)
    _name_applets(into)
    (into / _READY).touch()


def _place(name: str) -> str | None:
    """Where a package's file goes: below /usr, without documentation; None for what is not needed."""
    name = name if name.startswith(("usr/", "etc/")) else f"usr/{name}"
    return None if name.startswith("usr/share/") else name


def _name_applets(root: Path) -> None:
    """Names of busybox's programs, for what no package brought."""
    for name in _APPLETS.split():
        places = [root / "usr" / folder / name for folder in ("bin", "sbin")]
        if not any(os.path.lexists(place) for place in places):
            places[0].symlink_to("busybox")
    if not os.path.lexists(root / "usr/bin/python3"):
        (root / "usr/bin/python3").symlink_to(f"python{_PYTHON}")
