"""What the guests of an image answered to the probes of planning, kept between processes: they will again.

The file is named by all that the answers depend on; a damaged one, or one of other probes, is made anew. A cache that
cannot be written to costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pytest_ebpf.files import replace_file

__all__ = ["KEPT", "ProbeFile"]

KEPT = 64  # files of a few hundred bytes; the least recently used one is removed


class ProbeFile:
    """``folder`` of the cache; ``identity``: the guest's image, how it describes itself, and the probes."""

    def __init__(self, folder: Path, identity: Sequence[object]) -> None:
        self._path = folder / f"{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}.json"

    def read(self, count: int) -> list[bool] | None:
        """Which of ``count`` probes worked, None where that is not known."""
        try:
            answers = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(answers, list) or len(answers) != count or {*map(type, answers)} != {bool}:
            return None
        with suppress(OSError):
            os.utime(self._path)
        return answers

    def write(self, answers: Sequence[bool]) -> None:
        """Keep them."""
        with suppress(OSError):
            replace_file(self._path, json.dumps([*answers]))
            for old in sorted(self._path.parent.glob("*.json"), key=_used, reverse=True)[KEPT:]:
                old.unlink(missing_ok=True)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0
