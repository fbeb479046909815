"""Files and directories as archives, on their way between the host and the machine under test."""

from __future__ import annotations

import io
from pathlib import Path

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.suggest import did_you_mean

__all__ = ["pack_tree", "unpack_tree"]


def pack_tree(source: Path, *, name: str) -> bytes:
    """A file or directory as a tar archive, in which it is called ``name``. ``BpfUsageError``: it does not exist."""
    import tarfile

    if not source.exists():
        near = sorted(path.name for path in source.parent.iterdir()) if source.parent.is_dir() else []
        raise BpfUsageError(f"{source} does not exist on the host", hint=did_you_mean(source.name, near, otherwise=""))
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(source, arcname=name)
    return memory.getvalue()


def unpack_tree(data: bytes, target: Path) -> Path:
    """Unpack an archive of one file or directory as ``target``. ``BpfUsageError``: that is a directory already."""
    import tarfile

    if target.is_dir():
        raise BpfUsageError(f"{target} is a directory already", hint="Give the path of the copy itself.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        for member in members:
            _, slash, rest = member.name.partition("/")
            member.name = f"{target.name}{slash}{rest}"
        archive.extraction_filter = lambda member, path: member
        archive.extractall(target.parent, members)
    return target
