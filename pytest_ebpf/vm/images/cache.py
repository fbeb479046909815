"""The cache on disk. Everything in it can be deleted at any time; nothing in it is ever half-written.

images/<release>-<digest>/    one kernel, complete (see unpack.py); the digest covers the packages' hashes
resolved/<spec>.json          the lock: which versions and hashes a spec stood for when it was fetched last
indexes/<archive>.json        the kernel packages of one suite; the file's time is when it was checked
downloads/<sha256>.part       packages on their way
tmp/<digest>/                 images being unpacked; the process that holds locks/<digest> may empty it
roots/<architecture>-<digest>/  what guests of other architectures have as their root (rootfs.py)
loads/                        objects as they were parsed and planned (kept_loads.py)
warm/<release>-<key>/         saved states of guests (vm/guest/snapshot.py)
locks/                        flock(2) files: the kernel drops them when a process dies, however it dies
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_ebpf.errors import ImageError
from pytest_ebpf.files import replace_file
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.images.architecture import NATIVE

__all__ = ["CACHE_VARIABLE", "FETCHING", "Entry", "Store", "default_cache", "loads_folder", "newest_series", "use_lock"]

CACHE_VARIABLE = "PYTEST_EBPF_CACHE"
FETCHING = "fetching"  # shared by everyone who fetches: downloads/ and tmp/ are theirs
_MANIFEST = "entry.json"
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# Kernel images of pytest-ebpf; safe to delete.\n"  # CACHEDIR.TAG


def newest_series(cache: Path | None = None) -> str:
    """The series of the newest kernel in a cache (default: the user's), "" where it is empty."""
    entries = Store(cache or default_cache()).entries()
    series = {entry.series for entry in entries if entry.architecture == NATIVE}
    return max(series, key=lambda name: [int(part) for part in name.split(".")], default="")


def default_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """PYTEST_EBPF_CACHE, else the user's cache directory (XDG_CACHE_HOME, ~/.cache)."""
    if named := environ.get(CACHE_VARIABLE):
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("pytest-ebpf"))


def loads_folder(cache: Path | None) -> Path:
    """Where parsed objects and plans are kept. ``cache``: None for the user's own place."""
    return (cache or default_cache()) / "loads"


def use_lock(digest: str) -> str:
    """The lock that a user of an image shares."""
    return f"use-{digest[:16]}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One unpacked kernel. ``packages`` are rows of {name, version, sha256, size}; ``verified`` says how."""

    path: Path
    digest: str
    series: str
    release: str
    version: str
    suite: str
    verified: str
    packages: tuple[Mapping[str, Any], ...]
    architecture: str = NATIVE

    @property
    def record(self) -> dict[str, Any]:
        """What the manifest and the lock files hold."""
        fields = ("digest", "series", "release", "version", "suite", "verified", "architecture")
        return {name: getattr(self, name) for name in fields} | {"packages": [dict(row) for row in self.packages]}


