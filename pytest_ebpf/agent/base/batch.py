"""One batch under way: what the functions behind the ops work with."""

from __future__ import annotations

from collections.abc import Callable

from pytest_ebpf.agent.base.handles import Entry, Refused, Table
from pytest_ebpf.agent.ops import Handle, Made, Obj, ProgLoaded, Ref, Result

__all__ = ["Batch"]

_MAKERS = (Made, ProgLoaded)  # results with a handle


class Batch:
    """Resolves ``Handle`` and ``Ref``, and registers what ops make."""

    __slots__ = ("results", "scope", "table")

    def __init__(self, table: Table, scope: Handle | None) -> None:
        self.table = table
        self.scope = scope
        self.results: list[Result] = []

    def entry(self, obj: Obj) -> Entry:
        """The entry that ``obj`` names. Raises ``Refused``."""
        return self.table.get(self._referred(obj) if isinstance(obj, Ref) else obj)

    def fd(self, obj: Obj | int | None) -> int:
        """The fd of an object; a number (ifindex) as it is; 0 for none. Raises ``Refused``."""
        if obj is None:
            return 0
        if isinstance(obj, int):
            return obj
        entry = self.entry(obj)
        if entry.fd < 0:
            raise Refused(f"{entry.label} has no file descriptor")
        return entry.fd

    def own(self, fd: int, kind: str, *, name: str = "", site: str = "", own: bool = True) -> Entry:
        """Register a new object with the scope of the batch."""
        return self.table.add(fd, kind, name=name, site=site, scope=self.scope, own=own)

    def undo(self, entry: Entry, call: Callable[[], None], *, kind: str, name: str) -> None:
        """Undo it with ``entry``. It would outlive this process if that were killed: then ``host/sweep.py`` undoes it,
        which knows the kind."""
        ledger = self.table.ledger
        if ledger is None:
            entry.closers.append(call)
            return

        def undone() -> None:
            call()
            ledger.strike(kind, name)

        ledger.note(kind, name)
        entry.closers.append(undone)

    def _referred(self, ref: Ref) -> Handle:
        if not 0 <= ref.index < len(self.results):
            raise Refused(f"Ref({ref.index}) points at an operation that did not run before this one")
        result = self.results[ref.index]
        if isinstance(result, _MAKERS):
            return result.handle
        raise Refused(f"Ref({ref.index}): that operation made no object: {_short(result)}")


def _short(result: Result) -> str:
    text = getattr(result, "text", "")
    return f"{type(result).__name__}({text})" if text else type(result).__name__
