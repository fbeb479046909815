"""Run as a program, in a mount namespace of its own: make everything there read-only, and become another program.

A mount that cannot be made read-only is taken away; if the root cannot, nothing is started. Standard library only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["main", "mount_points"]


def mount_points(mountinfo: str) -> list[str]:
    """The places of all mounts, the root first (proc(5): blanks are written as octal numbers)."""
    places = [line.split(" ")[4] for line in mountinfo.splitlines() if line.count(" ") > 5]
    return [re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place) for place in dict.fromkeys(places)]


def _quiet(*argv: str) -> bool:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _lock() -> str:
    """What is wrong, "" for nothing."""
    places = mount_points(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))
    for place in places:
        if not _quiet("mount", "-o", "remount,bind,ro", place):
            if place == "/":
                return "the root cannot be mounted read-only"
            _quiet("umount", "-l", place)
    writable = [place for place in ("/", *places) if Path(place).is_dir() and os.access(place, os.W_OK)]
    return f"{writable[0]} is not read-only" if writable else ""


def main(argv: list[str]) -> int:
    """Returns only if it goes wrong."""
    problem = _lock()
    if not problem:
        os.execv(argv[0], argv)
    print(f"virtiofs: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
