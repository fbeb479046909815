"""An object file from disk: the one function of ``obj/`` that opens a file."""

from __future__ import annotations

from pathlib import Path

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object

__all__ = ["read_bytes", "read_object"]


def read_bytes(path: str | Path) -> bytes:
    """The bytes of an object file. ObjectError when there is no such file, or none that can be read."""
    path = path if isinstance(path, Path) else Path(path)
    try:
        with path.open("rb", buffering=0) as file:  # half the system calls of read_bytes()
            return file.read()
    except FileNotFoundError:
        raise ObjectError("no such file", path=str(path), hint=_missing_hint(path)) from None
    except IsADirectoryError:
        raise ObjectError("a directory, not an object file", path=str(path), hint=_directory_hint(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ObjectError(f"cannot be read: {reason}", path=str(path)) from error


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
