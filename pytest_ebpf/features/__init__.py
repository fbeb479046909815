"""What a kernel can do. The tables are imported when the first feature is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the generated tables of this room are read without anything that touches a kernel
    from pytest_ebpf.features.base import Answer
    from pytest_ebpf.live.session import Target

__all__ = ["probe_feature"]


def probe_feature(target: Target, *, name: str) -> Answer:
    """What a probe of the kernel reports about a feature: see ``features.probe``."""
    from pytest_ebpf.features.probe import probe_features

    return probe_features(target, [name])[name]
