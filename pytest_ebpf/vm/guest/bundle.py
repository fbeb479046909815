"""The agent as one file that a guest's Python can run: a table of byte code that holds all it imports.

One file, because a guest reads the host's files over 9p, where each open and read costs half a millisecond under
emulation, and an import is about ten of them. Byte code, because compiling takes seconds there. The guest's Python is
one of the host's; it makes the bundle itself, once, so the byte code and the standard library in it are its own.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.files import replace_file
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.guest.runtime import LISTING, Runtime, read_runtime
from pytest_ebpf.vm.images.expiry import drop_stale, mark_used

__all__ = ["OPTIONS", "Agent", "agent_sources", "find_python", "make_agent", "stdlib_imports"]

OPTIONS = ("-I", "-S", "-X", "utf8")  # of Python
_PACKAGE = Path(__file__).parents[2]
_OLDEST = (3, 11)
_TRAVELS = ("agent/**/*.py", "uapi/**/*.py", "suggest.py", "frozen.py")  # what travels to the guest
_STARTER = "agent/protocol/bootstrap.py"
_LEFT_OUT = ("dataclasses",)  # frozen.py asks for it where somebody else does, and it takes 0.6 s of a boot
_CODECS = ("encodings.ascii", "encodings.latin_1")  # imported by name when a file is opened with them
# Runs in the guest's Python on the host. Imports what the agent imports of the standard library, to learn what that
# imports in turn; takes the pure modules among them that the interpreter does not bring along frozen.
_MAKER = """\
import sys
before = set(sys.modules)
import importlib._bootstrap_external as external, json, marshal
job = json.load(sys.stdin)
for name in job["imports"]:
    try:
        __import__(name)
    except ImportError:
        pass
table = {}
def add(name, package, source, file):
    table[name] = (package, marshal.dumps(compile(source, file, "exec", dont_inherit=True, optimize=2)))
for name in sorted(set(sys.modules) - before):
    spec = getattr(sys.modules[name], "__spec__", None)
    if spec and spec.origin and spec.origin.endswith(".py") and type(spec.loader) is external.SourceFileLoader:
        add(name, spec.submodule_search_locations is not None, spec.loader.get_source(name), spec.origin)
for name, package, source, file in job["modules"]:
    add(name, package, source, file)
program = job["start"] + f"\\nsys.exit(start({table!r}))\\n"
code = compile(program, "bootstrap.py", "exec", dont_inherit=True, optimize=2)
with open(sys.argv[1], "wb") as file:
    file.write(external._code_to_hash_pyc(code, bytes(8), False))
"""


@dataclass(frozen=True, slots=True)
class Agent:
    """What a guest runs: ``python`` (an absolute path, the same in the guest), the files that it consists of, and the
    ``bundle``."""

    python: str
    bundle: Path
    runtime: Runtime

    @property
    def argv(self) -> list[str]:
        """The command on the host."""
        return [self.python, *OPTIONS, str(self.bundle)]


def find_python(candidates: Sequence[str] = ("/usr/bin/python3", "/usr/local/bin/python3")) -> str:
    """The Python for guests: the first candidate that is new enough, else the one that runs this.

    The system's is preferred: Debian's is one file with few libraries, which starts faster over 9p.
    """
    running = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    for candidate in candidates:
        path = os.path.realpath(candidate)
        if path != running and os.access(path, os.X_OK) and _version(path) >= _OLDEST:
            return path
    return running


def _version(python: str) -> tuple[int, ...]:
    """(3, 11). By its name where that has the version, which saves a start."""
    if named := re.fullmatch(r"python(\d+)\.(\d+)", Path(python).name):
        return int(named[1]), int(named[2])
    program = "import sys; print(*sys.version_info[:2])"
    try:
        result = subprocess.run(
            [python, "-I", "-S", "-c", program], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(int(part) for part in result.stdout.split()) if result.returncode == 0 else ()


def make_agent(cache: Path, *, python: str, package: Path = _PACKAGE, starter: tuple[str, ...] = ()) -> Agent:
    """The bundle of the package's agent for ``python``, from the cache if it was made before. ``starter`` is what comes
    before ``python`` in a command that runs it here."""
    sources = agent_sources(package)
    status = Path(python).stat()
    identity = json.dumps([sources, _CODECS, python, status.st_size, status.st_mtime_ns, _MAKER, LISTING])
    bundle = cache / "agents" / f"agent-{hashlib.sha256(identity.encode()).hexdigest()[:32]}.pyc"
    runtime = _kept_runtime(bundle)
    if runtime is not None:
        mark_used(bundle)
        return Agent(python, bundle, runtime)
    job = _job(sources)
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bundle.parent) as scratch:
        made = Path(scratch) / bundle.name
        listing = _make(made, python=python, job=job, starter=starter)
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        replace_file(_record(bundle), json.dumps({"sha256": digest}) + "\n" + listing)
        made.rename(bundle)
    drop_stale(bundle.parent)
    return Agent(python, bundle, read_runtime(listing))


def _record(bundle: Path) -> Path:
    return bundle.with_suffix(".json")


def _kept_runtime(bundle: Path) -> Runtime | None:
    """The files of a bundle that was made before; None when there is none, or it or they have changed."""
    try:
        mark, _, listing = _record(bundle).read_text().partition("\n")
        runtime = read_runtime(listing)
        whole = json.loads(mark) == {"sha256": hashlib.sha256(bundle.read_bytes()).hexdigest()}
    except (OSError, ValueError):
        return None
    return runtime if whole and runtime.current() else None


def agent_sources(package: Path = _PACKAGE) -> dict[str, str]:
    """Path below ``package`` -> source, of the agent's modules."""
    found = sorted(path for pattern in _TRAVELS for path in package.glob(pattern))
    return {path.relative_to(package).as_posix(): path.read_text(encoding="utf-8") for path in found}


def stdlib_imports(sources: dict[str, str]) -> list[str]:
    """The modules outside the package that the sources import, be it inside functions."""
    names: set[str] = set()
    for path, source in sources.items():
        for node in ast.walk(_parse(source, path=path)):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names.add(node.module)
    return sorted(name for name in names if name.split(".")[0] != _PACKAGE.name)


def _parse(source: str, *, path: str) -> ast.Module:
    try:
        return ast.parse(source, path)
    except SyntaxError as error:
        raise BootFailed(
            f"could not compile the agent for the guest: {path}, line {error.lineno}: {error.msg}"
        ) from error


def _job(sources: dict[str, str]) -> str:
    """What the maker reads. The package above the agent is empty in a guest."""
    top = _PACKAGE.name
    modules: list[tuple[str, bool, str, str]] = [(top, True, "", top)]
    for path, source in sources.items():
        is_package = path.endswith("/__init__.py")
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        modules.append((f"{top}.{name}", is_package, source, path))
    start = sources[_STARTER]
    imports = [name for name in stdlib_imports(sources) if name not in _LEFT_OUT] + list(_CODECS)
    return json.dumps({"imports": imports, "modules": modules, "start": start})


def _make(target: Path, *, python: str, job: str, starter: tuple[str, ...]) -> str:
    """What LISTING printed."""
    command = [*starter, python, *OPTIONS, "-c", _MAKER + LISTING, str(target)]
    result = subprocess.run(command, input=job, capture_output=True, text=True, check=False, timeout=120)
    if result.returncode != 0:
        last = " ".join(line.strip() for line in result.stderr.strip().splitlines()[-4:])
        raise BootFailed(f"{python} could not compile the agent for the guest: {last}")
    return result.stdout
