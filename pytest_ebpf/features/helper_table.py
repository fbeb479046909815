"""Helper functions by number."""

from __future__ import annotations

from pytest_ebpf.helper_history import HELPER_HISTORY

__all__ = ["HELPERS"]

HELPERS: tuple[str, ...] = ("bpf_unspec", *HELPER_HISTORY)
