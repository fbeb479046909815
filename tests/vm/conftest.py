"""Guests for tests. Each kernel boots once for the tests that leave it whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.vm.cache import Store, default_cache
from pytest_ebpf.vm.config import BootConfig
from pytest_ebpf.vm.images import KernelImage, image_of
from pytest_ebpf.vm.machine import Machine, boot

Boot = Callable[[], tuple[Machine, RemoteKernel]]


def images() -> list[KernelImage]:
    """The newest image of each series in the cache, oldest series first."""
    newest = {entry.series: entry for entry in Store(default_cache()).entries()}
    ordered = sorted(newest.values(), key=lambda entry: [int(part) for part in entry.series.split(".")])
    return [image_of(entry, spec=entry.series) for entry in ordered]


@pytest.fixture(scope="session")
def any_image() -> KernelImage:
    """The kernel that boots fastest: the oldest."""
    found = images()
    assert found, "no kernel is in the cache; run: pytest-ebpf kernels fetch 5.10 6.1 6.12 newest"
    return found[0]


def start(image: KernelImage, config: BootConfig) -> tuple[Machine, RemoteKernel]:
    """A booted guest and the kernel in it."""
    machine = boot(image, config=config)

    def lost(reason: str) -> str:
        return f"{machine.exit_reason(2.0) or reason}\n{machine.console_tail()}"

    return machine, RemoteKernel(machine.stream, name=image.spec, scale=machine.accel.factor, on_lost=lost)


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> BootConfig:
    """Boots from a cache of our own: its path is in every command line, which tells our guests from others'."""
    return BootConfig(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def fresh(any_image: KernelImage, config: BootConfig) -> Iterator[Boot]:
    """Boots a guest that the test may ruin."""
    machines: list[Machine] = []

    def make() -> tuple[Machine, RemoteKernel]:
        machine, kernel = start(any_image, config)
        machines.append(machine)
        return machine, kernel

    yield make
    for machine in machines:
        machine.close()
