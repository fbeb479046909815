"""BTF: whether the kernel has its own, and which kinds it takes. The facts know both, so nothing is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pytest_ebpf.agent.ops import Op, Result
from pytest_ebpf.features.base import Answer, Feature
from pytest_ebpf.plan.btf_features import BTF_FEATURES, BtfFeature
from pytest_ebpf.plan.facts import Facts

__all__ = ["BTF_KINDS", "VMLINUX_BTF"]


def _nothing(facts: Facts) -> list[Op]:
    return []


def _own(results: Sequence[Result], facts: Facts) -> Answer:
    if facts.btf is not None or facts.described.has_btf:
        return Answer(True, "btf: /sys/kernel/btf/vmlinux", "5.4")
    return Answer(False, "btf: no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)", "5.4")


def _kind(results: Sequence[Result], facts: Facts, *, row: BtfFeature) -> Answer:
    if row.name in facts.btf_features:
        return Answer(True, f"BTF with {row.name}: works", row.since)
    # one who may not load BTF at all sees every kind refused
    known = bool(facts.btf_features) or facts.described.cap_bpf
    return Answer(False if known else None, f"BTF with {row.name}: refused", row.since)


VMLINUX_BTF = Feature("btf", "5.4", _nothing, _own, source="341dfcf8d78e", config=("DEBUG_INFO_BTF",), group="btf")
BTF_KINDS: tuple[Feature, ...] = tuple(
    Feature(row.name, row.since, _nothing, partial(_kind, row=row), source=row.commit, group="btf")
    for row in BTF_FEATURES
)
