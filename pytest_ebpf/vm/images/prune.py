"""Remove images from the cache: superseded ones, or all; and saved states of guests. What a process uses or fetches
right now stays (a guest that runs from a saved state has its files open)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.vm.images.architecture import ARCHITECTURES
from pytest_ebpf.vm.images.cache import FETCHING, Entry, Store, use_lock

__all__ = ["Pruned", "prune", "prune_all", "tree_size"]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What happened: names of images, bytes freed on disk, how many saved states went."""

    removed: tuple[str, ...]
    kept_in_use: tuple[str, ...]
    freed: int
    states: int


def prune(store: Store) -> Pruned:
    """Keep the newest image of each series and processor, and the newest root of each processor."""
    from debian.debian_support import Version

    newest: dict[tuple[str, str], Entry] = {}
    for entry in store.entries():
        best = newest.get((entry.series, entry.architecture))
        if best is None or Version(entry.version) > Version(best.version):
            newest[entry.series, entry.architecture] = entry
    keep = {entry.path for entry in newest.values()}
    return _remove(store, [path for path in sorted(store.images.glob("*")) if path not in keep])


def prune_all(store: Store) -> Pruned:
    """Keep nothing but what is in use; indexes go too."""
    result = _remove(store, [*sorted(store.images.glob("*")), *sorted((store.root / "local").glob("*"))])
    freed = _delete(store.root / "indexes", tmp=store.tmp) + _delete(store.roots, tmp=store.tmp)
    return replace(result, freed=result.freed + freed)


def _remove(store: Store, images: Iterable[Path]) -> Pruned:
    removed, busy, freed = [], [], 0
    for path in images:
        with store.claim(use_lock(path.name.rpartition("-")[2])) as free:
            if free:
                freed += _delete(path, tmp=store.tmp)
                removed.append(path.name)
            else:
                busy.append(path.name)
    for spec, record in store.resolved_specs().items():
        if not (store.images / str(record.get("image"))).is_dir():
            store.forget(spec)
    states = store.saved_states()
    freed += sum(_delete(path, tmp=store.tmp) for path in [*states, *sorted(store.warm.glob("*"))])
    freed += _remove_roots(store)
    freed += _remove_leftovers(store) if store.root.is_dir() else 0
    return Pruned(tuple(removed), tuple(busy), freed, len(states))


def _remove_roots(store: Store) -> int:
    """Roots of other architectures that newer ones have superseded, unless a guest runs on one."""
    freed = 0
    for name in ARCHITECTURES:
        found = sorted(store.roots.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
        for path in found[:-1]:
            with store.claim(use_lock(path.name)) as free:
                freed += _delete(path, tmp=store.tmp) if free else 0
    return freed


def _remove_leftovers(store: Store) -> int:
    """Half-unpacked trees and partial downloads, unless a fetch is running, which may use all of it."""
    with store.claim(FETCHING) as alone:
        if not alone:
            return 0
        paths = [path for folder in (store.tmp, store.downloads) for path in folder.glob("*")]
        freed = sum(tree_size(path) for path in paths)
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return freed


def _delete(path: Path, *, tmp: Path) -> int:
    """Remove a tree; the bytes that were on disk. It is moved away first, so that no process sees half of it."""
    size = tree_size(path)
    if path.exists():
        tmp.mkdir(parents=True, exist_ok=True)
        doomed = tmp / f"removed-{path.name}-{os.getpid()}"
        path.rename(doomed)
        shutil.rmtree(doomed)
    return size


def tree_size(path: Path) -> int:
    """Bytes on disk of a file or tree; 0 if there is none."""
    if not path.is_dir():
        return path.lstat().st_blocks * 512 if path.exists() else 0
    return sum((Path(folder) / name).lstat().st_blocks * 512 for folder, _, files in os.walk(path) for name in files)
