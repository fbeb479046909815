"""A guest whose state is saved and restored: what it does before, and what a restored one has to make fresh.

Every guest that is restored from one state has the same memory: without a new seed it would draw the same random
numbers, and its clock stands at the time of the saving.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from struct import pack

from pytest_ebpf.agent.protocol.setup import Wishes, bring_up, free_initramfs, write
from pytest_ebpf.uapi.numbers import RNDADDENTROPY, RNDRESEEDCRNG

__all__ = ["freshen", "park"]


def park(port: int) -> list[str]:
    """Do all that needs no host, so that it is saved too, and say that the state may be saved now. What failed.

    The boot id must not be read before: the kernel makes it when it is first read (drivers/char/random.c).
    """
    problems = bring_up()
    free_initramfs()
    write("/proc/sys/vm/drop_caches", "3")
    os.write(port, json.dumps({"parked": True, "uptime": time.clock_gettime(time.CLOCK_BOOTTIME)}).encode() + b"\n")
    return problems


def freshen(wishes: Wishes) -> None:
    """Random numbers; a line in the kernel log that tells where the life of this guest begins."""
    seed = bytes.fromhex(wishes.seed)
    with open("/dev/urandom", "wb", buffering=0) as device:
        fcntl.ioctl(device, RNDADDENTROPY, pack("ii", len(seed) * 8, len(seed)) + seed)
        fcntl.ioctl(device, RNDRESEEDCRNG, 0)
    write("/dev/kmsg", "<6>pytest-ebpf: restored from a saved state\n")
