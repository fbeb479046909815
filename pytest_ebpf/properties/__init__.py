"""Properties: thousands of packets in batches, and the smallest one that fails; maps and globals put back; verifiers
that differ about a program."""

from __future__ import annotations

from pytest_ebpf.properties.decorator import bpf_property
from pytest_ebpf.properties.state import remember
from pytest_ebpf.properties.verifier import refusals, same_verdict

__all__ = ["bpf_property", "refusals", "remember", "same_verdict"]
