"""Get kernels from the archive into the cache: several at a time, each complete or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

from pytest_ebpf.errors import ImageError, MirrorUnreachable
from pytest_ebpf.vm.images.architecture import NATIVE
from pytest_ebpf.vm.images.cache import FETCHING, Entry, Store
from pytest_ebpf.vm.images.candidates import Choice, choose
from pytest_ebpf.vm.images.download import Web
from pytest_ebpf.vm.images.image import DEFAULT_CONFIG, ImageConfig, KernelImage, image_of
from pytest_ebpf.vm.images.index import SuiteIndex, Wanted, load_index
from pytest_ebpf.vm.images.install import Obtainer
from pytest_ebpf.vm.images.mirror import Mirror, find_mirror
from pytest_ebpf.vm.images.progress import Reporter, SilentReporter
from pytest_ebpf.vm.images.resolve import cached_entry, resolve
from pytest_ebpf.vm.images.rootfs import obtain_root, root_of, wanted_for
from pytest_ebpf.vm.images.spec import HostSpec, PathSpec, SeriesSpec, parse_spec

__all__ = ["ensure", "fetch", "kernel_indexes", "load_indexes"]

# Downloading waits for the network, unpacking for a core: four kernels keep both busy on a small machine.
_WORKERS = 4


def fetch(
    specs: Iterable[str], *, config: ImageConfig = DEFAULT_CONFIG, reporter: Reporter | None = None
) -> list[KernelImage]:
    """The newest image of each spec, fetched where it is not in the cache; in the order given.

    ``host`` and paths need no fetching: ``host`` is left out, a path is opened. Without an answer from the archive,
    what the cache has is used. ImageError otherwise; the kernels that were complete by then stay.
    """
    parsed = {text: parse_spec(text) for text in specs}
    wanted = {text: spec for text, spec in parsed.items() if isinstance(spec, SeriesSpec)}
    entries = _fetch_series(wanted, config=config, reporter=SilentReporter() if reporter is None else reporter)
    images = {
        text: image_of(entry, spec=text, rooted=root_of(entry.architecture, store=config.store))
        for text, entry in entries.items()
    }
    for text, spec in parsed.items():
        if isinstance(spec, PathSpec):
            images[text] = resolve(text, config=config)
    return [images[text] for text in parsed if text in images]


def ensure(
    specs: Iterable[str], *, config: ImageConfig = DEFAULT_CONFIG, reporter: Reporter | None = None
) -> list[KernelImage]:
    """As ``fetch``, but what is in the cache is good enough: if no kernel is missing, the network is not touched."""
    wanted = [spec for spec in specs if not isinstance(parse_spec(spec), HostSpec)]
    missing = []
    for text in wanted:
        spec = parse_spec(text)
        if isinstance(spec, SeriesSpec) and cached_entry(spec, store=config.store) is None:
            missing.append(text)
    fetch(missing, config=config, reporter=reporter)
    return [resolve(text, config=config) for text in wanted]


def _fetch_series(wanted: Mapping[str, SeriesSpec], *, config: ImageConfig, reporter: Reporter) -> dict[str, Entry]:
    if not wanted:
        return {}
    config.store.prepare()
    mirror = find_mirror(config.mirror, keyring=config.keyring)
    web = Web(mirror.options.proxies, pauses=config.pauses)
    entries = {}
    choices = {}
    indexes = _Indexes.load(wanted.values(), mirror=mirror, web=web, config=config)
    indexes.report(reporter)
    for text, spec in wanted.items():
        fault = indexes.fault(spec)
        if fault is None:
            choices[text] = choose(spec, indexes.of(spec))
        elif (entry := cached_entry(spec, store=config.store)) is not None:
            reporter.say(f"note: {text}: using the cached kernel, the archive does not answer ({fault.message})")
            entries[text] = entry
        else:
            raise fault
    _sweep(config.store)
    with config.store.share(FETCHING):
        obtainer = Obtainer(config.store, web, reporter)
        for architecture in sorted({wanted[text].architecture for text in choices} - {NATIVE}):
            obtain_root(architecture, indexes.known, store=config.store, web=web, reporter=reporter)
        return entries | _obtain_all(wanted, choices, obtainer=obtainer)


class _Indexes:
    """The suites of a fetch: what they hold, or why they could not be asked."""

    def __init__(self, loaded: Mapping[Wanted, SuiteIndex | MirrorUnreachable]) -> None:
        self._loaded = loaded

    @property
    def known(self) -> dict[Wanted, SuiteIndex]:
        """Those that could be asked."""
        return {wanted: one for wanted, one in self._loaded.items() if isinstance(one, SuiteIndex)}

    @classmethod
    def load(cls, specs: Iterable[SeriesSpec], *, mirror: Mirror, web: Web, config: ImageConfig) -> _Indexes:
        return cls(load_indexes({one for spec in specs for one in _asked(spec)}, mirror=mirror, web=web, config=config))

    def of(self, spec: SeriesSpec) -> list[SuiteIndex]:
        several = (self._loaded[one] for one in kernel_indexes(spec))
        return [one for one in several if isinstance(one, SuiteIndex)]

    def fault(self, spec: SeriesSpec) -> MirrorUnreachable | None:
        several = (self._loaded[one] for one in _asked(spec))
        return next((one for one in several if isinstance(one, MirrorUnreachable)), None)

    def report(self, reporter: Reporter) -> None:
        known = [one for one in self._loaded.values() if isinstance(one, SuiteIndex)]
        for words in sorted({one.verified for one in known} - {"", "signature"}):
            reporter.say(f"note: package indexes are verified by {words}")
        for words in sorted({one.problem for one in known} - {""}):
            reporter.say(f"note: {words}: it is not used")
        for words in sorted({one.stale for one in known} - {""}):
            reporter.say(f"note: the archive does not answer, using the last index ({words})")


def kernel_indexes(spec: SeriesSpec) -> list[Wanted]:
    """The indexes that may have a kernel, in the order of the catalogue."""
    return [Wanted(suite, spec.architecture) for suite in spec.series.suites]


def _asked(spec: SeriesSpec) -> list[Wanted]:
    """And those that have the root of its guests."""
    return kernel_indexes(spec) + (wanted_for(spec.architecture) if spec.architecture != NATIVE else [])


def load_indexes(
    wanted: Iterable[Wanted], *, mirror: Mirror, web: Web, config: ImageConfig
) -> dict[Wanted, SuiteIndex | MirrorUnreachable]:
    """Each suite's packages, in parallel, or why the archive could not be asked. Other ImageErrors are raised."""

    def load(one: Wanted) -> SuiteIndex | MirrorUnreachable:
        try:
            return load_index(one, mirror=mirror, store=config.store, web=web, max_age=config.max_age)
        except MirrorUnreachable as error:
            return error

    with _pool(web) as pool:
        jobs = {one: pool.submit(load, one) for one in sorted(wanted, key=lambda one: one.key)}
        loaded = {one: job.result() for one, job in jobs.items()}
    _check_debian(loaded)
    return loaded


