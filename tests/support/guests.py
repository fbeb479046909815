"""Real kernels for the tests of this directory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.kernels.running import machine_loss
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.guest.machine import Machine, boot
from pytest_ebpf.vm.images.architecture import NATIVE
from pytest_ebpf.vm.images.cache import Store, default_cache
from pytest_ebpf.vm.images.image import KernelImage, image_of

Boot = Callable[[], tuple[Machine, RemoteKernel]]


def images() -> list[KernelImage]:
    """The newest image of each series in the cache for this processor, oldest series first."""
    newest = {entry.series: entry for entry in Store(default_cache()).entries() if entry.architecture == NATIVE}
    ordered = sorted(newest.values(), key=lambda entry: [int(part) for part in entry.series.split(".")])
    return [image_of(entry, spec=entry.series) for entry in ordered]


def start(image: KernelImage, config: BootConfig) -> tuple[Machine, RemoteKernel]:
    """A booted guest and the kernel in it."""
    machine = boot(image, config=config)

    lost = partial(machine_loss, machine)
    return machine, RemoteKernel(machine.stream, name=image.spec, scale=machine.accel.factor, on_lost=lost)
