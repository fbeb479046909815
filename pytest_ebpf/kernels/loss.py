"""Why a kernel was lost."""

from __future__ import annotations

from pytest_ebpf.errors import GuestLost
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.outcome import Outcome

__all__ = ["Loss"]


@dataclass(frozen=True, slots=True)
class Loss:
    """``reason`` in words, what kind of loss it is (see ``GuestLost.outcome``), and what its console says."""

    reason: str
    outcome: Outcome
    console: str = ""

    def error(self, kernel: str, *, during: str = "") -> GuestLost:
        """The error of whoever needs the kernel, or of the test that ran last on it."""
        doing = f" during {during}" if during else ""
        return GuestLost(f"kernel {kernel} was lost{doing}: {self.reason}", console=self.console, outcome=self.outcome)
