"""QEMU's monitor protocol (QMP), as much as saving and restoring a machine takes. Lines of JSON over a socket pair.

QEMU's own client for Python (qemu.qmp) is built on asyncio, whose import alone takes as long as a quarter of a restore.
"""

from __future__ import annotations

import json
import time
from typing import Any

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest.stream import Stream

__all__ = ["Monitor", "interrupt"]

_PAUSE = 0.02
_QUICK = 1.0


def interrupt(stream: Stream) -> None:
    """Send the guest an interrupt that no kernel can mask. No answer is read: the guest's console has it."""
    for command in ("qmp_capabilities", "inject-nmi"):  # the first is refused where it was given before
        stream.write(json.dumps({"execute": command}).encode() + b"\n", _QUICK)


class Monitor:
    """``deadline`` is a time of the monotonic clock, for everything that is asked. BootFailed for an error of QEMU, for
    its end and for its silence."""

    def __init__(self, stream: Stream, *, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline
        self._line()  # the greeting
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """Run a command: its answer."""
        self._stream.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n", self._left())
        while True:
            reply = self._line()
            if "error" in reply:
                raise BootFailed(f"QEMU refused {command}: {reply['error'].get('desc', '?')}")
            if "return" in reply:
                answer = reply["return"]
                return answer if isinstance(answer, dict) else {}

    def share_memory(self) -> None:
        """A state does not hold the memory: that is a file."""
        self.ask("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])

    def wait_migrated(self) -> None:
        """Until the state has been written, or read."""
        while (status := self.ask("query-migrate").get("status", "")) != "completed":
            if status in ("failed", "cancelled"):
                raise BootFailed(f"QEMU could not move the state: {status}")
            time.sleep(min(_PAUSE, self._left()))

    def wait_running(self) -> None:
        """Until the machine runs on with the state that it has read."""
        while self._line().get("event") != "RESUME":
            pass

    def _line(self) -> dict[str, Any]:
        try:
            line = self._stream.read_line(self._left())
        except TimeoutError:
            raise BootFailed("QEMU does not answer") from None
        if not line.endswith(b"\n"):
            raise BootFailed("QEMU ended")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())
