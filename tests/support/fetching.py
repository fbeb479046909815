"""What tests of fetching kernels have in common: two packages, a reporter that remembers, what is left behind."""

from __future__ import annotations

import hashlib

from pytest_ebpf.vm.images.image import ImageConfig
from support.fake_mirror import single
from support.openpgp import make_key

__all__ = ["KEY", "NEW", "OLD", "Notes", "leftovers", "sha"]

KEY = make_key(1)
OLD = single("6.1.0-9-amd64", "6.1.9-1")
NEW = single("6.1.0-10-amd64", "6.1.10-1", usr=True, padding=300_000)


class Notes:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bytes = 0

    def say(self, text: str) -> None:
        self.lines.append(text)

    def task(self, name: str, *, total: int) -> Notes:
        self.lines.append(f"{name} of {total}")
        return self

    def advance(self, count: int) -> None:
        self.bytes += count

    def stage(self, words: str) -> None:
        self.lines.append(words)

    def done(self, words: str) -> None:
        self.lines.append(words)


def leftovers(config: ImageConfig) -> list[str]:
    """Everything under the cache that is neither a finished image, a lock, an index nor the tag."""
    root = config.store.root
    fine = ("images", "locks", "indexes", "resolved", "CACHEDIR.TAG")
    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file() or path.is_symlink()]
    return [str(path) for path in files if path.parts[0] not in fine or ".tmp" in path.name]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
