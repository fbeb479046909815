"""Files in the cache that can be made again: removed when they were not used for a month."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

__all__ = ["drop_stale", "mark_used"]

_MONTH = 30 * 24 * 3600.0


def mark_used(path: Path) -> None:
    """Say that ``path`` is in use today."""
    with contextlib.suppress(OSError):  # a cache of someone else, or one that is being cleared
        os.utime(path)


def drop_stale(folder: Path, *, older: float = _MONTH) -> None:
    """Remove the files and directories of ``folder`` that were not used for ``older`` seconds."""
    oldest = time.time() - older
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
