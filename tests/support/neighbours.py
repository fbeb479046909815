"""Plugins that users have beside ours, in a directory of their own: in the environment of the tests pytest would load
them for every run. ``NEIGHBOURS`` names another directory (ci/neighbours), with other versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["PLUGINS", "TWO_COLUMNS", "Neighbours"]

OWN = ("asyncio", "anyio")  # plugins of the environment itself: this package requires anyio

PLUGINS = {  # what -p no: calls it -> the package
    "timeout": "pytest-timeout",
    "rerunfailures": "pytest-rerunfailures",
    "syrupy": "syrupy",
    "randomly": "pytest-randomly",
}

# A conftest: columns without a guest. What boots is written down, with the worker.
TWO_COLUMNS = """
    import os
    import pytest_ebpf.fixtures.kernel_matrix as matrix
    import pytest_ebpf.kernels.pool as pool
    matrix._AXIS_OF_THIS_TEST = matrix.Axis(
        (matrix.Kernel("6.1", "6.1", "6.1"), matrix.Kernel("6.12", "6.12", "6.12"), matrix.Kernel("host", "host", ""))
    )
    matrix._read = lambda config: matrix._AXIS_OF_THIS_TEST
    def boot(self, slot, **options):
        with open("boots", "a") as file:
            file.write(f"{slot[0]} {os.environ.get('PYTEST_XDIST_WORKER', 'main')}\\n")
        return self._open_host()
    pool.KernelPool._boot = boot
"""


def folder() -> Path:
    """Where the plugins are, installed on first use."""
    given = os.environ.get("NEIGHBOURS")
    found = Path(given) if given else Path(sys.prefix) / "neighbours"
    if not given and not all(list(found.glob(f"{name.replace('-', '_')}-*.dist-info")) for name in PLUGINS.values()):
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(found)]
        subprocess.run([*command, "--upgrade", *PLUGINS.values()], check=True, timeout=300)
    return found


class Neighbours:
    """Runs pytest in a process of its own with some of the plugins, and xdist where ``-n`` asks for it."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        self._monkeypatch = monkeypatch

    def run(self, *arguments: str, plugins: tuple[str, ...] = ()) -> pytest.RunResult:
        """``plugins``: names of ``PLUGINS`` and ``OWN``; the others are there and not loaded."""
        path = os.environ.get("PYTHONPATH", "")
        self._monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [path, str(folder())])))
        off = [option for name in (*PLUGINS, *OWN) if name not in plugins for option in ("-p", f"no:{name}")]
        return self._pytester.runpytest_subprocess("--bpf-kernels=host", *off, *arguments)
