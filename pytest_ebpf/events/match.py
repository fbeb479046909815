"""Whether a record has the fields that a test expects."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["matches"]


def matches(record: object, wanted: object) -> bool:
    """Whether ``record`` has the fields of ``wanted``, at every depth. Anything but a dict must be equal; a callable
    is called with the value (``{"pid": lambda pid: pid > 1}``)."""
    if isinstance(wanted, Mapping):
        if not isinstance(record, Mapping):
            return False
        return all(name in record and matches(record[name], value) for name, value in wanted.items())
    if callable(wanted):
        return bool(wanted(record))
    if isinstance(wanted, list | tuple) and isinstance(record, list | tuple):
        return len(wanted) == len(record) and all(map(matches, record, wanted))
    return record == wanted
