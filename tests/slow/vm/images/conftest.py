"""An archive with two kernels, and a cache that is empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_ebpf.vm.images.image import ImageConfig
from support.fake_mirror import Mirror, serve, write_ring
from support.fetching import KEY, NEW, OLD


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serve() as running:
        running.add_suite("bookworm", [OLD], key=KEY)
        running.add_suite("bookworm-security", [NEW], key=KEY)
        yield running


@pytest.fixture
def config(mirror: Mirror, tmp_path: Path) -> ImageConfig:
    return ImageConfig(mirror.url, tmp_path / "cache", write_ring(tmp_path, KEY), pauses=(0.01, 0.01))
