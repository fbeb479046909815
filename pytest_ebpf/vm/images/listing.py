"""The table of ``kernels list``: per series, what is cached and what the archive has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_ebpf.errors import ImageError, MirrorUnreachable
from pytest_ebpf.vm.images.cache import Entry
from pytest_ebpf.vm.images.candidates import choose
from pytest_ebpf.vm.images.catalogue import Catalogue, Series, load_catalogue
from pytest_ebpf.vm.images.download import Web
from pytest_ebpf.vm.images.fetch import load_indexes
from pytest_ebpf.vm.images.image import ImageConfig
from pytest_ebpf.vm.images.index import SuiteIndex, cached_index
from pytest_ebpf.vm.images.mirror import find_mirror
from pytest_ebpf.vm.images.prune import tree_size
from pytest_ebpf.vm.images.resolve import cached_entry
from pytest_ebpf.vm.images.spec import SeriesSpec

__all__ = ["Row", "overview"]

_ALIASES = ("oldest", "newest", "rc")


@dataclass(frozen=True, slots=True)
class Row:
    """One series. ``cached``: release and version, or empty. ``newest``: the same, or why not; empty: never asked.
    ``saved``: bytes on disk of the saved states of its guests."""

    series: str
    aliases: tuple[str, ...]
    cached: str
    newest: str
    saved: int


def overview(config: ImageConfig, *, ask_archive: bool) -> list[Row]:
    """A row per series, oldest first. ``ask_archive``: go by fresh indexes; else by those that are cached."""
    catalogue = load_catalogue()
    suites = {suite for series in catalogue.series for suite in series.suites}
    indexes = _fresh(suites, config=config) if ask_archive else _known(suites, config=config)
    return [_row(series, catalogue, indexes=indexes, config=config) for series in catalogue.series]


def _fresh(suites: set[str], *, config: ImageConfig) -> Mapping[str, SuiteIndex]:
    config.store.prepare()
    mirror = find_mirror(config.mirror, keyring=config.keyring)
    web = Web(mirror.options.proxies, pauses=config.pauses)
    loaded = load_indexes(suites, mirror=mirror, web=web, config=config)
    for one in loaded.values():
        if isinstance(one, MirrorUnreachable):
            raise one
    return {name: one for name, one in loaded.items() if isinstance(one, SuiteIndex)}


def _known(suites: set[str], *, config: ImageConfig) -> Mapping[str, SuiteIndex]:
    try:
        mirror = find_mirror(config.mirror)
    except ImageError:  # no archive on this machine: the cache alone is shown
        return {}
    found = {suite: cached_index(suite, mirror=mirror, store=config.store) for suite in suites}
    return {name: one for name, one in found.items() if one is not None}


def _row(series: Series, catalogue: Catalogue, *, indexes: Mapping[str, SuiteIndex], config: ImageConfig) -> Row:
    spec = SeriesSpec(series.name, series)
    aliases = tuple(name for name in _ALIASES if catalogue.alias(name) == series)
    entry = cached_entry(spec, store=config.store)
    states = config.store.saved_states(entry.release) if entry is not None else []
    saved = sum(map(tree_size, states))
    return Row(series.name, aliases, _entry_words(entry), _newest_words(spec, indexes=indexes), saved)


def _entry_words(entry: Entry | None) -> str:
    return "" if entry is None else f"{entry.release} ({entry.version})"


def _newest_words(spec: SeriesSpec, *, indexes: Mapping[str, SuiteIndex]) -> str:
    known = [indexes[suite] for suite in spec.series.suites if suite in indexes]
    if len(known) < len(spec.series.suites):
        return ""
    try:
        best = choose(spec, known)[0]
    except ImageError as error:
        return "in parts only" if "only parts" in error.message else "none"
    return f"{best.release} ({best.version})"
