"""The agent as one file that a guest's Python can run: ``pytest_ebpf.agent`` as byte code in a zip.

Byte code, because compiling the agent in an emulated guest takes seconds, and without docstrings, because it is read
over 9p. The guest's Python is one of the host's; it compiles the bundle itself, once.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_ebpf.errors import BootFailed

__all__ = ["Agent", "find_python", "make_agent"]

_PACKAGE = Path(__file__).parent.parent
_OLDEST = (3, 11)
_MAIN = """\
import os, sys
if os.getpid() == 1:
    from pytest_ebpf.agent.init import main
else:
    from pytest_ebpf.agent.serve import main
sys.exit(main(sys.argv[1:]))
"""
# Runs in the guest's Python on the host: names and sources on stdin, the zip at argv[1]. Dates and modes are fixed
# and byte code is unchecked, so equal sources give an equal file.
_COMPILER = """\
import importlib._bootstrap_external as external, importlib.util, json, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_STORED) as bundle:
    for name, source in json.load(sys.stdin):
        code = compile(source, name, "exec", dont_inherit=True, optimize=2)
        data = external._code_to_hash_pyc(code, importlib.util.source_hash(source.encode()), False)
        bundle.writestr(zipfile.ZipInfo(name + "c"), data)
"""


@dataclass(frozen=True, slots=True)
class Agent:
    """What a guest runs: ``python`` (an absolute path, the same in the guest) and the ``bundle``."""

    python: str
    bundle: Path

    @property
    def argv(self) -> list[str]:
        return [self.python, "-I", "-S", str(self.bundle)]


def find_python(candidates: Sequence[str] = ()) -> str:
    """The Python for guests: the system's if it is new enough, as it is one file with few libraries and so starts
    faster over 9p; else the one that runs this."""
    running = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    for candidate in candidates or ("/usr/bin/python3", "/usr/local/bin/python3"):
        path = os.path.realpath(candidate)
        if path != running and os.access(path, os.X_OK) and _version(path) >= _OLDEST:
            return path
    return running


def _version(python: str) -> tuple[int, ...]:
    program = "import sys; print(*sys.version_info[:2])"
    result = subprocess.run(
        [python, "-I", "-S", "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    return tuple(int(part) for part in result.stdout.split()) if result.returncode == 0 else ()


def make_agent(cache: Path, *, python: str, package: Path = _PACKAGE) -> Agent:
    """The bundle of the package's agent for ``python``, from the cache if it was made before."""
    import json

    sources = _sources(package)
    status = Path(python).stat()
    identity = json.dumps([sources, python, status.st_size, status.st_mtime_ns, _COMPILER])
    bundle = cache / "agents" / f"agent-{hashlib.sha256(identity.encode()).hexdigest()[:32]}.pyz"
    if not bundle.exists():
        bundle.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=bundle.parent) as scratch:
            made = Path(scratch) / bundle.name
            _compile(made, python=python, sources=json.dumps(sources))
            made.rename(bundle)
    return Agent(python, bundle)


def _sources(package: Path) -> list[tuple[str, str]]:
    """(name in the zip, source) of the agent's modules, sorted. The package above it is empty in a guest."""
    top = package.name
    found = sorted((package / "agent").rglob("*.py"))
    modules = [(f"{top}/{path.relative_to(package).as_posix()}", path.read_text(encoding="utf-8")) for path in found]
    return [("__main__.py", _MAIN), (f"{top}/__init__.py", ""), *modules]


def _compile(target: Path, *, python: str, sources: str) -> None:
    command = [python, "-I", "-S", "-c", _COMPILER, str(target)]
    result = subprocess.run(command, input=sources, capture_output=True, text=True, check=False, timeout=120)
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise BootFailed(f"{python} could not compile the agent for the guest: {last}")
