"""A table of functions that the kernel calls: a TCP congestion control, a queueing discipline, a scheduler."""

from __future__ import annotations

import errno
from collections.abc import Callable

from pytest_ebpf.agent.ops import Done, Failed, FdAt, Handle, LinkCreate, MapDelete, MapSet
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.session import Session
from pytest_ebpf.plan.planned import PlannedStructOps
from pytest_ebpf.uapi.enums import AttachType

__all__ = ["StructOps"]

_KEY = bytes(4)


class StructOps:
    """A struct_ops map with its programs loaded; ``attach`` registers it with the kernel."""

    def __init__(
        self, session: Session, *, planned: PlannedStructOps, handle: Handle, programs: Callable[[], tuple[FdAt, ...]]
    ) -> None:
        self._session = session
        self._planned = planned
        self._programs = programs
        self.handle = handle

    @property
    def name(self) -> str:
        """The name of the variable in the object."""
        return self._planned.name

    @property
    def kernel_type(self) -> str:
        """The struct of the kernel that it implements: "tcp_congestion_ops"."""
        return self._planned.kernel_type

    def attach(self) -> Link:
        """Register it, through a link where the object asks for one (``.struct_ops.link``, Linux 6.4) and else by the
        update of the map alone. A table with a link can be attached again after ``detach()``, another cannot."""
        self.fill()
        if self._planned.by_link:
            handle = self._session.make(LinkCreate(self.handle, AttachType.STRUCT_OPS))
            return Link(
                self._session,
                program=self,
                target=self.kernel_type,
                mechanism=Mechanism.STRUCT_OPS_LINK,
                handles=(handle,),
            )
        return Link(
            self._session, program=self, target=self.kernel_type, mechanism=Mechanism.STRUCT_OPS, undo=self._unregister
        )

    def fill(self) -> None:
        """Write the table into its map. This registers a table without a link, and prepares one with a link (for which
        it may be repeated)."""
        register = MapSet(self.handle, _KEY, self._planned.value, fds=self._programs())
        answer = self._session.attempt(register, Done)
        filled_before = isinstance(answer, Failed) and answer.errno == errno.EBUSY and self._planned.by_link
        if not filled_before:
            self._session.checked(register, answer, kind=Done)

    def _unregister(self) -> None:
        self._session.attempt(MapDelete(self.handle, _KEY), Done)

    def __repr__(self) -> str:
        return f"<StructOps {self.name} ({self.kernel_type})>"
