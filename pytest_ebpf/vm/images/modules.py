"""Module directories: the index files that ``modprobe`` needs, made with kmod's ``depmod``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from pytest_ebpf.errors import ImageError

__all__ = ["find_program", "link_modules", "run_depmod"]

_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # often not on a user's PATH


def find_program(name: str) -> str | None:
    """A program on PATH or in the system directories."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN)))


def run_depmod(root: Path, *, release: str) -> None:
    """Write ``modules.dep`` and its like into ``root``/lib/modules/``release``. ImageError without kmod."""
    program = find_program("depmod")
    if program is None:
        raise ImageError("depmod is missing: guests need its list of module dependencies", hint="apt-get install kmod")
    result = subprocess.run(
        [program, "-b", str(root), release], capture_output=True, text=True, check=False, timeout=600
    )
    if result.returncode != 0 or not (root / "lib/modules" / release / "modules.dep").is_file():
        last = (result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[-1]
        raise ImageError(f"depmod failed for {release}: {last}")


def link_modules(tree: Path, *, root: Path, release: str) -> int:
    """Make ``root``/lib/modules/``release`` out of a built kernel tree, with links to its modules; how many there are.

    ``modules.order`` lists them (as .o since Linux 6.2's Kbuild, as .ko before); the other files are what
    ``make modules_install`` copies.
    """
    target = root / "lib/modules" / release
    target.mkdir(parents=True, exist_ok=True)
    count = 0
    for line in (tree / "modules.order").read_text().split():
        module = tree / (line.removesuffix(".o").removesuffix(".ko") + ".ko")
        if module.is_file():
            link = target / "kernel" / module.relative_to(tree)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(module)
            count += 1
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        if (tree / name).is_file():
            shutil.copyfile(tree / name, target / name)
    return count
