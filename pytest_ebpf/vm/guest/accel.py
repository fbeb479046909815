"""Hardware virtualisation if it really runs kernels here, else emulation; and why.

``/dev/kvm`` may open and even create a machine, and a stock kernel still hang (nested, paravirtual-only hosts), so the
only proof is a kernel that started under it. The answer is kept per host boot and QEMU.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.files import replace_file
from pytest_ebpf.frozen import asdict, dataclass
from pytest_ebpf.vm.guest.command import AccelKind
from pytest_ebpf.vm.guest.config import AccelMode

__all__ = ["Accel", "choose_accel", "device_problem", "recall", "remember"]

_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SLOWNESS = 6.0  # a guest's boot under TCG over its boot under KVM, with room for a busy machine


@dataclass(frozen=True, slots=True)
class Accel:
    """What guests run on, and why that. ``pace``: how many times slower than usual they are here (``pace.py``)."""

    kind: AccelKind
    reason: str
    slowness: float = _SLOWNESS
    pace: float = 1.0

    @property
    def factor(self) -> float:
        """What to multiply deadlines by that were thought out for real hardware."""
        return self.pace * (1.0 if self.kind == "kvm" else self.slowness)

    @property
    def expected(self) -> float:
        """How many times longer a guest of its architecture takes than one of this machine's."""
        return self.slowness / _SLOWNESS

    @property
    def label(self) -> str:
        """``KVM (a kernel ran under it)``, ``TCG (there is no /dev/kvm)``."""
        return f"{self.kind.upper()} ({self.reason})"


def choose_accel(mode: AccelMode, *, require_kvm: bool, problem: Callable[[], str]) -> Accel:
    """``problem`` returns what is wrong with KVM, "" for nothing; it is called only if the answer matters.

    BootFailed if KVM is demanded (by ``mode`` kvm or ``require_kvm``) and does not work.
    """
    demanded = require_kvm or mode == "kvm"
    if mode == "tcg" and not require_kvm:
        return Accel("tcg", "asked for")
    if mode == "tcg":
        raise BootFailed("emulation (tcg) was requested, but KVM is required", hint="drop one of the two options")
    trouble = problem()
    if not trouble:
        return Accel("kvm", "a kernel ran under it")
    if demanded:
        raise BootFailed(f"KVM is required and does not work here: {trouble}", hint=_way_out(trouble))
    return Accel("tcg", f"no KVM: {trouble}")


def device_problem(device: Path = _KVM) -> str:
    """The problem that the device node shows, "" for none."""
    if not device.exists():
        return f"there is no {device}"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"no permission for {device}"
    return ""


def recall(cache: Path, *, qemu: str) -> str | None:
    """The kept answer to "what is wrong with KVM"; None if there is none for this boot of the host and this QEMU."""
    try:
        record = json.loads((cache / "kvm.json").read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("for") != asdict(_circumstances(qemu)):
        return None
    return str(record.get("problem", ""))


def remember(cache: Path, problem: str, *, qemu: str) -> None:
    """Keep the answer. A cache that cannot be written costs a probe the next time."""
    record = json.dumps({"for": asdict(_circumstances(qemu)), "problem": problem})
    with contextlib.suppress(OSError):
        replace_file(cache / "kvm.json", record)


@dataclass(frozen=True, slots=True)
class _Circumstances:
    """What the answer holds for. The user too: permissions differ."""

    boot_id: str
    qemu: str
    size: int
    modified: int
    uid: int


def _circumstances(qemu: str) -> _Circumstances:
    status = Path(qemu).stat()
    return _Circumstances(_BOOT_ID.read_text().strip(), qemu, status.st_size, status.st_mtime_ns, os.getuid())


def _way_out(trouble: str) -> str:
    if "permission" in trouble:
        return "join the group kvm (usermod -aG kvm $USER), or run without --bpf-require-kvm"
    return "run without --bpf-require-kvm to emulate (TCG)"
