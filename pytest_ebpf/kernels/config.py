"""How kernels are started: the options of the pool, and what shows that something takes time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, Protocol

from pytest_ebpf.frozen import dataclass

__all__ = ["PLAIN", "GuestWish", "PoolConfig", "Slot", "Waiting", "silent_wait"]


class Waiting(Protocol):
    """Shown while something takes time: used as ``with wait("booting 6.1") as say: say("kernel is up")``."""

    def __call__(self, what: str) -> AbstractContextManager[Callable[[str], None]]: ...


@contextmanager
def silent_wait(what: str) -> Iterator[Callable[[str], None]]:
    """A ``Waiting`` that shows nothing."""
    yield lambda text: None


@dataclass(frozen=True, slots=True)
class GuestWish:
    """What a test wants of its guest instead of what ``PoolConfig`` says; "" and 0: nothing. ``fresh`` names the one
    test that a guest is for."""

    memory: str = ""
    cpus: int = 0
    cmdline: str = ""
    fresh: str = ""


PLAIN = GuestWish()
Slot = tuple[str, GuestWish]  # what a pool has one running kernel for: a spec, and what is wished


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """How guests are found and booted.

    ``boot``: from a saved state, from nothing, or as virtme-ng does;
    ``cache``: a directory, None for the user's cache; ``mirror``: an address, "" for the system's mirror;
    ``boot_timeout``: seconds on real hardware, longer under emulation; ``fetch``: get missing kernels from the mirror;
    ``memory``, ``cpus`` (0: as many as is best), ``kernel_args``: what guests have, and words for their kernels;
    ``enter``: people can enter guests, ``gdb``: and debug their kernels (see ``vm.guest.config``);
    ``keep``: directories below /tmp that guests see, read-only; the rest of a guest's /tmp is its own.
    """

    accel: Literal["auto", "kvm", "tcg"] = "auto"
    boot: Literal["warm", "cold", "stock"] = "warm"
    require_kvm: bool = False
    cache: Path | None = None
    mirror: str = ""
    boot_timeout: float = 20.0
    fetch: bool = True
    memory: str = "1G"
    cpus: int = 0
    kernel_args: tuple[str, ...] = ()
    keep: tuple[Path, ...] = ()
    enter: bool = False
    gdb: bool = False
