"""In which network namespace a test run happens: there the interfaces of its context are."""

from __future__ import annotations

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.run.contexts import namespaces_of
from pytest_ebpf.live.session import Session

__all__ = ["run_place"]


def run_place(session: Session, netns: object, *, ctx: object) -> Handle | None:
    """The namespace that was given, else that of the interfaces in the context; None: where the agent is.
    ``BpfUsageError`` for interfaces of another one."""
    handles = list(dict.fromkeys(netns_handle(session, found) for found in namespaces_of(ctx)))
    if netns is not None:
        handles = list(dict.fromkeys((netns_handle(session, netns), *handles)))
    if len(handles) > 1:
        raise BpfUsageError(
            "the interfaces in ctx= are not all in the network namespace of the run",
            hint="A run happens in one namespace, netns=: give interfaces of that one.",
        )
    return handles[0] if handles else None
