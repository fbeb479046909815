"""An object file that is in none of the directories that were looked in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.suggest import did_you_mean

__all__ = ["missing_object"]


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
