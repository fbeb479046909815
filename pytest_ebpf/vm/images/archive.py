"""Unpack a .deb without dpkg and without root: an ar archive (deb(5)) with a compressed tar inside.

Only regular files are taken, and links where the caller wants them, each to the place that the caller names for it. A
name or a link that leaves the tree, as a hostile package could hold, is an error and not a file.
"""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from pytest_ebpf.errors import ImageError
from pytest_ebpf.frozen import dataclass

__all__ = ["AR_MAGIC", "ArMember", "ar_members", "extract", "safe_name"]

AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ArMember:
    """A member of an ar archive: where its bytes are."""

    name: str
    offset: int
    size: int


def ar_members(stream: IO[bytes]) -> Iterator[ArMember]:
    """Walk an ar archive. ValueError when it is none, or cut off."""
    if stream.read(len(AR_MAGIC)) != AR_MAGIC:
        raise ValueError("not an ar archive")
    end = stream.seek(0, io.SEEK_END)
    at = len(AR_MAGIC)
    while at < end:
        stream.seek(at)
        header = stream.read(_AR_HEADER)
        if len(header) < _AR_HEADER or header[58:] != b"`\n":
            raise ValueError(f"damaged ar header at {at}")
        member = ArMember(header[:16].decode().rstrip(" ").rstrip("/"), at + _AR_HEADER, int(header[48:58]))
        if member.offset + member.size > end:
            raise ValueError(f"{member.name} is cut off")
        yield member
        at = member.offset + member.size + member.size % 2


def extract(
    deb: Path,
    *,
    into: Path,
    place: Callable[[str], str | None],
    tick: Callable[[], None] = lambda: None,
    links: bool = False,
) -> list[str]:
    """Write the files for which ``place(name)`` gives a path below ``into``; the paths written, in order.

    ``name`` is the member's path without a leading ``./``. ``tick`` is called before each member and may raise to stop.
    ``links``: symbolic links too, those to an absolute path made relative to the tree, and the modes of files.
    ImageError names the package when it is damaged or unsafe.
    """
    written = []
    try:
        with deb.open("rb") as stream, tarfile.open(fileobj=_data(stream), mode="r|", bufsize=_BLOCK) as tar:
            for member in tar:
                tick()
                taken = member.isfile() or (links and (member.issym() or member.islnk()))
                target = place(safe_name(member.name)) if taken else None
                if target is None:
                    continue
                if member.isfile():
                    _write(member, tar.extractfile(member), target=into / target)
                    if links:
                        (into / target).chmod(member.mode & 0o755)
                elif member.issym():
                    _link(member.linkname, target, into=into)
                elif (other := place(safe_name(member.linkname))) is not None:
                    (into / target).parent.mkdir(parents=True, exist_ok=True)
                    (into / target).hardlink_to(into / other)
                written.append(target)
    except (ValueError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, _zstd_error()) as error:
        raise ImageError(f"{deb.name}: damaged or unsafe package: {error}") from error
    return written


def safe_name(name: str) -> str:
    """A member's name relative to the root. ValueError if it is absolute or climbs out."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"the name {name!r} leaves the package")
    return str(path)


def _write(member: tarfile.TarInfo, source: IO[bytes] | None, *, target: Path) -> None:
    if source is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with target.open("xb") as out:
        while left > 0:
            block = source.read(min(left, _BLOCK))
            if not block:
                raise EOFError(f"{member.name} is cut off")
            out.write(block)
            left -= len(block)


def _link(points_to: str, target: str, *, into: Path) -> None:
    """A symbolic link inside the tree. ValueError if it leads out of it."""
    path = PurePosixPath("/", target).parent / points_to
    inside = os.path.normpath(path)
    depth = len(PurePosixPath(target).parent.parts)
    climbs = sum(1 if part == ".." else 0 for part in PurePosixPath(points_to).parts)
    if climbs > depth:
        raise ValueError(f"the link {target!r} leaves the package")
    link = into / target
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(inside, PurePosixPath("/", target).parent))


def _data(stream: IO[bytes]) -> IO[bytes]:
    """The package's ``data.tar``, decompressed as it is read."""
    member = next((one for one in ar_members(stream) if one.name.startswith("data.tar")), None)
    if member is None:
        raise ValueError("it has no data.tar")
    window = cast(IO[bytes], _Window(stream, member.offset, size=member.size))
    kind = member.name.removeprefix("data.tar")
    if kind == ".xz":
        return lzma.open(window)
    if kind == ".zst":
        import zstandard

        return io.BufferedReader(zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(window), _BLOCK)
    if kind == ".gz":
        import gzip

        return io.BufferedReader(gzip.GzipFile(fileobj=window), _BLOCK)
    if kind == "":
        return window
    raise ValueError(f"unknown compression {kind}")


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError


class _Window:
    """A part of a file, with as much of a file's interface as the decompressors use."""

    def __init__(self, stream: IO[bytes], offset: int, *, size: int) -> None:
        self._stream = stream
        self._left = size
        stream.seek(offset)

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(block)
        return block
