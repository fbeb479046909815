"""The group ``pytest-ebpf btf`` with all its commands, which are in several modules."""

from __future__ import annotations

import pytest_ebpf.cli.bindings
import pytest_ebpf.cli.btf_tables  # noqa: F401  # each adds its commands to the group
from pytest_ebpf.cli.btf import btf

__all__ = ["btf"]
