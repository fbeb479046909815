"""Where an object file is: the directories that are looked in, and the build for the byte order of a kernel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.suggest import did_you_mean

__all__ = ["find_object", "missing_object", "names_for"]

_BIG = ".bpfeb.o"  # -target bpfeb


def names_for(path: Path, byteorder: str) -> list[Path]:
    """The files that may be meant by a name, best first: for a big-endian kernel ``x.bpfeb.o`` comes before ``x.bpf.o``
    or ``x.o``."""
    if byteorder != "big" or path.suffix != ".o" or path.name.endswith(_BIG):
        return [path]
    return [path.with_name(path.name.removesuffix(".o").removesuffix(".bpf") + _BIG), path]


def find_object(path: str | os.PathLike[str], directories: Sequence[Path], *, byteorder: str = "little") -> Path:
    """Where a relative path leads: into the first of ``directories`` that has it, else the working directory.
    ``byteorder``: of the kernel that is to load it. ``ObjectError`` for a file that is in none of them."""
    given = path if isinstance(path, Path) else Path(path)
    names = names_for(given, byteorder)
    if not directories and names == [given]:
        return given  # reading it says whether it is there
    for directory in () if given.is_absolute() else directories:
        for name in names:
            if (directory / name).exists():
                return directory / name
    for name in names:
        if name.exists():
            return name
    if directories:
        raise missing_object(given, directories)
    return given


def missing_object(given: Path, directories: Sequence[Path]) -> ObjectError:
    """The error, with every directory and the objects there that are called nearly so."""
    places = list(dict.fromkeys([*(directory / given.parent for directory in directories), given.absolute().parent]))
    names = [entry.name for place in places if place.is_dir() for entry in place.glob("*.o")]
    near = did_you_mean(given.name, names, otherwise="")
    looked = ", ".join(f"{place}{'' if place.is_dir() else ' (not there)'}" for place in places)
    source = next((place / given.with_suffix(".c").name for place in places if _is_source(place, given)), None)
    command = f"clang -O2 -g -target bpf -c {source} -o {source.with_suffix('.o')}" if source else ""
    compiled = f"{source} is there: was it compiled? {command}" if source else ""
    hint = "\n".join(filter(None, [near, compiled, f"Looked in {looked}; the ini key bpf_object_dirs adds others."]))
    return ObjectError("no such file", path=str(given), hint=hint)


def _is_source(place: Path, given: Path) -> bool:
    return given.suffix == ".o" and (place / given.with_suffix(".c").name).is_file()
