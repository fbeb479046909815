"""Get kernels from the archive into the cache: several at a time, each complete or not at all."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from pytest_ebpf.errors import ImageError, MirrorUnreachable, PackageGone
from pytest_ebpf.vm.cache import FETCHING, Entry, Store
from pytest_ebpf.vm.choose import Choice, Chosen, choose
from pytest_ebpf.vm.fetch import Item, Web, disk_full
from pytest_ebpf.vm.images import DEFAULT_CONFIG, ImageConfig, KernelImage, cached_entry, image_of
from pytest_ebpf.vm.index import SuiteIndex, load_index
from pytest_ebpf.vm.mirror import Mirror, find_mirror
from pytest_ebpf.vm.progress import Reporter, SilentReporter, Task, megabytes
from pytest_ebpf.vm.spec import PathSpec, SeriesSpec, parse_spec
from pytest_ebpf.vm.unpack import build_image

__all__ = ["fetch", "load_indexes"]

# Downloading waits for the network, unpacking for a core: four kernels keep both busy on a small machine.
_WORKERS = 4
_VMLINUX_BYTES = 150_000_000  # bzImage, vmlinux and types; no package's Installed-Size counts them


def fetch(
    specs: Iterable[str], *, config: ImageConfig = DEFAULT_CONFIG, reporter: Reporter | None = None
) -> list[KernelImage]:
    """The newest image of each spec, fetched where it is not in the cache; in the order given.

    ``host`` and paths need no fetching: ``host`` is left out, a path is opened. Without an answer from the archive,
    what the cache has is used. ImageError otherwise; the kernels that were complete by then stay.
    """
    out = SilentReporter() if reporter is None else reporter
    parsed = {text: parse_spec(text) for text in specs}
    wanted = {text: spec for text, spec in parsed.items() if isinstance(spec, SeriesSpec)}
    store = config.store
    images: dict[str, KernelImage] = {}
    if wanted:
        store.prepare()
        mirror = find_mirror(config.mirror)
        web = Web(mirror.options.proxies)
        choices = _choices(wanted, mirror=mirror, web=web, config=config, reporter=out)
        with store.share(FETCHING):
            entries = _obtain_all(choices, store=store, web=web, reporter=out)
        for text, spec in wanted.items():
            entry = entries.get(text) or cached_entry(spec, store=store)
            assert entry is not None  # _choices leaves out only what is in the cache
            images[text] = image_of(entry, spec=text)
    for text, other in parsed.items():
        if isinstance(other, PathSpec):
            from pytest_ebpf.vm.local import local_image

            images[text] = local_image(other, store=store)
    return [images[text] for text in parsed if text in images]


def _choices(
    wanted: Mapping[str, SeriesSpec], *, mirror: Mirror, web: Web, config: ImageConfig, reporter: Reporter
) -> dict[str, tuple[Choice, ...]]:
    """What fits each spec; a spec is left out when the archive does not answer and the cache has an image."""
    suites = {suite for spec in wanted.values() for suite in spec.series.suites}
    loaded = load_indexes(suites, mirror=mirror, web=web, config=config)
    indexes = {name: one for name, one in loaded.items() if isinstance(one, SuiteIndex)}
    for note in sorted({one.verified for one in indexes.values() if one.verified not in ("", "signature")}):
        reporter.say(f"note: package indexes are checked by {note}")
    for note in sorted({one.stale for one in indexes.values() if one.stale}):
        reporter.say(f"note: the archive does not answer, going by the last index ({note})")
    found = {}
    for text, spec in wanted.items():
        faults = [one for suite in spec.series.suites if isinstance(one := loaded[suite], MirrorUnreachable)]
        if not faults:
            found[text] = choose(spec, [indexes[suite] for suite in spec.series.suites])
        elif cached_entry(spec, store=config.store) is None:
            raise faults[0]
        else:
            reporter.say(f"note: {text}: using the cached kernel, the archive does not answer ({faults[0].message})")
    return found


def load_indexes(
    suites: Iterable[str], *, mirror: Mirror, web: Web, config: ImageConfig
) -> dict[str, SuiteIndex | MirrorUnreachable]:
    """Each suite's packages, in parallel, or why the archive could not be asked. Other ImageErrors are raised."""
    store = config.store

    def load(suite: str) -> SuiteIndex | MirrorUnreachable:
        try:
            return load_index(suite, mirror=mirror, store=store, web=web, max_age=config.max_age)
        except MirrorUnreachable as error:
            return error

    with _pool(web) as pool:
        jobs = {suite: pool.submit(load, suite) for suite in sorted(suites)}
        return {suite: job.result() for suite, job in jobs.items()}


