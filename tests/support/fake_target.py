"""A target whose kernel answers from a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_ebpf.agent.ops import Described, Done, MapFreeze, MapSet
from pytest_ebpf.kernels.fake import FakeKernel
from pytest_ebpf.live.hints import advise
from pytest_ebpf.live.session import Session
from pytest_ebpf.plan.btf_features import BTF_FEATURES
from pytest_ebpf.plan.facts import Facts

__all__ = ["FakeTarget", "fake_session", "fake_target"]

DESCRIBED = Described(
    release="6.1.0",
    version="#1",
    machine="x86_64",
    cpus=2,
    page_size=4096,
    boot="b",
    byteorder="little",
    has_btf=False,
    jit=1,
    euid=0,
    cap_bpf=True,
    unprivileged_bpf_disabled=0,
)


ALL_BTF_FEATURES = frozenset(feature.name for feature in BTF_FEATURES)


@dataclass(frozen=True, slots=True)
class FakeTarget:
    kernel: FakeKernel
    name: str = "fake"
    described: Described = DESCRIBED
    time_scale: float = 1.0

    known: Facts = field(default_factory=lambda: Facts(DESCRIBED, btf_features=ALL_BTF_FEATURES))

    def facts(self) -> Facts:
        return self.known


def fake_session(answers: Mapping[Any, Any] | None = None) -> Session:
    """``fake_session({MapGet: ...})``: a session on a fake kernel with these answers."""
    return Session(FakeTarget(FakeKernel(answers)), name="test", advise=advise)


def fake_target(answers: Mapping[Any, Any] | None = None) -> FakeTarget:
    """As ``fake_session``, for what opens its own session; maps can be filled."""
    return FakeTarget(FakeKernel({**(answers or {}), MapSet: Done(), MapFreeze: Done()}))
