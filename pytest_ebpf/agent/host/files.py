"""Files and whole directories, in and out."""

from __future__ import annotations

import contextlib
import io
import os

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.host.machine import remove_tree
from pytest_ebpf.agent.ops import Data, Done, ReadTree, Result, WriteFile, WriteTree

__all__ = ["read_tree", "remove_path", "write_file", "write_tree"]


def write_file(op: WriteFile, batch: Batch) -> Result:
    """One write(2) where the file takes it whole, as the files of procfs, sysfs and cgroupfs need it."""
    how = os.O_APPEND if op.append else os.O_TRUNC
    fd = _open(op, batch, how=how)
    try:
        view = memoryview(op.data)
        while True:
            view = view[os.write(fd, view) :]
            if not view:
                return Done()
    finally:
        os.close(fd)


def _open(op: WriteFile, batch: Batch, *, how: int) -> int:
    flags = os.O_WRONLY | os.O_CLOEXEC | how
    with contextlib.suppress(FileNotFoundError):
        return os.open(op.path, flags)
    fd = os.open(op.path, flags | os.O_CREAT, op.mode)
    os.fchmod(fd, op.mode)
    _owned(batch, op.path)
    return fd


def _owned(batch: Batch, path: str) -> None:
    """The path did not exist before; it is removed when the scope is closed."""
    entry = batch.own(-1, "path", name=path)
    batch.undo(entry, lambda: remove_path(path), kind="file", name=path)


def remove_path(path: str) -> None:
    """A file or directory; harmless if it does not exist."""
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)


def read_tree(op: ReadTree, batch: Batch) -> Result:
    """The archive, in memory. Names begin with the last part of the path."""
    import tarfile

    os.stat(op.path)
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(op.path, arcname=os.path.basename(os.path.normpath(op.path)))
    return Data(memory.getvalue())


def write_tree(op: WriteTree, batch: Batch) -> Result:
    """Owners are this process's: numbers of another machine mean nothing here."""
    import tarfile

    if not os.path.isdir(op.path):
        os.makedirs(op.path)
        _owned(batch, op.path)
    with tarfile.open(fileobj=io.BytesIO(op.data)) as archive:
        members = archive.getmembers()
        for name in {member.name.partition("/")[0] for member in members} - {"."}:
            if not os.path.lexists(f"{op.path}/{name}"):
                _owned(batch, f"{op.path}/{name}")
        for member in members:
            member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
        archive.extraction_filter = lambda member, path: member  # as it is: the test is trusted with its machine
        archive.extractall(op.path, members)
    return Done()
