"""Kernel spec -> a running guest: its image, the boot, the agent behind a port."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.kernels.config import PoolConfig, Waiting, silent_wait
from pytest_ebpf.kernels.loss import Loss
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.kernels.running import GuestState, RunningKernel, machine_loss
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.guest.machine import Machine, boot
from pytest_ebpf.vm.guest.turns import size_of_memory, turn_to_boot
from pytest_ebpf.vm.images.fetch import fetch
from pytest_ebpf.vm.images.image import ImageConfig, KernelImage, in_use
from pytest_ebpf.vm.images.resolve import cached_entry, resolve
from pytest_ebpf.vm.images.spec import SeriesSpec, parse_spec

__all__ = ["Prepared", "boot_guest", "find_image", "is_cached", "open_guest", "prepare_guest"]


def find_image(spec: str, *, config: PoolConfig, wait: Waiting) -> KernelImage:
    """The image of a spec from the cache, or from the mirror the first time (``PoolConfig.fetch``)."""
    images = _images(config)
    if not config.fetch or is_cached(spec, config=config):
        return resolve(spec, config=images)
    with wait(f"fetching kernel {spec}"):
        return fetch([spec], config=images)[0]


def is_cached(spec: str, *, config: PoolConfig) -> bool:
    """Whether nothing has to be fetched for a spec: its image is in the cache, or it names a file."""
    parsed = parse_spec(spec)
    return not isinstance(parsed, SeriesSpec) or cached_entry(parsed, store=_images(config).store) is not None


def boot_guest(image: KernelImage, *, config: PoolConfig, wait: Waiting) -> RunningKernel:
    """Boot an image. It stays locked against pruning until the guest is closed."""
    images = _images(config)
    with ExitStack() as held:
        held.enter_context(in_use(image, config=images))
        with wait(f"booting {image.spec}") as say:
            with turn_to_boot(images.store, memory=size_of_memory(config.memory), say=say):
                machine = boot(image, config=_boot_config(config, cache=images.store.root, say=say))
            try:
                running = _connect(machine, image=image, cache=images.store.root)
            except BaseException:
                machine.close()
                raise
        running.hold(held.pop_all())
    return running


@dataclass(frozen=True, slots=True)
class Prepared:
    """A guest that was started once, in ``seconds``; ``problem`` is why it does not start from a saved state."""

    spec: str
    release: str
    seconds: float
    problem: str

    def __str__(self) -> str:
        how = self.problem or f"ready, in {self.seconds:.1f} s"
        return f"{self.spec}: {self.release}: {how}"


def prepare_guest(spec: str, *, config: PoolConfig, wait: Waiting = silent_wait) -> Prepared:
    """Have the state of a guest saved, and start it from there once."""
    image = find_image(spec, config=config, wait=wait)
    with in_use(image, config=_images(config)):
        cache = _images(config).store.root
        machine = boot(image, config=_boot_config(config, cache=cache, say=lambda text: None))
        machine.close()
    return Prepared(spec, image.release, machine.boot_seconds, machine.way.reason)


def open_guest(spec: str, *, config: PoolConfig, wait: Waiting, until: ExitStack) -> Machine:
    """A guest without a kernel for operations: its machine, which is closed with ``until``."""
    image = find_image(spec, config=config, wait=wait)
    until.enter_context(in_use(image, config=_images(config)))
    with wait(f"booting {image.spec}") as say:
        machine = boot(image, config=_boot_config(config, cache=_images(config).store.root, say=say))
    until.callback(machine.close)
    return machine


def _boot_config(config: PoolConfig, *, cache: Path, say: Callable[[str], None]) -> BootConfig:
    return BootConfig(
        accel=config.accel,
        boot=config.boot,
        require_kvm=config.require_kvm,
        cpus=config.cpus,
        memory=config.memory,
        boot_timeout=config.boot_timeout,
        cache=cache,
        kernel_args=config.kernel_args,
        on_progress=say,
        keep=config.keep,
        enter=config.enter,
        gdb=config.gdb,
    )


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
