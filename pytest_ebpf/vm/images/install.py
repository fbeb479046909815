"""One chosen kernel: download its packages, unpack them, publish the image. What is in the cache is not fetched."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_ebpf.errors import ImageError, MirrorUnreachable, PackageGone
from pytest_ebpf.frozen import asdict, dataclass
from pytest_ebpf.vm.images.architecture import NATIVE
from pytest_ebpf.vm.images.cache import Entry, Store
from pytest_ebpf.vm.images.candidates import Choice, Chosen
from pytest_ebpf.vm.images.download import Item, Web, disk_full, file_sha256
from pytest_ebpf.vm.images.progress import Reporter, Task, megabytes
from pytest_ebpf.vm.images.resolve import cached_entry
from pytest_ebpf.vm.images.spec import SeriesSpec
from pytest_ebpf.vm.images.unpack import build_foreign_image, build_image

__all__ = ["Obtainer"]

_VMLINUX_BYTES = 150_000_000  # bzImage, vmlinux and types; no package's Installed-Size counts them
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Obtainer:
    """Works for several threads at once; other processes may want the same kernel at the same time."""

    store: Store
    web: Web
    reporter: Reporter

    def newest(self, spec: SeriesSpec, choices: Iterable[Choice]) -> Entry:
        """The first of ``choices`` whose packages are really in the archive; the spec's lock file names it then.

        If the archive stops answering, an older image in the cache does.
        """
        gone: PackageGone | None = None
        for choice in choices:
            try:
                entry = self.obtain(choice, name=spec.text)
            except PackageGone as error:
                self.reporter.say(f"note: {spec.text}: {error.message}; trying an older version")
                gone = error
            except MirrorUnreachable as error:
                return self._older(spec, fault=error)
            else:
                self.store.resolve(spec.text, entry=entry)
                return entry
        hint = "the archive is being updated: try again in a few minutes"
        raise ImageError(f"kernel {spec.text}: {gone}", hint=hint) from gone

    def _older(self, spec: SeriesSpec, *, fault: MirrorUnreachable) -> Entry:
        entry = cached_entry(spec, store=self.store)
        if entry is None:
            raise fault
        self.reporter.say(f"note: {spec.text}: using the cached {entry.release}: {fault.message}")
        return entry

    def obtain(self, choice: Choice, *, name: str) -> Entry:
        """The cache entry of ``choice``, made if missing."""
        path = self.store.image_path(release=choice.release, digest=choice.digest)
        if (entry := self.store.entry(path)) is not None:
            return entry

        def waiting() -> None:
            self.reporter.say(f"{name}: waiting for another process that fetches {choice.release}")

        with self.store.lock(path.name, waiting=waiting, tick=self.web.stop_if_cancelled):
            if (entry := self.store.entry(path)) is not None:
                return entry
            with _words_for_disk(self.store.root):
                self._check_space(choice)
                return self._make(choice, path=path, name=name)

    def _make(self, choice: Choice, *, path: Path, name: str) -> Entry:
        """Download, unpack, publish. Whatever happens, no half-unpacked tree is left."""
        task = self.reporter.task(f"{name} ({choice.release})", total=choice.size)
        tmp = self.store.tmp / path.name
        entry = _entry(choice, path=path)
        try:
            packages = [self._download(part, task=task) for part in choice.parts]
            task.stage("unpacking")
            build = build_image if choice.architecture == NATIVE else build_foreign_image
            build(packages, into=tmp, release=choice.release, tick=self.web.stop_if_cancelled)
            self.store.publish(tmp, entry=entry)
        except OSError as error:
            # on a full disk remove the packages; after other errors they save a download
            if error.errno in _NO_SPACE:
                self._drop_packages(choice)
            raise
        finally:
            shutil.rmtree(tmp, ignore_errors=True)
        self._drop_packages(choice)
        task.done("ready")
        return entry

    def _drop_packages(self, choice: Choice) -> None:
        for part in choice.parts:
            self._target(part).unlink(missing_ok=True)

    def _target(self, part: Chosen) -> Path:
        return self.store.downloads / f"{part.package.sha256}.deb"

    def _download(self, part: Chosen, *, task: Task) -> Path:
        package = part.package
        target = self._target(part)
        # complete: the run that fetched it was stopped while it unpacked
        if target.exists() and file_sha256(target) == package.sha256:
            task.advance(package.size)
        else:
            item = Item(f"{part.base}/{package.path}", package.sha256, package.size)
            self.web.download(item, target, advance=task.advance)
        return target

    def _check_space(self, choice: Choice) -> None:
        needed = choice.size + choice.installed + _VMLINUX_BYTES
        free = shutil.disk_usage(self.store.root).free
        if free < needed:
            where = self.store.root
            message = f"{choice.release} needs {megabytes(needed)}, the disk of {where} has {megabytes(free)} free"
            raise ImageError(message, hint=disk_full(where).hint)


@contextmanager
def _words_for_disk(where: Path) -> Iterator[None]:
    """Errors of the disk get a message of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise disk_full(where) from error
        raise ImageError(f"cannot write to the cache: {error}") from error


def _entry(choice: Choice, *, path: Path) -> Entry:
    fields = ("name", "version", "sha256", "size")
    rows = tuple({key: asdict(part.package)[key] for key in fields} for part in choice.parts)
    where = (choice.release, choice.version, choice.suite, choice.verified, rows, choice.architecture)
    return Entry(path, choice.digest, choice.series, *where)