@dataclass(frozen=True, slots=True)
class Store:
    """A cache directory. Reading creates nothing."""

    root: Path

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def roots(self) -> Path:
        return self.root / "roots"

    @property
    def warm(self) -> Path:
        return self.root / "warm"

    def saved_states(self, release: str = "") -> list[Path]:
        """The directories of saved states of guests, of all releases or one."""
        return sorted(path for path in self.warm.glob(f"{release or '*'}-*") if (path / "memory").exists())

    def prepare(self) -> None:
        """Make the directories; ImageError when that is not possible."""
        try:
            for folder in (self.images, self.downloads, self.tmp):
                folder.mkdir(parents=True, exist_ok=True)
            tag = self.root / "CACHEDIR.TAG"
            if not tag.exists():
                tag.write_text(_TAG)
        except OSError as error:
            hint = f"name a writable directory with {CACHE_VARIABLE}"
            raise ImageError(f"cannot use the cache {self.root}: {error.strerror}", hint=hint) from error

    def entries(self) -> list[Entry]:
        """Every complete image."""
        found = (self.entry(path) for path in sorted(self.images.glob("*")))
        return [entry for entry in found if entry is not None]

    def entry(self, path: Path) -> Entry | None:
        """The image in the directory ``path``, None when there is none, or one of an older layout, or damaged."""
        record = self.read_json(path / _MANIFEST)
        try:
            whole = record is not None and record.get("files", {}).items() <= _stamps(path).items()
            return _entry(path, record) if record is not None and whole else None
        except (KeyError, TypeError, AttributeError):
            return None

    def image_path(self, *, release: str, digest: str) -> Path:
        return self.images / f"{release}-{digest[:16]}"

    def publish(self, built: Path, *, entry: Entry) -> None:
        """Move a finished tree to its place in one step. The caller holds the lock of its digest."""
        self.write_json(built / _MANIFEST, entry.record | {"files": _stamps(built)})
        if entry.path.exists():  # left by another layout of the cache, or damaged by hand
            shutil.rmtree(entry.path)
        built.rename(entry.path)

    def resolved(self, spec: str) -> Mapping[str, Any] | None:
        """The lock file of a spec, None when it was never fetched."""
        return self.read_json(self._lock_file(spec))

    def resolve(self, spec: str, *, entry: Entry) -> None:
        """Record what ``spec`` stands for from now on."""
        self.write_json(self._lock_file(spec), {"spec": spec, "image": entry.path.name} | entry.record)

    def resolved_specs(self) -> dict[str, Mapping[str, Any]]:
        """Every lock file by its spec."""
        records = (self.read_json(file) for file in sorted((self.root / "resolved").glob("*.json")))
        return {record["spec"]: record for record in records if record and "spec" in record}

    def forget(self, spec: str) -> None:
        self._lock_file(spec).unlink(missing_ok=True)

    def _lock_file(self, spec: str) -> Path:
        return self.root / "resolved" / (re.sub(r"[^\w.+~-]", "_", spec) + ".json")

    @contextlib.contextmanager
    def lock(
        self, name: str, *, waiting: Callable[[], None] = lambda: None, tick: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Hold ``locks/<name>`` against other threads and processes.

        ``waiting`` is called once if we must wait, ``tick`` again and again meanwhile; it may raise to give up.
        """
        from filelock import FileLock, Timeout

        guard = FileLock(self._flock_path(name))
        try:
            guard.acquire(timeout=0)
        except Timeout:
            waiting()
            while not guard.is_locked:
                tick()
                with contextlib.suppress(Timeout):
                    guard.acquire(timeout=0.2, poll_interval=0.05)
        try:
            yield
        finally:
            guard.release()

    @contextlib.contextmanager
    def share(self, name: str) -> Iterator[None]:
        """Hold ``locks/<name>`` together with others; ``claim`` returns False meanwhile."""
        with self._flock_path(name).open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            yield

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Whether no process shares ``locks/<name>``; inside the block none can start to."""
        with self._flock_path(name).open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _flock_path(self, name: str) -> Path:
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.lock"

    def write_json(self, path: Path, value: Mapping[str, Any]) -> None:
        """Replace a file in one step."""
        replace_file(path, json.dumps(value, indent=1) + "\n")

    def read_json(self, path: Path) -> dict[str, Any] | None:
        """A JSON object, None if the file is missing or not ours."""
        try:
            value = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None


def _stamps(path: Path) -> dict[str, list[int]]:
    """Size and date of the files of an image, in whole seconds, as archives keep them."""
    found = {file.name: file.stat() for file in path.glob("*") if file.is_file() and file.name != _MANIFEST}
    return {name: [status.st_size, int(status.st_mtime)] for name, status in found.items()}


def _entry(path: Path, record: Mapping[str, Any]) -> Entry:
    return Entry(
        path,
        record["digest"],
        record["series"],
        record["release"],
        record["version"],
        record["suite"],
        record["verified"],
        tuple(record["packages"]),
        record.get("architecture", NATIVE),
    )
