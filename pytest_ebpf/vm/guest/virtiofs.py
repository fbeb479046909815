"""Kernels without 9p, as those of cloud flavours: the host's files come over virtiofs.

9p is a part of QEMU, virtiofs needs a program beside it, and memory that both share: such a guest cannot be saved. That
program has no option to serve files read-only, so it runs in a mount namespace of its own, in which everything is
mounted read-only (``read_only_host.py``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest.config import Image
from pytest_ebpf.vm.images.modules import find_program

__all__ = ["NOT_SAVED", "FileServer", "find_daemon", "lacks_9p", "serve_files", "server_argv"]

NOT_SAVED = "its kernel has no 9p, and a machine with virtiofs cannot be saved"
_SCRIPT = Path(__file__).with_name("read_only_host.py")
# Debian 12 has the one of QEMU; later ones a package of its own.
_PLACES = ("/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd")


def lacks_9p(image: Image) -> bool:
    """Whether neither the kernel nor its modules have 9p, by the lists of depmod and of the build. False where there
    are none."""
    if image.modules_root is None:
        return False
    folder = image.modules_root / "lib/modules" / image.release
    try:
        lists = [(folder / name).read_text() for name in ("modules.dep", "modules.builtin")]
    except OSError:
        return False
    return not any("/9p.ko" in text for text in lists)


def find_daemon(spec: str, *, places: Sequence[str] = _PLACES) -> str:
    """virtiofsd. BootFailed where it is not there, or may not run."""
    found = find_program("virtiofsd") or next((place for place in places if os.access(place, os.X_OK)), "")
    problem = "" if found else "virtiofsd is missing"
    hint = "run: apt-get install virtiofsd (Debian 12: qemu-system-common)"
    if os.geteuid() != 0:
        problem, hint = "it needs root", "run it as root, or take a kernel with 9p (CONFIG_NET_9P_VIRTIO, CONFIG_9P_FS)"
    elif shutil.which("unshare") is None:
        problem, hint = "unshare is missing", "run: apt-get install util-linux"
    if problem:
        raise BootFailed(
            f"kernel {spec} has no 9p, so the host's files have to come over virtiofs, and {problem}", hint=hint
        )
    return found


class FileServer:
    """A running virtiofsd. It ends with the connection to its QEMU, whatever ends that."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def end(self) -> None:
        """Reap it, after its QEMU has ended."""
        self._process.kill()
        self._process.wait()


def serve_files(daemon: str, *, listening: int, messages: Path) -> FileServer:
    """Serve the host's root to who connects to the listening socket. What goes wrong is written behind ``messages``."""
    with messages.open("ab") as said:
        process = subprocess.Popen(
            server_argv(daemon, listening=listening),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            pass_fds=(listening,),
            start_new_session=True,  # Ctrl-C is for pytest; it decides what becomes of its guests
        )
    return FileServer(process)


def server_argv(daemon: str, *, listening: int) -> list[str]:
    """virtiofsd in a mount namespace of its own."""
    alone = ["unshare", "--mount", "--propagation", "private", "--", sys.executable, "-I", "-S", str(_SCRIPT)]
    return [*alone, daemon, f"--fd={listening}", "-o", "source=/,sandbox=chroot,cache=auto,log_level=err"]
