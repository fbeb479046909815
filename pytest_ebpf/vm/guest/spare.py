"""Where a guest is made when the cache cannot be written to: read-only, of somebody else, on a full disk.

Its images are still read from the cache. A saved state needs more room than a place for temporary files should lose, so
the guest boots cold.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.images.cache import CACHE_VARIABLE

__all__ = ["check_room", "spare_place", "unusable"]

_NEEDED = 48 << 20  # bytes for a composed machine, the agent and a console
_WITHOUT_CACHE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)


def check_room(cache: Path) -> None:
    """``OSError`` if nothing can be written below ``cache``, or too little."""
    running = cache / "running"
    running.mkdir(parents=True, exist_ok=True)
    if not os.access(running, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    with tempfile.TemporaryFile(dir=running):
        pass
    if shutil.disk_usage(running).free < _NEEDED:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def spare_place(error: OSError) -> Path | None:
    """A directory of this user's alone, the same one each time; None if ``error`` is of another kind, or there is no
    room anywhere."""
    if error.errno not in _WITHOUT_CACHE:
        return None
    for parent in (Path(tempfile.gettempdir()), Path("/dev/shm")):
        place = parent / f"pytest-ebpf-cache-{os.geteuid()}"
        with contextlib.suppress(OSError):
            place.mkdir(mode=0o700, exist_ok=True)
            status = place.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
                check_room(place)
                return place
    return None


def unusable(cache: Path, error: OSError) -> BootFailed:
    """The one message for a cache that cannot be used, with what to do."""
    hint = f"free some space, or name a writable directory with {CACHE_VARIABLE} or --bpf-cache-dir"
    return BootFailed(f"cannot use the cache {cache}: {error.strerror or error}", hint=hint)
