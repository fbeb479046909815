"""What is in a map, in a few lines: for the report of a test that failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_ebpf.errors import HarnessError
from pytest_ebpf.live.maps.map import Map

__all__ = ["glimpse", "has_entries"]

_MOST_SHOWN = 16  # entries
_LONGEST = 200  # characters of one
_READ = 4096  # entries: of a larger array the beginning
_LINE = "\n"
_CONSTANT = (".rodata", ".kconfig")  # as the object file has them


def has_entries(map: Map) -> bool:
    """Whether it can hold entries that are worth a look: not a ring, queue or storage, nor one of maps or sockets, nor
    a constant."""
    if map.kind.access != "keyed" or map.kind.holds not in ("data", "prog", "device", "cpu"):
        return False
    return not any(kind in map.name for kind in _CONSTANT)


def glimpse(map: Map) -> list[str]:
    """The map and up to 16 entries, values decoded, of an array those that are not zero; nothing of an empty one. One
    round trip."""
    title = f"{map.name} ({map.kind.name})"
    try:
        entries = list(_entries(map))
    except HarnessError:
        raise
    except Exception as error:  # a report is never the worse for what could not be read
        return [f"{title}: not read: {_short(str(error).partition(_LINE)[0])}"]
    if not entries:
        return []
    more = [f"  … and {len(entries) - _MOST_SHOWN} more"] if len(entries) > _MOST_SHOWN else []
    return [f"{title}:", *(f"  {_short(entry)}" for entry in entries[:_MOST_SHOWN]), *more]


def _entries(map: Map) -> Iterator[str]:
    codec = map.codec
    for key, raw in map.dump(limit=_READ).pairs():
        if map.kind.indexed and not any(raw):
            continue
        value = codec.read(raw)
        if codec.plain.variables and isinstance(value, Mapping):  # a data section: its variables
            yield from (f"{name} = {one!r}" for name, one in value.items())
        else:
            yield f"{codec.show_key(key)!r}: {value!r}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
