"""How a command ended: its output and status, or the error of one that took too long."""

from __future__ import annotations

from pytest_ebpf.frozen import dataclass

__all__ = ["CommandTimeoutError", "Completed"]

_SHOWN = 2000  # characters of output in a message


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished command, as ``subprocess.CompletedProcess`` has it. ``returncode`` is -N when signal N ended it."""

    args: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    def check(self) -> Completed:
        """Itself, or ``AssertionError`` with the output of a command that failed."""
        if self.returncode:
            shown = (self.stderr or self.stdout).decode(errors="replace").strip()
            raise AssertionError(f"{' '.join(self.args)} ended with {self.returncode}: {shown}")
        return self

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """Standard output, line by line."""
        return self.text.splitlines()


class CommandTimeoutError(TimeoutError):
    """A command that took too long; it was killed. ``stdout`` and ``stderr``: what it wrote until then."""

    def __init__(self, message: str, *, stdout: bytes, stderr: bytes) -> None:
        shown = "".join(
            f"\n{name}: {data[-_SHOWN:].decode(errors='replace').rstrip()}"
            for name, data in (("stdout", stdout), ("stderr", stderr))
            if data
        )
        super().__init__(message + (shown or "; it wrote nothing"))
        self.stdout = stdout
        self.stderr = stderr
