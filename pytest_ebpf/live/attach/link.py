"""An attachment in the hands of a test."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from pytest_ebpf.agent.ops import Close, Data, Done, Handle, IterRead, LinkDetach, LinkUpdate
from pytest_ebpf.errors import BpfUsageError, GuestLost, KernelCallError
from pytest_ebpf.live.attach.attachable import Attachable
from pytest_ebpf.live.bpffs import pin, unpin
from pytest_ebpf.live.inspect.info import LinkInfo
from pytest_ebpf.live.inspect.query import ask_info
from pytest_ebpf.live.session import Session

__all__ = ["Link"]


class Link:
    """A program that is attached, until ``detach()``, the end of a ``with`` block, or the end of the test.

    ``where`` says in words what it hangs on; ``way`` how ("xdp link", "clsact filter", "perf event"). ``program`` is
    what runs; of a link that was opened from its pin it is what the kernel says about the program.
    """

    def __init__(
        self,
        session: Session,
        *,
        program: Attachable,
        target: str,
        mechanism: str,
        handles: tuple[Handle, ...] = (),
        undo: Callable[[], None] | None = None,
        swap: Callable[[Handle, Handle], None] | None = None,
    ) -> None:
        self._session = session
        self.program = program
        self.target = target
        self.mechanism = mechanism
        self._handles = handles
        self._undo = undo
        self._swap = swap  # (the new program, the old one): where there is no link object to update
        self._attached = True
        self._pins: list[str] = []
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
    def is_object(self) -> bool:
        """Whether the kernel has a link object for it: not for a tc filter, or for a program attached to a cgroup in
        the old way."""
        return bool(self._handles) and self._handles[0].kind == "link"

    @property
    def info(self) -> LinkInfo:
        """What the kernel says about it now, per type of link. ``BpfUsageError`` where it is no link object (a clsact
        filter, a program attached to a cgroup by an old kernel)."""
        if not self.is_object:
            raise BpfUsageError(f"{self.program.name} is attached by {self.mechanism}, which is no link object")
        info: LinkInfo = ask_info(self._session, "link", asked=self._handles[0])
        return info

    def read(self) -> bytes:
        """Run an iterator over everything: what it wrote (``bpf_seq_write``, ``bpf_seq_printf``). Each call starts
        from the beginning. ``BpfUsageError``: this is a link of another kind."""
        if self.mechanism != "iter link":
            raise BpfUsageError(
                f"{self.program.name} is no iterator: there is nothing to read from its {self.mechanism}"
            )
        return self._session.one(IterRead(self.handle), Data).data

    def text(self) -> str:
        """``read`` as text."""
        return self.read().decode(errors="replace")

    def update(self, program: Attachable) -> None:
        """Put another program in its place, with no moment in between in which none runs.

        ``BpfUsageError``: what hangs in this way cannot be exchanged, or the program is of another type.
        ``KernelCallError``: another one than ``self.program`` is attached by now.
        """
        new, old = getattr(program, "handle", None), getattr(self.program, "handle", None)
        if not isinstance(new, Handle):
            raise BpfUsageError(f"{self!r}: update() takes a loaded program, not {program!r}")
        self._must_be_attached("updated")
        fill = getattr(program, "fill", None)
        if fill is not None:  # a struct_ops table
            fill()
        if self._swap is not None and isinstance(old, Handle):
            self._swap(new, old)
        else:
            self._update_object(program, new=new)
        self.program = program

    def _update_object(self, program: Attachable, *, new: Handle) -> None:
        if not self.is_object:
            raise BpfUsageError(
                f"{self.program.name} is attached by {self.mechanism}, which cannot be updated",
                hint="Attach the other program, then detach this one.",
            )
        try:
            self._session.one(LinkUpdate(self.handle, new), Done)
        except KernelCallError as error:
            error.hint = error.hint or (
                f"The kernel did not put {program.name} into the place of "
                f"{self.program.name} ({self.mechanism}): links of "
                "some kinds cannot be updated at all, the others only with a program of the same type and attach type."
            )
            raise

    def pin(self, path: str, *, keep: bool = False) -> Link:
        """Pin it at a path of the bpf file system (a bare name: in /sys/fs/bpf), so that it stays attached when this
        link is let go. The pin is removed at the end of the test, unless ``keep``. Returns the link itself.

        ``BpfUsageError``: it is no link object, so it cannot be pinned.
        """
        self._must_be_attached("pinned")
        if not self.is_object:
            raise BpfUsageError(
                f"{self.program.name} is attached by {self.mechanism}, which cannot be pinned",
                hint="Only link objects can: see docs/attaching.md for the kernels that have them.",
            )
        self._pins.append(pin(self._session, self.handle, path=path, keep=keep))
        return self

    def unpin(self) -> Link:
        """Remove its pins; it stays attached as long as this link is held. Returns the link itself."""
        while self._pins:
            unpin(self._session, self._pins.pop())
        return self

    def release(self) -> None:
        """Let go of it. What is pinned stays attached, anything else ends here."""
        if not self._pins:
            self.detach()
        elif self._attached:
            self._attached = False
            self._close()

    @property
    def pins(self) -> tuple[str, ...]:
        """Where it is pinned, as far as this link knows."""
        return tuple(self._pins)

    def pinned_at(self, path: str) -> Link:
        """Note a pin that is there already: ``detach`` and ``unpin`` remove it too. Returns the link itself."""
        self._pins.append(path)
        return self

    def detach(self) -> None:
        """Take the program off, whoever else holds the link; its pins go too. Twice is harmless."""
        if not self._attached:
            return
        self._attached = False
        if self._undo is not None:
            self._undo()
        if self._pins:  # the kernel cannot detach links of every kind: those end with their last holder
            self._session.attempt(LinkDetach(self.handle), Done)
            self.unpin()
        self._close()

    def _close(self) -> None:
        for handle in self._handles:
            self._session.one(Close(handle), Done)

    def _must_be_attached(self, what: str) -> None:
        if not self._attached:
            raise BpfUsageError(f"{self!r} cannot be {what}: it is detached")

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, GuestLost):  # nothing is left to detach from, and the loss is the news
            self.detach()

    def __repr__(self) -> str:
        return f"<Link {self.program.name} on {self.target} ({self.mechanism}{'' if self._attached else ', detached'})>"
