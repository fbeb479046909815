"""Guests for tests. Each kernel boots once for the tests that leave it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_ebpf.fixtures.kernel_matrix import Problem, kernel_of_item
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.guest.machine import Machine
from pytest_ebpf.vm.images.image import KernelImage
from support.guests import Boot, images, start


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where no kernels are named, tests of attaching run on the host alone: those that ask for another kernel are left
    to the run that names some (ci/program_types.py)."""
    if config.getoption("bpf_kernels"):
        return
    away = {item for item in items if item.path.name.startswith("test_attach_") and _runs_nowhere(item)}
    config.hook.pytest_deselected(items=list(away))
    items[:] = [item for item in items if item not in away]


def _runs_nowhere(item: pytest.Item) -> bool:
    return isinstance(kernel_of_item(item), Problem)


@pytest.fixture(scope="session")
def any_image() -> KernelImage:
    """The kernel that boots fastest: the oldest."""
    found = images()
    assert found, "no kernel is in the cache; run: pytest-ebpf kernels fetch 5.10 6.1 6.12 newest"
    return found[0]


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> BootConfig:
    """Boots from a cache of our own: its path is in every command line, which tells our guests from others'."""
    return BootConfig(cache=tmp_path_factory.mktemp("cache"), boot="cold")


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
