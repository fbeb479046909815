"""An attachment in the hands of a test."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Close, Data, Done, Handle, IterRead
from pytest_ebpf.errors import UsageError

if TYPE_CHECKING:
    from pytest_ebpf.live.kernel_info import LinkInfo
    from pytest_ebpf.live.program import Program
    from pytest_ebpf.live.session import Session
    from pytest_ebpf.live.struct_ops import StructOps

__all__ = ["Link"]


class Link:
    """A program that is attached, until ``detach()``, the end of a ``with`` block, or the end of the test.

    ``where`` says in words what it hangs on; ``way`` how ("xdp link", "clsact filter", "perf event").
    """

    def __init__(
        self,
        session: Session,
        *,
        program: Program | StructOps,
        where: str,
        way: str,
        handles: tuple[Handle, ...] = (),
        undo: Callable[[], None] | None = None,
    ) -> None:
        self._session = session
        self.program = program
        self.where = where
        self.way = way
        self._handles = handles
        self._undo = undo
        self._attached = True
        if undo is not None:
            session.later(self.detach)

    @property
    def attached(self) -> bool:
        """Whether ``detach`` is still to come."""
        return self._attached

    @property
    def handle(self) -> Handle:
        """The kernel's link object, where the attachment is one."""
        return self._handles[0]

    @property
    def info(self) -> LinkInfo:
        """What the kernel says about it now, per type of link. ``UsageError`` where it is no link object (a clsact
        filter, a program attached to a cgroup by an old kernel)."""
        from pytest_ebpf.errors import UsageError
        from pytest_ebpf.live.introspect import ask_info

        if not self._handles or self._handles[0].kind != "link":
            raise UsageError(f"{self.program.name} is attached by {self.way}, which is no link object")
        info: LinkInfo = ask_info(self._session, "link", asked=self._handles[0])
        return info

    def read(self) -> bytes:
        """Run an iterator over everything: what it wrote (``bpf_seq_write``, ``bpf_seq_printf``). Each call starts
        from the beginning. ``UsageError``: this is a link of another kind."""
        if self.way != "iter link":
            raise UsageError(f"{self.program.name} is no iterator: there is nothing to read from its {self.way}")
        return self._session.one(IterRead(self.handle), Data).data

    def text(self) -> str:
        """``read`` as text."""
        return self.read().decode(errors="replace")

    def detach(self) -> None:
        """Take the program off. Twice is harmless."""
        if not self._attached:
            return
        self._attached = False
        if self._undo is not None:
            self._undo()
        for handle in self._handles:
            self._session.one(Close(handle), Done)

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from pytest_ebpf.errors import GuestLost

        if not isinstance(error, GuestLost):  # nothing is left to detach from, and the loss is the news
            self.detach()

    def __repr__(self) -> str:
        return f"<Link {self.program.name} on {self.where} ({self.way}{'' if self._attached else ', detached'})>"
