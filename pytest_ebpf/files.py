"""Files that other processes read while they are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["fresh_folder", "replace_file"]


def replace_file(path: Path, content: bytes | str) -> None:
    """Write a file in one step: a reader sees the old content or the new, never a part. Creates the directory.

    ``OSError`` if it cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """An empty directory of this name, which is removed at the end. What a process that was killed had left of it goes
    first: the caller holds a lock that says that nobody else works there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
