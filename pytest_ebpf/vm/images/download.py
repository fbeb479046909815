"""Bytes from an archive: small files into memory, packages to disk with resume, retries and a hash.

What is kept when something goes wrong: a partial download after a lost connection or Ctrl-C (the next run continues
it), nothing after a wrong hash or a full disk.

urllib and http.client are imported where they are used: 25 ms of every run that only looks at the cache.
"""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_ebpf.errors import ImageError, MirrorUnreachable, PackageGone
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.vm.images.archive import AR_MAGIC

__all__ = ["Item", "Web", "disk_full", "file_sha256"]

_CHUNK = 1 << 18
_GONE = (404, 410)


@dataclass(frozen=True, slots=True)
class Item:
    """A file to download: its address, its SHA-256 in hex, its size in bytes."""

    url: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Web:
    """How to talk to an archive. ``timeout`` is seconds without a byte; ``pauses`` are the waits before each retry.

    ``cancelled`` is set after Ctrl-C; ``faults`` gets why a small file could not be had, so that
    the others of the same run do not wait as long for the same answer.
    """

    proxies: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 20.0
    pauses: tuple[float, ...] = (0.5, 2.0, 5.0)
    cancelled: threading.Event = field(default_factory=threading.Event)
    faults: list[Exception] = field(default_factory=list)

    def read(self, url: str) -> bytes | None:
        """The whole file, or None when the archive has no such file. MirrorUnreachable after the last retry."""
        from http.client import HTTPException

        pauses = list(self.pauses)
        while not self.faults:
            self.stop_if_cancelled()
            try:
                with self._open(url) as response:
                    return _whole(response)
            except (OSError, HTTPException) as error:
                if _is_absent(error):
                    return None
                if not pauses or _no_connection(error):
                    self.faults.append(error)
                else:
                    self.cancelled.wait(pauses.pop(0))
        hint = "check the network, or name another archive with --mirror"
        raise MirrorUnreachable(f"{url}: {_words(self.faults[0])}", hint=hint)

    def download(self, item: Item, target: Path, *, advance: Callable[[int], None] = lambda count: None) -> None:
        """``item`` into the file ``target``, complete and with the right hash, or not at all.

        ``advance`` gets byte counts (negative when a server makes us start over). Raises PackageGone,
        MirrorUnreachable, or ImageError for a wrong hash and a full disk.
        """
        part = target.with_name(target.name + ".part")
        try:
            self._complete(item, part, advance=advance)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                part.unlink(missing_ok=True)
                raise disk_full(target.parent) from error
            raise ImageError(f"{item.name}: {error}") from error
        actual = file_sha256(part)
        if actual != item.sha256:
            part.unlink()
            raise ImageError(
                f"{item.name}: wrong SHA-256 {actual[:16]}…, the archive's index has {item.sha256[:16]}…",
                hint="the download is damaged or altered and was removed; try again, or use another archive (--mirror)",
            )
        part.replace(target)

    def stop_if_cancelled(self) -> None:
        """Ends a thread's work after Ctrl-C; the main thread has its KeyboardInterrupt."""
        if self.cancelled.is_set():
            raise ImageError("interrupted", hint="partial downloads are kept; the same command continues them")

    def _complete(self, item: Item, part: Path, *, advance: Callable[[int], None]) -> None:
        """Fill ``part`` up to the size of ``item``. A retry that brought bytes does not count."""
        from http.client import HTTPException
        from urllib.error import URLError

        if _size(part) > item.size or not _may_be(item, part):
            part.unlink()
        had = _size(part)
        advance(had)
        pauses = list(self.pauses)
        while had != item.size:
            try:
                self._append(item, part, advance=advance)
                fault = "the connection ended early"
            except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
                if _is_absent(error):
                    raise PackageGone(f"{item.name}: listed in the index, yet not in the archive") from error
                fault = _words(error)
            if not _may_be(item, part):
                advance(-_size(part))
                part.unlink()
                fault, had = "what came is no package (a proxy's or a captive portal's page?)", 0
            now = _size(part)
            if now > item.size:
                part.unlink()
                raise ImageError(f"{item.name}: the server sent more than the {item.size} bytes of the index")
            if now <= had:
                if not pauses:
                    hint = f"{now} of {item.size} bytes are kept; the same command continues"
                    raise MirrorUnreachable(f"{item.name}: {fault}", hint=hint)
                self.cancelled.wait(pauses.pop(0))
            had = now

    def _append(self, item: Item, part: Path, *, advance: Callable[[int], None]) -> None:
        had = _size(part)
        with self._open(item.url, start=had) as response:
            if had and response.status != 206:  # the server knows no ranges: it sends all of it again
                advance(-had)
                part.unlink()
                had = 0
            with part.open("ab") as out:
                while had <= item.size and (block := response.read(_CHUNK)):
                    self.stop_if_cancelled()
                    out.write(block)
                    had += len(block)
                    advance(len(block))

    def _open(self, url: str, *, start: int = 0) -> Any:
        from urllib.request import ProxyHandler, Request, build_opener, getproxies

        opener = build_opener(ProxyHandler({**self.proxies, **getproxies()}))
        # Debian's packages are compressed already; a proxy that re-compresses would break ranges and hashes.
        headers = {"User-Agent": "pytest-ebpf", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        return opener.open(Request(url, headers=headers), timeout=self.timeout)


def _whole(response: Any) -> bytes:
    data: bytes = response.read()
    promised = response.headers.get("Content-Length")
    if promised is not None and len(data) != int(promised):
        from http.client import IncompleteRead

        raise IncompleteRead(data, int(promised) - len(data))
    return data


def _is_absent(error: Exception) -> bool:
    """The archive answered that there is no such file. For file:// urllib wraps the system's message."""
    from urllib.error import HTTPError, URLError

    if isinstance(error, HTTPError):
        return error.code in _GONE
    return isinstance(error, URLError) and "No such file" in str(error.reason)


def _no_connection(error: Exception) -> bool:
    """No network or the wrong name: asking again at once would be of no use."""
    from urllib.error import HTTPError, URLError

    return isinstance(error, URLError) and not isinstance(error, HTTPError)


def _words(error: Exception) -> str:
    from http.client import IncompleteRead
    from urllib.error import HTTPError, URLError

    if isinstance(error, HTTPError):
        return f"HTTP status {error.code}"
    if isinstance(error, URLError):
        return str(error.reason)
    if isinstance(error, IncompleteRead):
        return "the connection ended early"
    return str(error) or type(error).__name__


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _may_be(item: Item, part: Path) -> bool:
    """Whether ``part`` begins as a Debian package does, if ``item`` is one: it is not a page that somebody on the way
    sent instead, which the next run would continue."""
    if not item.name.endswith(".deb") or not _size(part):
        return True
    with part.open("rb") as stream:
        return AR_MAGIC.startswith(stream.read(len(AR_MAGIC)))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def disk_full(where: Path) -> ImageError:
    """The one message for a full disk, with what to do."""
    return ImageError(
        f"no space left on the disk of {where}",
        hint="free some, run `pytest-ebpf kernels prune`, or name another place with PYTEST_EBPF_CACHE",
    )
