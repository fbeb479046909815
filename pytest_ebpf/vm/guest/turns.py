"""Boots in parallel, of all processes that share a cache: as many as there are processors, and while there is memory.

More would take longer each without an earlier end of any, and guests whose boot is starved miss deadlines. Guests that
run are not counted: a process that waits for a boot keeps its guests, so counting those could stop everyone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.vm.images.cache import Store

__all__ = ["free_memory", "size_of_memory", "turn_to_boot"]

_UNITS = {"": 1 << 20, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PAUSE = 0.05
_PATIENCE = 60.0  # seconds for memory to become free; then QEMU may try
_LOG = logging.getLogger("pytest_ebpf")


def size_of_memory(text: str) -> int:
    """Bytes of what ``--bpf-memory`` says, "1G", "512M", "512" (MB). ``BpfUsageError`` for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([BKMGT]?)B?", text.strip().upper())
    if found is None:
        raise BpfUsageError(f"{text!r} is no size of memory", hint="write it as in --bpf-memory=2G or 512M")
    return round(float(found[1]) * _UNITS[found[2]])


def free_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that are available, None if this machine does not say."""
    try:
        found = re.search(r"^MemAvailable: +(\d+) kB$", meminfo.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) << 10 if found is not None else None


@contextlib.contextmanager
def turn_to_boot(
    store: Store,
    *,
    memory: int,
    say: Callable[[str], None],
    places: int = 0,
    free: Callable[[], int | None] = free_memory,
    patience: float = _PATIENCE,
) -> Iterator[None]:
    """Hold one of the ``places`` (0: one for each processor) while a guest with ``memory`` bytes boots. Where others
    hold all, or the memory is not free, wait and say so; where no file can be locked, do not wait."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            _take_place(store, stack, places=places or len(os.sched_getaffinity(0)), say=say)
            _wait_for_memory(memory, free=free, say=say, patience=patience)
        yield


def _take_place(store: Store, stack: contextlib.ExitStack, *, places: int, say: Callable[[str], None]) -> None:
    told = False
    while True:
        for number in range(places):
            with contextlib.ExitStack() as attempt:  # a place that others hold is let go, with its descriptor
                if attempt.enter_context(store.claim(f"boot-{number}")):
                    stack.enter_context(attempt.pop_all())
                    return
        if not told:
            told = True
            say(f"waiting: {places} other guests are booting, which is all that this machine's processors carry")
            _LOG.info("a boot waits for one of %d others", places)
        time.sleep(_PAUSE)


def _wait_for_memory(
    memory: int, *, free: Callable[[], int | None], say: Callable[[str], None], patience: float
) -> None:
    deadline = time.monotonic() + patience
    told = False
    while (there := free()) is not None and there < memory:
        words = f"{there >> 20} MB of memory are free, a guest may take {memory >> 20} MB"
        if time.monotonic() > deadline:
            _LOG.info("%s: it boots all the same", words)
            return
        if not told:
            told = True
            say(f"waiting: {words}")
            _LOG.info("a boot waits: %s", words)
        time.sleep(_PAUSE)
