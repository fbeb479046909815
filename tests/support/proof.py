"""Skips that prove themselves: what a kernel refuses is a skip only where it truly lacks it."""

from __future__ import annotations

from typing import NoReturn

import pytest

from pytest_ebpf import Bpf
from pytest_ebpf.agent.ops import Failed, ProgRejected
from pytest_ebpf.features.probe import Features, kconfig_of
from pytest_ebpf.features.skip_rule import Circumstances, judge_feature
from pytest_ebpf.features.table import feature

__all__ = ["skip_if_missing"]


def skip_if_missing(bpf: Bpf, name: str, *, refused: Failed | ProgRejected, is_host: bool) -> NoReturn:
    """Skip a test whose kernel refused something, if the probe of the feature ``name`` and the rule of the marker
    ``bpf_feature`` excuse it (too old, not configured, forbidden on this machine); else fail with what was refused."""
    target = bpf.session.target
    answer = Features(target).answer(name)
    kernel = Circumstances(target.described.release, target.described.machine, kconfig=kconfig_of(target), own=is_host)
    verdict = judge_feature(feature(name), answer, kernel=kernel)
    if verdict.outcome == "skip":
        pytest.skip(verdict.why)
    pytest.fail(f"{refused}\nThe feature {name!r}: {verdict.outcome}: {verdict.why or answer.message}")
