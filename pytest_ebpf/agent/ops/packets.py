"""Ops on packet sockets: whole frames out of and into an interface."""

from __future__ import annotations

from pytest_ebpf.agent.ops.base import Obj
from pytest_ebpf.frozen import dataclass

__all__ = ["PacketDrain", "PacketOpen", "PacketSend"]


@dataclass(frozen=True, slots=True)
class PacketOpen:
    """Record what arrives at an interface -> Made. Without ``protocols`` (EtherTypes) everything, seen before tc
    ingress programs; with them those only, seen behind tc ingress, where the network stack gets them."""

    interface: str
    netns: Obj | None = None
    protocols: tuple[int, ...] = ()
    site: str = ""


@dataclass(frozen=True, slots=True)
class PacketSend:
    """Frames out of the interface, one after the other -> Done. What a tc egress program drops counts as sent."""

    socket: Obj
    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PacketDrain:
    """The frames that arrived since the last time -> Records. Waits up to ``timeout_ms`` for ``at_least``; ``limit`` at
    most, 0 for all. After ``quiet_ms`` (-1: never) it ends sooner if it is sure that nothing more is on its way.
    ``lost``: frames that found no room."""

    socket: Obj
    at_least: int = 1
    timeout_ms: int = 0
    limit: int = 0
    quiet_ms: int = -1
