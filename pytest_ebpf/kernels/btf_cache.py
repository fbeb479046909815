"""A kernel's types, with the index of their names kept between processes.

Indexing vmlinux's 126,000 types takes a tenth of a second, reading an index a millisecond. The index is kept under the
SHA-256 of the BTF that it was made from; a damaged or foreign one is made anew. A cache that cannot be written to costs
time and nothing else.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pytest_ebpf.btf.parse import Btf, dump_index, load_index, parse_btf
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.files import replace_file

__all__ = ["KEPT", "indexed_btf"]

KEPT = 32  # indexes of 1 MB each: more kernels than a matrix has; the least recently used one is removed


def indexed_btf(data: bytes, *, folder: Path) -> Btf:
    """``parse_btf(data)``, with its index from ``folder`` or left there. ObjectError for bytes that are not BTF."""
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    path = folder / f"{digest}.index"
    with suppress(OSError, ObjectError):
        found = load_index(data, path.read_bytes())
        found.memo["sha256"] = digest  # kept plans are named by it
        os.utime(path)
        return found
    btf = parse_btf(data)
    btf.memo["sha256"] = digest
    with suppress(OSError):
        _keep(path, dump_index(btf))
    return btf


def _keep(path: Path, index: bytes) -> None:
    replace_file(path, index)
    for old in sorted(path.parent.glob("*.index"), key=lambda one: one.stat().st_mtime, reverse=True)[KEPT:]:
        old.unlink(missing_ok=True)
