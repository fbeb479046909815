"""The maps and globals of an object as they were, to put them back between examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.bpf_object import BpfObject
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.suggest import did_you_mean

__all__ = ["Reset", "Restore", "remember"]

Restore = Callable[[], None]
Reset: TypeAlias = bool | str | Iterable[str] | Callable[..., None]  # reset= of a property


def remember(obj: BpfObject | Mapping[str, Map], names: tuple[str, ...] = ()) -> Restore:
    """Read the maps (all that hold entries, or those named) and the globals now; calling the result puts them back.
    ``obj``: an object, or the maps of a program."""
    maps = obj.maps if isinstance(obj, BpfObject) else obj
    for name in names:
        if name not in maps:
            raise BpfUsageError(f"reset: there is no map {name!r}", hint=did_you_mean(name, maps))
    # data sections (".bss") are the globals
    own = {name: map for name, map in maps.items() if name in names or not name.startswith(".")}
    kept = {name: pairs for name, map in own.items() if (pairs := _entries(map, wanted=name in names)) is not None}
    kept = {name: kept[name] for name in names} if names else kept
    variables = _globals(obj) if isinstance(obj, BpfObject) and not names else {}

    def restore() -> None:
        for name, pairs in kept.items():
            _put_back(maps[name], pairs)
        for name, value in variables.items():
            obj.globals[name] = value  # type: ignore[union-attr]  # what has globals is an object

    return restore


def _entries(map: Map, *, wanted: bool) -> list[tuple[Any, Any]] | None:
    """None for maps without entries of their own: ring buffers, maps of programs, sockets and the like."""
    if map.kind.access == "fifo":
        return []
    try:
        return map.items()
    except (KernelCallError, BpfUsageError, TypeError, ValueError):
        if wanted:
            raise
        return None


def _put_back(map: Map, pairs: list[tuple[Any, Any]]) -> None:
    try:
        map.clear()
        if pairs and map.kind.access != "fifo":
            filled = [(key, value) for key, value in pairs if not map.kind.indexed or _is_set(value)]
            if filled:
                map.update(filled)
    except (KernelCallError, BpfUsageError):
        if map.kind.access != "fifo" and not map.kind.indexed:
            raise  # an array that user space may not write keeps what it has


def _is_set(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_is_set, value.values()))
    return any(map(_is_set, value)) if isinstance(value, list | tuple) else bool(value)


def _globals(obj: BpfObject) -> dict[str, Any]:
    return {name: obj.globals[name] for name in obj.globals.settable()}
