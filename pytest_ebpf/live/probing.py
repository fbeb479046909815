"""Asking a kernel whether it can do something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_ebpf.live.session import Session, Target

if TYPE_CHECKING:
    from pytest_ebpf.plan.feature_base import Answer

__all__ = ["probe_feature"]


def probe_feature(target: Target, *, name: str) -> Answer:
    """What a probe says about a feature. What the probe makes is gone again when this returns.

    ``UsageError`` for a name that no table knows.
    """
    from pytest_ebpf.plan.features import probe_ops, read_probe

    facts = target.facts()
    ops = probe_ops(name, facts)
    session = Session(target, name=f"probe of {name}")
    try:
        return read_probe(name, session.run(ops) if ops else (), facts=facts)
    finally:
        session.close()
