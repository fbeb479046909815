"""An object file from disk: the one function of ``obj/`` that opens a file."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object

__all__ = ["read_bytes", "read_object"]


def read_bytes(path: str | Path) -> bytes:
    """The bytes of an object file. ObjectError when there is no such file, or none that can be read."""
    path = path if isinstance(path, Path) else Path(path)
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # half the system calls of read_bytes()
        try:
            return _all_of(file)
        finally:
            os.close(file)
    except FileNotFoundError:
        raise ObjectError("no such file", path=str(path), hint=_missing_hint(path)) from None
    except IsADirectoryError:
        raise ObjectError("a directory, not an object file", path=str(path), hint=_directory_hint(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ObjectError(f"cannot be read: {reason}", path=str(path)) from error


def _all_of(file: int) -> bytes:
    size = os.fstat(file).st_size
    data = os.read(file, size + 1)
    if len(data) == size:
        return data
    parts = [data]  # it grows, is none that has a size, or is too large for one call
    while part := os.read(file, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def read_object(path: str | Path) -> ObjectFile:
    """``parse_object`` of a file."""
    return parse_object(read_bytes(path), name=str(path))


def _missing_hint(path: Path) -> str:
    source = path.with_suffix(".c")
    if path.suffix == ".o" and source.exists():
        return f"{source} is there: was it compiled? clang -O2 -g -target bpf -c {source} -o {path}"
    beside = sorted(entry.name for entry in path.parent.glob("*.o"))[:6] if path.parent.is_dir() else []
    looked = f"looked in {path.parent.resolve()}"
    return f"{looked}, which has {', '.join(beside)}" if beside else looked


def _directory_hint(path: Path) -> str:
    objects = sorted(entry.name for entry in path.glob("*.o"))[:3]
    return f"it holds {', '.join(objects)}: name one of them" if objects else "name the .o file"
