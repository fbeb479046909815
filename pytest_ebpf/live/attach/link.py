"""An attachment that a test holds."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Close, Data, Done, Handle, IterRead, LinkDetach, LinkUpdate
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.attach.attachable import Attachable
from pytest_ebpf.live.bpffs import pin, unpin
from pytest_ebpf.live.handles import close_after
from pytest_ebpf.live.inspect import queries
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.inspect.info import LinkInfo

__all__ = ["Link", "Mechanism", "ReplaceableAttachment"]


class Mechanism(StrEnum):
    """How a program is attached. Those whose value ends with "link" are link objects of the kernel; a link that was
    opened from its pin has the kernel's name of its type."""

    CGROUP_LINK = "cgroup link"
    CGROUP = "cgroup without link"
    CLSACT = "clsact filter"
    FENTRY = "fentry link"
    FENTRY_S = "fentry.s link"
    FENTRY_MULTI = "fentry.multi link"
    FENTRY_MULTI_S = "fentry.multi.s link"
    FEXIT = "fexit link"
    FEXIT_S = "fexit.s link"
    FEXIT_MULTI = "fexit.multi link"
    FEXIT_MULTI_S = "fexit.multi.s link"
    FLOW_DISSECTOR = "flow dissector without link"
    FMOD_RET = "fmod_ret link"
    FMOD_RET_S = "fmod_ret.s link"
    FREPLACE = "freplace link"
    FSESSION = "fsession link"
    FSESSION_S = "fsession.s link"
    FSESSION_MULTI = "fsession.multi link"
    FSESSION_MULTI_S = "fsession.multi.s link"
    ITER = "iter link"
    KPROBE_MULTI = "kprobe.multi link"
    LIRC = "lirc device"
    LSM = "lsm link"
    LSM_S = "lsm.s link"
    NETFILTER = "netfilter link"
    NETKIT = "netkit link"
    NETNS = "netns link"
    PERF_EVENT = "perf event"
    PERF_EVENT_LINK = "perf event link"
    RAW_TRACEPOINT = "raw tracepoint link"
    REUSEPORT = "reuseport group"
    ROUTE = "route"
    SOCKET_FILTER = "socket filter"
    SOCKMAP = "sockmap"
    SOCKMAP_LINK = "sockmap link"
    STRUCT_OPS = "struct_ops map"
    STRUCT_OPS_LINK = "struct_ops link"
    TCX = "tcx link"
    TP_BTF = "tp_btf link"
    TP_BTF_S = "tp_btf.s link"
    UPROBE_MULTI = "uprobe.multi link"
    XDP_LINK = "xdp link"
    XDP_NETLINK = "xdp netlink"
    # The kernel's names of further types of link (enum bpf_link_type), and of one that this package does not know.
    PINNED_KPROBE_MULTI = "kprobe_multi link"
    PINNED_PERF_EVENT = "perf_event link"
    PINNED_RAW_TRACEPOINT = "raw_tracepoint link"
    PINNED_TRACING = "tracing link"
    PINNED_TRACING_MULTI = "tracing_multi link"
    PINNED_UPROBE_MULTI = "uprobe_multi link"
    UNKNOWN_LINK = "unknown link"

    @classmethod
    def of_link_type(cls, name: str) -> Mechanism:
        """That of a link that the kernel reports with a type of this name."""
        value = f"{name} link"
        return cls(value) if value in cls.__members__.values() else cls.UNKNOWN_LINK


class ReplaceableAttachment:
    """A program that is attached without a link object. ``put(new, old)`` attaches ``new`` in the place of ``old``;
    ``remove(program)`` detaches the one that is attached."""

    def __init__(
        self, program: Handle, *, put: Callable[[Handle, Handle], None], remove: Callable[[Handle], None]
    ) -> None:
        self.current = program
        self._put = put
        self._remove = remove

    def replace(self, new: Handle) -> None:
        """Put another program in its place."""
        self._put(new, self.current)
        self.current = new

    def remove(self) -> None:
        """Detach the program."""
        self._remove(self.current)


