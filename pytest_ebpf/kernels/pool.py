"""Kernel specs -> running kernels, one of each per process.

A guest is booted on first use, kept for the whole session, and replaced by a new one after a loss. ``close`` ends all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pytest_ebpf.errors import EbpfError, HarnessError
from pytest_ebpf.frozen import replace
from pytest_ebpf.kernels.config import PLAIN, GuestWish, PoolConfig, Slot, Waiting, silent_wait
from pytest_ebpf.kernels.host import open_host_kernel
from pytest_ebpf.kernels.prefetch import BackgroundBoot
from pytest_ebpf.kernels.running import GuestState, RunningKernel
from pytest_ebpf.vm.guest.turns import free_memory
from pytest_ebpf.vm.images.cache import default_cache

__all__ = ["HOST", "KernelPool", "has_room", "slot_of"]

HOST = "host"
_SPARE = 1 << 30  # bytes that stay free when a guest is booted ahead of its need
_TRIES = 2  # to start a kernel
_LOG = logging.getLogger("pytest_ebpf")


class KernelPool:
    """Starts kernels on demand. ``wait`` shows that something takes time."""

    def __init__(self, config: PoolConfig, *, wait: Waiting = silent_wait) -> None:
        self._config = config
        self._wait = wait
        self._running: dict[Slot, RunningKernel] = {}
        self._boots: dict[str, list[float]] = {}  # seconds of each boot
        self._failed: dict[Slot, list[EbpfError]] = {}
        self._ahead: dict[Slot, BackgroundBoot] = {}
        self._threads: list[BackgroundBoot] = []
        self._told: set[str] = set()  # why not warm

    def get(self, spec: str, *, guest: GuestWish = PLAIN) -> RunningKernel:
        """The running kernel of a spec, booted on first use; after a loss, a new guest.

        An error (no image, a failed boot) may pass, so a second try is made. The second error is kept: the next test
        that needs this kernel gets it at once instead of waiting for the same failure.
        """
        slot = slot_of(spec, guest)
        running = self._running.get(slot)
        if running is not None and not running.lost:
            return running
        if self.gave_up(slot):
            raise self._failed[slot][-1]
        if running is not None:
            running.close()
            del self._running[slot]
        try:
            started = self._started_ahead(slot) or self._start(slot, wait=self._wait)
            assert started is not None, "only a boot in advance may find that it is too early"
        except EbpfError as error:
            self._failed.setdefault(slot, []).append(error)
            raise
        self._running[slot] = started
        return started

    def gave_up(self, slot: Slot) -> bool:
        """Whether the errors of the past are all that ``get`` will answer."""
        failed = self._failed.get(slot, ())
        return len(failed) >= _TRIES or any(not isinstance(error, HarnessError) for error in failed)

    def prefetch(self, spec: str, *, guest: GuestWish = PLAIN, cached: bool = False) -> None:
        """Start to boot a guest in the background, if this machine has the memory. ``get`` raises the error if the boot
        fails. ``cached``: not if its image has to be fetched first."""
        slot = slot_of(spec, guest)
        if spec == HOST or slot in self._ahead or slot in self._running or slot in self._failed:
            return
        if not has_room():
            return  # it is booted when it is needed, after others have ended
        start = partial(self._start, slot, wait=silent_wait, cached=cached)
        ahead = self._ahead[slot] = BackgroundBoot(start, name=f"boot {spec}")
        self._threads.append(ahead)

    def retire(self, spec: str, *, guest: GuestWish = PLAIN) -> None:
        """End the guest of a spec that is no longer needed; ``get`` would boot another."""
        running = self._running.get((spec, guest))
        if running is not None and running.machine is not None:
            del self._running[spec, guest]
            running.close()

    def discard(self, slot: Slot) -> None:
        """End a kernel that is of no use any more; ``get`` starts another."""
        running = self._running.pop(slot, None)
        if running is not None:
            running.close()

    def let_stay(self, spec: str, *, guest: GuestWish = PLAIN) -> str:
        """Leave the running guest of a spec to people, as it is: how to enter it; "" for the host. ``get`` boots
        another."""
        running = self._running.get((spec, guest))
        if running is None or running.machine is None:
            return ""
        del self._running[spec, guest]
        return running.let_stay()

    def peek(self, spec: str, *, guest: GuestWish = PLAIN) -> RunningKernel | None:
        """The running kernel of a spec if there is one; boots nothing."""
        return self._running.get(slot_of(spec, guest))

    def boots(self, spec: str) -> Sequence[float]:
        """Seconds of each boot of a spec so far."""
        return tuple(self._boots.get(spec, ()))

    def interrupt(self) -> None:
        """End every guest at once: a busy agent could not answer. The host stays."""
        for slot, running in list(self._running.items()):
            if not running.local:
                del self._running[slot]
                running.close()

    def close(self) -> None:
        """End every guest. Idempotent."""
        while self._running:
            _, running = self._running.popitem()
            running.close()
        while self._threads:
            self._threads.pop().end()
        self._ahead.clear()

    def _started_ahead(self, slot: Slot) -> RunningKernel | None:
        """The guest of a boot in the background, after waiting for it."""
        ahead = self._ahead.pop(slot, None)
        if ahead is None:
            return None
        if not ahead.ready:
            with self._wait(f"booting {slot[0]}"):
                ahead.wait()
        running = ahead.result()
        if running is not None and running.lost:
            running.close()  # gives back what it held now, not at the end of the session
            return None
        return running

    def _start(self, slot: Slot, *, wait: Waiting, cached: bool = False) -> RunningKernel | None:
        return self._open_host() if slot[0] == HOST else self._boot(slot, wait=wait, cached=cached)

    def _open_host(self) -> RunningKernel:
        cache = self._config.cache or default_cache()
        running = RunningKernel(HOST, kernel=open_host_kernel(), accel="this machine", state=GuestState(), cache=cache)
        running.accel += "" if running.local else ", through sudo"
        for words in getattr(running.kernel, "swept", ()):
            _LOG.warning("removed what a run that was killed had left: %s", words)
        return running

    def _boot(self, slot: Slot, *, wait: Waiting, cached: bool) -> RunningKernel | None:
        """``cached``: None if its image would have to be fetched first."""
        from pytest_ebpf.kernels.boot import boot_guest, find_image, is_cached

        spec, guest = slot
        if cached and not is_cached(spec, config=self._config):
            return None
        image = find_image(spec, config=self._config, wait=wait)
        began = time.monotonic()
        running = boot_guest(image, config=_wished(self._config, guest), wait=wait)
        seconds = time.monotonic() - began
        self._boots.setdefault(spec, []).append(seconds)
        way = running.machine.way if running.machine is not None else None
        how = f", {way.name}" if way is not None else ""
        _LOG.info("booted %s (%s) in %.1f s under %s%s", spec, image.release, seconds, running.accel, how)
        if way is not None and way.reason and spec not in self._told:
            self._told.add(spec)
            _LOG.info("%s boots %s: %s", spec, way.name, way.reason)
        if self._config.accel == "auto" and running.accel == "TCG":
            _LOG.info("%s is emulated: %s", spec, running.accel_reason)
        return running


def slot_of(spec: str, guest: GuestWish) -> Slot:
    """What a pool has one running kernel for. Nothing can be wished of the host."""
    return spec, PLAIN if spec == HOST else guest


def has_room(meminfo: Path = Path("/proc/meminfo")) -> bool:
    """Whether memory for another guest is free. What is unknown is no reason to wait."""
    free = free_memory(meminfo)
    return free is None or free > _SPARE


def _wished(config: PoolConfig, guest: GuestWish) -> PoolConfig:
    return replace(
        config,
        memory=guest.memory or config.memory,
        cpus=guest.cpus or config.cpus,
        kernel_args=(*config.kernel_args, *guest.cmdline.split()),
    )
