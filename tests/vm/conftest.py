"""Guests for tests. Each kernel boots once for the tests that leave it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from vm_guests import Boot, images, start

from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.vm.config import BootConfig
from pytest_ebpf.vm.images import KernelImage
from pytest_ebpf.vm.machine import Machine


@pytest.fixture(scope="session")
def any_image() -> KernelImage:
    """The kernel that boots fastest: the oldest."""
    found = images()
    assert found, "no kernel is in the cache; run: pytest-ebpf kernels fetch 5.10 6.1 6.12 newest"
    return found[0]


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