class Link:
    """A program that is attached, until ``detach()``, the end of a ``with`` block, or the end of the test.

    ``target`` describes what it is attached to, ``mechanism`` how. ``program`` is the attached program or struct_ops
    table; of a link that was opened from its pin it is a ``KernelProgram``.
    """

    def __init__(
        self,
        session: Session,
        *,
        program: Attachable,
        target: str,
        mechanism: Mechanism,
        handles: tuple[Handle, ...] = (),
        undo: Callable[[], None] | None = None,
        attachment: ReplaceableAttachment | None = None,
    ) -> None:
        self._session = session
        self.program = program
        self.target = target
        self.mechanism = mechanism
        self._handles = handles
        self._attachment = attachment
        self._undo = attachment.remove if attachment is not None else undo
        self._attached = True
        self._pins: list[str] = []
        if self._undo is not None:
            session.later(self.detach)

    @property
    def attached(self) -> bool:
        """Whether it is still attached, as far as this object did not detach it."""
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
        """What the kernel reports about it now, per type of link. ``BpfUsageError`` where it is not a link object (a
        clsact filter, a program attached to a cgroup of an old kernel)."""
        if not self.is_object:
            raise BpfUsageError(f"{self.program.name} is attached by {self.mechanism}, which is not a link object")
        info: LinkInfo = queries().ask_info(self._session, "link", asked=self._handles[0])
        return info

    def read(self) -> bytes:
        """Run an iterator to its end and return what it wrote (``bpf_seq_write``, ``bpf_seq_printf``). Each call starts
        from the beginning. ``BpfUsageError``: this is a link of another kind."""
        if self.mechanism is not Mechanism.ITER:
            raise BpfUsageError(f"{self.program.name} is not an iterator: its {self.mechanism} cannot be read")
        return self._session.one(IterRead(self.handle), Data).data

    def text(self) -> str:
        """``read`` as text."""
        return self.read().decode(errors="replace")

    def update(self, program: Attachable) -> None:
        """Put another program in its place, with no moment in between in which none runs.

        ``BpfUsageError``: this mechanism cannot replace a program, or the program is of another type.
        ``KernelCallError``: another program than ``self.program`` is attached by now.
        """
        new = getattr(program, "handle", None)
        if not isinstance(new, Handle):
            raise BpfUsageError(f"{self!r}: update() expects a loaded program, got {program!r}")
        self._must_be_attached("updated")
        fill = getattr(program, "fill", None)
        if fill is not None:  # a struct_ops table
            fill()
        if self._attachment is not None:
            self._attachment.replace(new)
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
                f"The kernel did not replace {self.program.name} by {program.name} ({self.mechanism}): links of some "
                "kinds cannot be updated at all, the others only with a program of the same type and attach type."
            )
            raise

    def pin(self, path: str, *, keep: bool = False) -> Link:
        """Pin it at a path of the bpf file system (a bare name: in /sys/fs/bpf), so that it stays attached after
        ``release()``. The pin is removed at the end of the test, unless ``keep``. Returns the link itself.

        ``BpfUsageError``: it is not a link object, so it cannot be pinned.
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
        """Remove its pins; it stays attached as long as this link is open. Returns the link itself."""
        while self._pins:
            unpin(self._session, self._pins.pop())
        return self

    def release(self) -> None:
        """Close this link. A pinned one stays attached, any other is detached."""
        if not self._pins:
            self.detach()
        elif self._attached:
            self._attached = False
            self._close()

    @property
    def pins(self) -> tuple[str, ...]:
        """The paths at which this object pinned it, or from which it was opened."""
        return tuple(self._pins)

    def pinned_at(self, path: str) -> Link:
        """Record a pin that exists already: ``detach`` and ``unpin`` remove it too. Returns the link itself."""
        self._pins.append(path)
        return self

    def detach(self) -> None:
        """Detach the program, even if another process holds the link, and remove its pins. Twice is harmless."""
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

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.detach)

    async def __aenter__(self) -> Link:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__(*exc)

    def __repr__(self) -> str:
        return f"<Link {self.program.name} on {self.target} ({self.mechanism}{'' if self._attached else ', detached'})>"
