"""Tests of the plugin run pytest inside pytest. Most use the kernel of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis  # noqa: F401
import pytest

# pytester forgets what the inner run imported; what is imported here stays, and each inner run starts faster.
import pytest_ebpf.fixtures.comparing
import pytest_ebpf.fixtures.features
import pytest_ebpf.fixtures.machines
import pytest_ebpf.fixtures.progress
import pytest_ebpf.fixtures.summary
import pytest_ebpf.fixtures.verdicts
import pytest_ebpf.kernels.host
import pytest_ebpf.live.attach
import pytest_ebpf.live.loading
import pytest_ebpf.live.probing
import pytest_ebpf.packets
import pytest_ebpf.plan.load_plan
import pytest_ebpf.vm.spec  # noqa: F401
from pytest_ebpf.vm.cache import CACHE_VARIABLE, default_cache

OBJECTS = Path(__file__).parents[2] / "sample_programs" / "built"


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
