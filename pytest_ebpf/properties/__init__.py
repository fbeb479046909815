"""Properties of packet programs: thousands of packets in batches, and the smallest one that fails."""

from __future__ import annotations

from pytest_ebpf.properties.decorator import bpf_property

__all__ = ["bpf_property"]
