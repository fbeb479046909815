"""Tests of the plugin run pytest inside pytest. Most use the kernel of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import hypothesis  # noqa: F401
import pytest

import pytest_ebpf.features.probe

# pytester forgets what the inner run imported; what is imported here stays, and each inner run starts faster.
import pytest_ebpf.fixtures.assert_repr
import pytest_ebpf.fixtures.features
import pytest_ebpf.fixtures.progress
import pytest_ebpf.fixtures.reporting
import pytest_ebpf.fixtures.summary
import pytest_ebpf.fixtures.values
import pytest_ebpf.kernels.host
import pytest_ebpf.live.attach.table
import pytest_ebpf.live.load
import pytest_ebpf.packets
import pytest_ebpf.plan.load_plan
import pytest_ebpf.vm.images.spec  # noqa: F401
from pytest_ebpf.vm.images.cache import CACHE_VARIABLE, default_cache
from support.neighbours import Neighbours
from support.paths import ROOT

OBJECTS = ROOT / "sample_programs" / "built"


CACHE = default_cache()  # pytester gives the inner run a home of its own, which has no kernels


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_EBPF_KERNELS", raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(CACHE))


@pytest.fixture
def objects(pytester: pytest.Pytester) -> Callable[..., None]:
    """``objects("config", ...)`` puts sample objects next to the inner test."""

    def put(*names: str) -> None:
        for name in names:
            shutil.copy(OBJECTS / f"{name}.bpf.o", pytester.path)

    return put


@pytest.fixture
def neighbours(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Neighbours:
    """``neighbours.run("--reruns=1", plugins=("rerunfailures",))``: pytest with the plugins that users have."""
    return Neighbours(pytester, monkeypatch)