def _obtain_all(
    choices: Mapping[str, tuple[Choice, ...]], *, store: Store, web: Web, reporter: Reporter
) -> dict[str, Entry]:
    """Get one image per spec. A failure is raised when the others are done: what they fetched is worth keeping."""
    with _pool(web) as pool:
        jobs = {
            text: pool.submit(_first_available, text, several, store=store, web=web, reporter=reporter)
            for text, several in choices.items()
        }
        wait(jobs.values())
        faults = {text: fault for text, job in jobs.items() if (fault := job.exception()) is not None}
        for fault in list(faults.values())[1:]:
            reporter.say(str(fault))
        for fault in faults.values():
            raise fault
        return {text: job.result() for text, job in jobs.items()}


@contextmanager
def _pool(web: Web) -> Iterator[ThreadPoolExecutor]:
    """Threads that end soon after Ctrl-C."""
    pool = ThreadPoolExecutor(_WORKERS)
    try:
        yield pool
    except BaseException:
        web.cancelled.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _first_available(text: str, choices: tuple[Choice, ...], *, store: Store, web: Web, reporter: Reporter) -> Entry:
    """The newest choice whose packages are really in the archive."""
    gone: PackageGone | None = None
    for choice in choices:
        try:
            entry = _obtain(choice, store=store, web=web, reporter=reporter, name=text)
        except PackageGone as error:
            reporter.say(f"note: {text}: {error.message}; trying an older version")
            gone = error
        else:
            store.resolve(text, entry=entry)
            return entry
    raise ImageError(f"kernel {text}: {gone}", hint="the archive is being updated: try again in a few minutes")


def _obtain(choice: Choice, *, store: Store, web: Web, reporter: Reporter, name: str) -> Entry:
    """The cache entry of ``choice``, made if missing. Other threads and processes may want the same."""
    path = store.image_path(release=choice.release, digest=choice.digest)
    if (entry := store.entry(path)) is not None:
        return entry

    def waiting() -> None:
        reporter.say(f"{name}: waiting for another process that fetches {choice.release}")

    with store.lock(path.name, waiting=waiting):
        if (entry := store.entry(path)) is not None:
            return entry
        task = reporter.task(f"{name} ({choice.release})", total=choice.size)
        entry = _entry(choice, path=path)
        with _clean(store.tmp / path.name):
            _check_space(choice, store=store)
            packages = [_download(part, store=store, web=web, task=task) for part in choice.parts]
            task.stage("unpacking")
            build_image(packages, into=store.tmp / path.name, release=choice.release, tick=web.stop_if_cancelled)
            store.publish(store.tmp / path.name, entry=entry)
            for package in packages:
                package.unlink(missing_ok=True)
        task.done("ready")
        return entry


@contextmanager
def _clean(tmp: Path) -> Iterator[None]:
    """Whatever happens inside, no half-unpacked tree is left; errors of the disk get words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(tmp.parent) from error
        raise ImageError(f"cannot unpack into the cache: {error}") from error
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def _check_space(choice: Choice, *, store: Store) -> None:
    needed = choice.size + choice.installed + _VMLINUX_BYTES
    free = shutil.disk_usage(store.root).free
    if free < needed:
        fault = disk_full(store.root)
        raise ImageError(f"{choice.release} needs {megabytes(needed)}, {megabytes(free)} are free", hint=fault.hint)


def _download(part: Chosen, *, store: Store, web: Web, task: Task) -> Path:
    package = part.package
    item = Item(f"{part.base}/{package.path}", package.sha256, package.size)
    target = store.downloads / f"{package.sha256}.deb"
    if target.exists():  # complete and checked; the run that fetched it was stopped while unpacking
        task.advance(package.size)
        return target
    web.download(item, target, advance=task.advance)
    return target


def _entry(choice: Choice, *, path: Path) -> Entry:
    rows = tuple(
        {key: value for key, value in asdict(part.package).items() if key in ("name", "version", "sha256", "size")}
        for part in choice.parts
    )
    return Entry(
        path, choice.digest, choice.series, choice.release, choice.version, choice.suite, choice.verified, rows
    )
