"""The programs that a guest needs on this machine, found before anything is started."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.guest.platforms import PLATFORMS
from pytest_ebpf.vm.images.modules import find_program

__all__ = ["Tools", "find_foreign_tools", "find_tools", "is_static", "missing_tools"]

_PT_INTERP = 3
# Program -> the Debian package that has it. virtme-run calls the last three.
_PACKAGES = {
    "qemu": "qemu-system-x86",
    "busybox": "busybox-static",
    "setpriv": "util-linux",
    "modprobe": "kmod",
    "depmod": "kmod",
    "strings": "binutils",
}


@dataclass(frozen=True, slots=True)
class Tools:
    """Absolute paths of the programs. ``qboot``: the firmware that comes with QEMU and does nothing but start a
    kernel, "" where it is not there."""

    virtme_run: str
    qemu: str
    busybox: str
    setpriv: str
    qboot: str = ""


def find_tools() -> Tools:
    """BootFailed names everything that is missing and the one command that installs it."""
    if platform.machine() != "x86_64":
        raise BootFailed(f"guests need an x86-64 machine, this is {platform.machine()}", hint="use --bpf-kernels=host")
    found = _look()
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise BootFailed(f"cannot boot a guest without {_and(missing)}", hint=_way_out(missing))
    virtme_run, qemu, busybox, setpriv = (str(found[name]) for name in ("virtme-run", "qemu", "busybox", "setpriv"))
    return Tools(virtme_run, qemu, busybox, setpriv, qboot=_qboot(qemu))


def find_foreign_tools(architecture: str) -> Tools:
    """For a guest of another architecture. BootFailed names what is missing and the command that installs it."""
    platform = PLATFORMS[architecture]
    qemu, setpriv = find_program(platform.qemu), find_program("setpriv")
    if qemu is None or setpriv is None:
        name, package = (platform.qemu, platform.package) if qemu is None else ("setpriv", _PACKAGES["setpriv"])
        raise BootFailed(
            f"cannot boot a guest of {architecture} without {name}", hint=f"run: apt-get install {package}"
        )
    return Tools("", qemu, "", setpriv)


def missing_tools() -> dict[str, str]:
    """What is missing -> how to get it. For ``pytest-ebpf doctor``."""
    return {_label(name): _way_out([name]) for name, path in _look().items() if path is None}


def _look() -> dict[str, str | None]:
    qemu = find_program(f"qemu-system-{platform.machine()}")
    helpers = {name: find_program(name) for name in ("setpriv", "modprobe", "depmod", "strings")}
    return {"virtme-run": _virtme_run(), "qemu": qemu, "busybox": _busybox()} | helpers


def _qboot(qemu: str) -> str:
    """Beside this QEMU: not every build has it."""
    path = Path(qemu).resolve().parent.parent / "share/qemu/qboot.rom"
    return str(path) if path.exists() else ""


def _virtme_run() -> str | None:
    beside = Path(sys.executable).parent / "virtme-run"  # of this virtual environment, which need not be on PATH
    return str(beside) if beside.exists() else shutil.which("virtme-run")


def _busybox() -> str | None:
    """A busybox for the initramfs, where there are no libraries: a dynamic one does not count."""
    candidates = (find_program(name) for name in ("busybox", "busybox-static", "busybox.static"))
    return next((path for path in candidates if path is not None and is_static(Path(path).read_bytes())), None)


def is_static(elf: bytes) -> bool:
    """Whether a 64-bit little-endian ELF program asks for no interpreter."""
    if elf[:6] != b"\x7fELF\x02\x01":
        return False
    table = int.from_bytes(elf[0x20:0x28], "little")
    size = int.from_bytes(elf[0x36:0x38], "little")
    count = int.from_bytes(elf[0x38:0x3A], "little")
    kinds = (elf[table + i * size : table + i * size + 4] for i in range(count))
    return all(int.from_bytes(kind, "little") != _PT_INTERP for kind in kinds)


def _label(name: str) -> str:
    if name == "qemu":
        return f"qemu-system-{platform.machine()}"
    return "a statically linked busybox" if name == "busybox" else name


def _and(names: list[str]) -> str:
    labels = [_label(name) for name in names]
    return labels[0] if len(labels) == 1 else ", ".join(labels[:-1]) + " and " + labels[-1]


def _way_out(missing: list[str]) -> str:
    packages = list(dict.fromkeys(_PACKAGES[name] for name in missing if name in _PACKAGES))
    steps = []
    if packages:
        steps.append(f"apt-get install {' '.join(packages)}")
    if "virtme-run" in missing:
        steps.append(f"{sys.executable} -m pip install virtme-ng")
    return "run: " + " && ".join(steps)