def _check_debian(loaded: Mapping[Wanted, SuiteIndex | MirrorUnreachable]) -> None:
    """ImageError when an archive that answers has none of the suites: it is that of another distribution, or none."""
    found = [one for one in loaded.values() if isinstance(one, SuiteIndex)]
    suites = sorted({wanted.suite for wanted in loaded})
    if found and len(found) == len(loaded) and not any(one.verified for one in found):
        raise ImageError(
            f"{found[0].base} is not a Debian archive: it has none of the suites {', '.join(suites)}",
            hint="name a mirror of Debian with --bpf-mirror (--mirror of pytest-ebpf kernels)",
        )


def _sweep(store: Store) -> None:
    """Remove what killed runs had half unpacked. Partial downloads stay: they are continued."""
    with store.claim(FETCHING) as alone:
        for path in store.tmp.glob("*") if alone else ():
            shutil.rmtree(path, ignore_errors=True)


def _obtain_all(
    specs: Mapping[str, SeriesSpec], choices: Mapping[str, tuple[Choice, ...]], *, obtainer: Obtainer
) -> dict[str, Entry]:
    """One image per spec. A failure is raised when the others are done: what they fetched is worth keeping."""
    with _pool(obtainer.web) as pool:
        jobs = {text: pool.submit(obtainer.newest, specs[text], several) for text, several in choices.items()}
        wait(jobs.values())
        faults = [fault for job in jobs.values() if (fault := job.exception()) is not None]
        for fault in faults[1:]:
            obtainer.reporter.say(str(fault))
        if faults:
            raise faults[0]
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
