"""Kernel spec -> image, from the cache or a path, never from the network (``fetch`` in fetch.py does that)."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.architecture import NATIVE
from pytest_ebpf.vm.images.cache import Entry, Store
from pytest_ebpf.vm.images.image import DEFAULT_CONFIG, ImageConfig, KernelImage, image_of
from pytest_ebpf.vm.images.local import local_image
from pytest_ebpf.vm.images.rootfs import root_of
from pytest_ebpf.vm.images.spec import HostSpec, PathSpec, SeriesSpec, parse_spec, version_matches

__all__ = ["cached_entry", "resolve"]


def resolve(spec: str, *, config: ImageConfig = DEFAULT_CONFIG) -> KernelImage:
    """The image that ``spec`` stands for, from the cache or a path; no network.

    ImageError for an unknown spec, for ``host`` (which has no image), and for a kernel that is not in the cache.
    """
    parsed = parse_spec(spec)
    if isinstance(parsed, HostSpec):
        raise ImageError("host is the running kernel: it has no image")
    if isinstance(parsed, PathSpec):
        return local_image(parsed, store=config.store)
    entry = cached_entry(parsed, store=config.store)
    if entry is None:
        raise ImageError(f"kernel {spec} is not in the cache", hint=f"run: pytest-ebpf kernels fetch {spec}")
    return image_of(entry, spec=spec, rooted=root_of(entry.architecture, store=config.store))


def cached_entry(spec: SeriesSpec, *, store: Store) -> Entry | None:
    """What the spec's lock file names, else the newest image in the cache that fits."""
    if spec.architecture != NATIVE and root_of(spec.architecture, store=store) is None:
        return None  # its kernel is of no use without
    locked = store.resolved(spec.text)
    if locked is not None and (entry := _locked_entry(locked, spec=spec, store=store)) is not None:
        return entry
    from debian.debian_support import Version

    fitting = (one for one in store.entries() if _fits(one, spec=spec))
    return max(fitting, key=lambda one: Version(one.version), default=None)


def _locked_entry(locked: Mapping[str, object], *, spec: SeriesSpec, store: Store) -> Entry | None:
    """An alias moves with the catalogue: its lock counts only while it is of the same series and processor."""
    name = locked.get("image")
    entry = store.entry(store.images / name) if isinstance(name, str) and "/" not in name else None
    return entry if entry is not None and _same(entry, spec=spec) else None


def _same(entry: Entry, *, spec: SeriesSpec) -> bool:
    return entry.series == spec.series.name and entry.architecture == spec.architecture


def _fits(entry: Entry, *, spec: SeriesSpec) -> bool:
    if not _same(entry, spec=spec):
        return False
    wanted = spec.release
    return not wanted or any(version_matches(had, prefix=wanted) for had in (entry.version, entry.release))
