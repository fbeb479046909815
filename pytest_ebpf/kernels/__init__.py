"""Where ops run: here, behind a stream, or from a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_ebpf.kernels.base import Kernel
    from pytest_ebpf.kernels.fake import FakeKernel
    from pytest_ebpf.kernels.host import open_host_kernel
    from pytest_ebpf.kernels.local import LocalKernel
    from pytest_ebpf.kernels.remote import RemoteKernel

__all__ = ["FakeKernel", "Kernel", "LocalKernel", "RemoteKernel", "open_host_kernel"]

_HOMES = {
    "FakeKernel": "fake",
    "Kernel": "base",
    "LocalKernel": "local",
    "RemoteKernel": "remote",
    "open_host_kernel": "host",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the fake and the interface are of use without the agent's system calls."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
