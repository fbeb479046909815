"""Hypothesis strategies: ``from pytest_ebpf import strategies as st``. Importing this imports Hypothesis."""

from __future__ import annotations

from pytest_ebpf.strategies.contexts import ctx
from pytest_ebpf.strategies.programs import programs
from pytest_ebpf.strategies.stacks import mix_of, packets
from pytest_ebpf.strategies.types import from_btf, globals_of, keys, values

__all__ = ["ctx", "from_btf", "globals_of", "keys", "mix_of", "packets", "programs", "values"]
