"""Questions to the kernel about its objects. Most tests ask none, so the room is imported on the first question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.inspect.dump import Jited, Xlated
    from pytest_ebpf.live.inspect.query import RunStats

__all__ = ["Queries", "queries"]


class Queries(Protocol):
    """``live.inspect.query``, as far as programs, maps and links use it."""

    def ask_info(self, session: Session, kind: str, *, asked: Handle | int) -> Any:
        """ProgInfo, MapInfo or LinkInfo of one object."""

    def ask_xlated(self, session: Session, asked: Handle | int) -> Xlated:
        """The instructions of a program after verification."""

    def ask_jited(self, session: Session, asked: Handle | int) -> Jited:
        """The machine code of a program."""

    def ask_run_stats(self, session: Session, asked: Handle | int) -> RunStats:
        """What was counted of a program."""


def queries() -> Queries:
    """The module, imported on the first call."""
    from pytest_ebpf.live.inspect import query

    return query
