"""Kernel spec -> a running guest: its image, the boot, the agent behind a port."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pytest_ebpf.kernels.config import PoolConfig, Waiting
from pytest_ebpf.kernels.loss import Loss
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.kernels.running import GuestState, RunningKernel, machine_loss
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.guest.machine import Machine, boot
from pytest_ebpf.vm.images.fetch import fetch
from pytest_ebpf.vm.images.image import ImageConfig, KernelImage, in_use
from pytest_ebpf.vm.images.resolve import cached_entry, resolve
from pytest_ebpf.vm.images.spec import SeriesSpec, parse_spec

__all__ = ["boot_guest", "find_image"]


def find_image(spec: str, *, config: PoolConfig, wait: Waiting) -> KernelImage:
    """The image of a spec from the cache, or from the mirror the first time (``PoolConfig.fetch``)."""
    images = _images(config)
    parsed = parse_spec(spec)
    if not config.fetch or not isinstance(parsed, SeriesSpec) or cached_entry(parsed, store=images.store) is not None:
        return resolve(spec, config=images)
    with wait(f"fetching kernel {spec}"):
        return fetch([spec], config=images)[0]


def boot_guest(image: KernelImage, *, config: PoolConfig, wait: Waiting, until: ExitStack) -> RunningKernel:
    """Boot an image. It stays locked against pruning until ``until`` is closed."""
    images = _images(config)
    until.enter_context(in_use(image, config=images))
    with wait(f"booting {image.spec}") as say:
        boot_config = BootConfig(
            accel=config.accel,
            require_kvm=config.require_kvm,
            cpus=config.cpus,
            memory=config.memory,
            boot_timeout=config.boot_timeout,
            cache=images.store.root,
            on_progress=say,
            keep=config.keep,
        )
        machine = boot(image, config=boot_config)
        try:
            return _connect(machine, image=image, cache=images.store.root)
        except BaseException:
            machine.close()
            raise


def _images(config: PoolConfig) -> ImageConfig:
    return ImageConfig(mirror=config.mirror, cache=config.cache)


def _connect(machine: Machine, *, image: KernelImage, cache: Path) -> RunningKernel:
    state = GuestState()

    def lost(found: Loss) -> Loss:
        state.loss = state.loss or machine_loss(machine, found)
        return state.loss

    kernel = RemoteKernel(machine.stream, name=image.spec, scale=machine.accel.factor, on_lost=lost)
    accel = machine.accel.kind.upper()
    return RunningKernel(image.spec, kernel=kernel, machine=machine, image=image, accel=accel, state=state, cache=cache)
