"""A Python as files for an initramfs: the interpreter, the libraries that it maps, what it reads when it starts.

The list is made by that Python itself on the host (``bundle.py``), which knows its libraries best. It is kept beside
the bundle with the size and date of each file, so that a new C library is noticed.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.guest.cpio import Member

__all__ = ["LISTING", "Runtime", "read_runtime", "runtime_members"]

# The end of the program that makes a bundle. Links are names under which the loader looks for a library.
LISTING = """
import os
mapped = {line.split(None, 5)[5].rstrip("\\n") for line in open("/proc/self/maps") if line.count(" /")}
mapped = {path for path in mapped if os.path.isfile(path) and "locale" not in path}
links = {}
for folder in {"/lib64", "/lib", *map(os.path.dirname, mapped)}:
    for entry in os.scandir(folder) if os.path.isdir(folder) else ():
        if entry.is_symlink() and (target := os.path.realpath(entry.path)) in mapped:
            links[entry.path] = target
startup = {}
for name in before:
    spec = getattr(sys.modules[name], "__spec__", None)
    if spec and type(spec.loader) is external.SourceFileLoader:
        code = compile(spec.loader.get_source(name), spec.origin, "exec", dont_inherit=True)
        startup[spec.origin + "c"] = bytes(external._code_to_hash_pyc(code, bytes(8), False)).hex()
startup[os.__file__] = ""
stamps = [[path, os.stat(path).st_size, os.stat(path).st_mtime_ns] for path in sorted(mapped)]
print(json.dumps({"files": stamps, "links": links, "startup": startup}, sort_keys=True))
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """``files`` are rows (path, size, mtime in ns), ``links`` names and their targets, ``startup`` byte code by its
    path (empty for ``os``, which is frozen, but whose file is how Python finds its home). ``root``: the directory that
    the paths are in, "" for this machine's own."""

    files: tuple[tuple[str, int, int], ...]
    links: Mapping[str, str]
    startup: Mapping[str, bytes]
    root: str = ""

    def current(self) -> bool:
        """Whether the files are those that were listed."""
        return all(_stamp(Path(self.root + path)) == (size, modified) for path, size, modified in self.files)


def read_runtime(text: str) -> Runtime:
    """From what LISTING printed. ``ValueError`` for anything else."""
    try:
        record = json.loads(text)
        files = tuple((str(path), int(size), int(modified)) for path, size, modified in record["files"])
        startup = {str(path): bytes.fromhex(code) for path, code in record["startup"].items()}
        return Runtime(files, dict(record["links"]), startup)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no list of a Python's files: {error}") from error


def runtime_members(runtime: Runtime) -> list[Member]:
    """The members of an archive. ``OSError`` when a file is gone."""
    members = [
        Member(path.lstrip("/"), stat.S_IFREG | 0o755, Path(runtime.root + path).read_bytes())
        for path, _, _ in runtime.files
    ]
    for path, code in sorted(runtime.startup.items()):
        members.append(Member(path.lstrip("/"), stat.S_IFREG | 0o644, code))
    for path, target in sorted(runtime.links.items()):
        members.append(Member(path.lstrip("/"), stat.S_IFLNK | 0o777, target.encode()))
    return members


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
