"""How a guest is to be booted, as a value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.vm.images.architecture import NATIVE
from pytest_ebpf.vm.images.cache import default_cache
from pytest_ebpf.vm.images.image import KernelImage
from pytest_ebpf.vm.images.rootfs import Rooted

__all__ = [
    "AccelMode",
    "BootConfig",
    "BootMode",
    "Image",
    "Progress",
    "architecture_of",
    "rooted_of",
    "silent",
]

AccelMode = Literal["auto", "kvm", "tcg"]
BootMode = Literal["warm", "cold", "stock"]
Progress = Callable[[str], None]


class Image(Protocol):
    """What a guest is booted from; ``vm.images.KernelImage`` is one and documents the fields."""

    @property
    def spec(self) -> str: ...

    @property
    def release(self) -> str: ...

    @property
    def vmlinux(self) -> Path: ...

    @property
    def bzimage(self) -> Path | None: ...

    @property
    def modules_root(self) -> Path | None: ...


def architecture_of(image: Image) -> str:
    """Debian's name of the processor that an image is for. Other images than ours are for this machine's."""
    return image.architecture if isinstance(image, KernelImage) else NATIVE


def rooted_of(image: Image) -> Rooted:
    """The root of a guest of another architecture. BootFailed if it is not in the cache."""
    if isinstance(image, KernelImage) and image.rooted is not None:
        return image.rooted
    raise BootFailed(f"kernel {image.spec} has no root", hint=f"run: pytest-ebpf kernels fetch {image.spec}")


def silent(text: str) -> None:
    """The progress report of a caller that wants none."""


@dataclass(frozen=True, slots=True)
class BootConfig:
    """The user's choices; the defaults suit emulation and KVM alike.

    ``boot``: from a saved state (warm), from nothing (cold), or as virtme-ng starts a guest, with the packaged kernel
    and its command line (stock).

    ``cpus`` 0 means one under emulation, where it is the messages between CPUs that cost, and two under KVM.
    ``enter``: with a shell for people, and the guest stays when this process ends; ``gdb``: QEMU's stub for debuggers.
    Both boot cold. ``memory`` is in QEMU's notation. ``boot_timeout`` is in seconds on real hardware; emulation gets
    ``Accel.factor`` times as many. ``keep`` names directories that stay visible, read-only and at their own path,
    where the guest has a file system of its own (``/tmp``, ``/var/tmp``, ``/run``); the current one always does.
    """

    accel: AccelMode = "auto"
    boot: BootMode = "warm"
    require_kvm: bool = False
    cpus: int = 0
    memory: str = "1G"
    boot_timeout: float = 20.0
    cache: Path = field(default_factory=default_cache)
    kernel_args: tuple[str, ...] = ()
    qemu_args: tuple[str, ...] = ()
    keep: tuple[Path, ...] = ()
    enter: bool = False
    gdb: bool = False
    on_progress: Progress = silent
