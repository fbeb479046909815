"""A boot in the background, for a kernel that will be needed soon."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pytest_ebpf.kernels.running import RunningKernel

__all__ = ["BackgroundBoot"]

_PATIENCE = 1.0  # seconds for a boot to end before it is left to the end of the process


class BackgroundBoot:
    """A boot in a separate thread. The thread lives until ``end``, because QEMU ends with the thread that started it
    (PR_SET_PDEATHSIG). It does not delay the end of the process. ``start`` may find that it is too early, and give
    None."""

    def __init__(self, start: Callable[[], RunningKernel | None], *, name: str) -> None:
        self._start = start
        self._done = threading.Event()
        self._over = threading.Event()
        self._result: RunningKernel | BaseException | None = None
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._start()
        except BaseException as error:
            self._result = error
        self._done.set()
        self._over.wait()

    @property
    def ready(self) -> bool:
        """Whether the boot has ended, with a kernel or an error."""
        return self._done.is_set()

    def wait(self) -> None:
        """Block until the boot has ended."""
        self._done.wait()

    def result(self) -> RunningKernel | None:
        """The kernel; raises the error of a boot that failed."""
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result

    def end(self) -> None:
        """Close the kernel that was booted. A boot that has not finished ends with the process."""
        if self._done.wait(_PATIENCE) and isinstance(self._result, RunningKernel):
            self._result.close()
        self._over.set()
