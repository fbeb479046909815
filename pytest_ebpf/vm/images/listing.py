"""The table of ``kernels list``: per series, what is cached and what the archive has."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_ebpf.errors import ImageError, MirrorUnreachable
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.images.architecture import NATIVE
from pytest_ebpf.vm.images.cache import Entry
from pytest_ebpf.vm.images.candidates import choose
from pytest_ebpf.vm.images.catalogue import Catalogue, Series, load_catalogue
from pytest_ebpf.vm.images.download import Web
from pytest_ebpf.vm.images.fetch import kernel_indexes, load_indexes
from pytest_ebpf.vm.images.image import ImageConfig
from pytest_ebpf.vm.images.index import SuiteIndex, Wanted, cached_index
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
    specs = [_spec(series, name) for series in catalogue.series for name in series.architectures]
    # Every processor of every series would be many indexes to ask for: the others are shown where they are cached.
    shown = [spec for spec in specs if spec.architecture == NATIVE or cached_entry(spec, store=config.store)]
    suites = {wanted for spec in shown for wanted in kernel_indexes(spec)}
    indexes = _fresh(suites, config=config) if ask_archive else _known(suites, config=config)
    return [_row(spec, catalogue, indexes=indexes, config=config) for spec in shown]


def _spec(series: Series, architecture: str) -> SeriesSpec:
    text = series.name if architecture == NATIVE else f"{series.name}:{architecture}"
    return SeriesSpec(text, series, architecture=architecture)


def _fresh(suites: set[Wanted], *, config: ImageConfig) -> Mapping[Wanted, SuiteIndex]:
    config.store.prepare()
    mirror = find_mirror(config.mirror, keyring=config.keyring)
    web = Web(mirror.options.proxies, pauses=config.pauses)
    loaded = load_indexes(suites, mirror=mirror, web=web, config=config)
    for one in loaded.values():
        if isinstance(one, MirrorUnreachable):
            raise one
    return {name: one for name, one in loaded.items() if isinstance(one, SuiteIndex)}


def _known(suites: set[Wanted], *, config: ImageConfig) -> Mapping[Wanted, SuiteIndex]:
    try:
        mirror = find_mirror(config.mirror)
    except ImageError:  # no archive on this machine: the cache alone is shown
        return {}
    found = {suite: cached_index(suite, mirror=mirror, store=config.store) for suite in suites}
    return {name: one for name, one in found.items() if one is not None}


def _row(spec: SeriesSpec, catalogue: Catalogue, *, indexes: Mapping[Wanted, SuiteIndex], config: ImageConfig) -> Row:
    behind = "" if spec.architecture == NATIVE else f":{spec.architecture}"
    aliases = tuple(
        name + behind for name in _ALIASES if catalogue.alias(name, architecture=spec.architecture) == spec.series
    )
    entry = cached_entry(spec, store=config.store)
    states = config.store.saved_states(entry.release) if entry is not None else []
    saved = sum(map(tree_size, states))
    return Row(spec.name, aliases, _entry_words(entry), _newest_words(spec, indexes=indexes), saved)


def _entry_words(entry: Entry | None) -> str:
    return "" if entry is None else f"{entry.release} ({entry.version})"


def _newest_words(spec: SeriesSpec, *, indexes: Mapping[Wanted, SuiteIndex]) -> str:
    known = [indexes[wanted] for wanted in kernel_indexes(spec) if wanted in indexes]
    if len(known) < len(spec.series.suites):
        return ""
    try:
        best = choose(spec, known)[0]
    except ImageError as error:
        return "in parts only" if "only parts" in error.message else "none"
    return f"{best.release} ({best.version})"
