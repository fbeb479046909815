"""What is wrong with a cache before a run begins, and what has to come of it: the run passes, or one message says what
to do. Each has a cache of its own, whose images are links to those of the user's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_ebpf.vm.images.cache import Store, default_cache
from support.paths import ROOT

__all__ = ["CACHE_FAULTS", "CacheFault", "prepare_cache", "wrong_with"]

TEST = "def test_it(bpf_vm):\n    bpf_vm.run(['true'], check=True)\n"


@dataclass(frozen=True, slots=True)
class CacheFault:
    """``damage`` gets the cache, in which a guest of the kernel has run once. ``status`` is pytest's exit status, and
    ``words`` must be in what it prints; ``prefix`` is a command in front of it."""

    name: str
    damage: Callable[[Path], None]
    status: int = 0
    words: str = "1 passed"
    prefix: tuple[str, ...] = ()


def _each(pattern: str, change: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage(cache: Path) -> None:
        found = sorted(cache.glob(pattern))
        assert found, f"nothing is called {pattern} in {cache}"
        for path in found:
            change(path)

    return damage


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _garbage(path: Path) -> None:
    path.write_bytes(b'{"no": [' + bytes(200))


def _secretly(path: Path) -> None:
    """Other content, the same size and date."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 3)
        file.write(os.urandom(1 << 16)[: status.st_size // 3])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _image(name: str, change: Callable[[Path], None]) -> Callable[[Path], None]:
    """A file of the image, which is a link: it gets a copy first."""

    def damage(cache: Path) -> None:
        for path in cache.glob(f"images/*/{name}"):
            copy = path.with_name("copy")
            shutil.copy2(path, copy)
            copy.replace(path)
            change(path)

    return damage


def _gone(path: Path) -> None:
    path.unlink()


def _nothing(cache: Path) -> None:
    """The prefix does it."""


_READ_ONLY = ("unshare", "-m", "sh", "-c", 'mount -o bind,ro "$0" "$0" && exec "$@"')
_FULL = ("unshare", "-m", "sh", "-c", 'cd "$0" && rm -rf machines warm agents running; for one in machines warm '
         'agents running; do mkdir "$0"/$one; mount -t tmpfs -o size=100k none "$0"/$one; done; exec "$@"')  # fmt: skip
_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "HOME=/tmp")
_REFETCH = "kernels fetch"

CACHE_FAULTS: tuple[CacheFault, ...] = (
    *(
        CacheFault(f"image: {name} {how}", _image(name, change), 6, _REFETCH)
        for name in ("vmlinux", "vmlinux.btf", "config", "entry.json", "bzImage")
        for how, change in (("gone", _gone), ("cut", _cut), ("empty", _empty))
    ),
    *(
        CacheFault(f"{name} {how}", _each(name, change))
        for name in ("machines/*/command.json", "machines/*/initramfs", "agents/*.pyc", "agents/*.json")
        for how, change in (("gone", _gone), ("cut", _cut), ("empty", _empty))
    ),
    *(
        CacheFault(f"{name} {how}", _each(name, change))
        for name in ("warm/*/memory", "warm/*/state", "warm/*/entry.json")
        for how, change in (("gone", _gone), ("cut", _cut), ("garbage", _garbage))
    ),
    CacheFault("warm/*/state changed unseen", _each("warm/*/state", _secretly)),
    CacheFault("warm/*/memory changed unseen", _each("warm/*/memory", _secretly)),
    CacheFault("kvm.json garbage", _each("kvm.json", _garbage)),
    CacheFault("a cache that is read-only", _nothing, prefix=_READ_ONLY),
    CacheFault("a full disk", _nothing, 6, "No space left", prefix=_FULL),
    CacheFault("a cache of somebody else", _nothing, prefix=_NOBODY),
)


def prepare_cache(cache: Path, *, kernel: str) -> None:
    """A cache with one kernel, of which a guest has run."""
    store = Store(default_cache())
    record = store.resolved(kernel)
    assert record is not None, f"kernel {kernel} is not in the cache; run: pytest-ebpf kernels fetch {kernel}"
    for part in ("resolved", "images"):
        (cache / part).mkdir(parents=True)
    lock = store.root / "resolved" / f"{kernel}.json"
    shutil.copy2(lock, cache / "resolved" / lock.name)
    image = str(record["image"])
    shutil.copytree(store.images / image, cache / "images" / image, copy_function=os.link, symlinks=True)
    if (store.root / "kvm.json").exists():
        shutil.copy2(store.root / "kvm.json", cache)


def run(cache: Path, folder: Path, *, kernel: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """pytest with one test in a guest."""
    (folder / "test_it.py").write_text(TEST)
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--bpf-kernels={kernel}", "--bpf-offline"]
    argv += [f"--bpf-cache-dir={cache}", "-c", os.devnull, "--rootdir", str(folder), str(folder / "test_it.py")]
    if prefix and prefix[0] == "unshare":
        prefix = (*prefix, str(cache))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*prefix, *argv], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def wrong_with(fault: CacheFault, cache: Path, folder: Path, *, kernel: str) -> str:
    """Damage the cache and run: what is not as it should be, "" for nothing. Where the first run passes, so does a
    second one: it was healed."""
    fault.damage(cache)
    done = run(cache, folder, kernel=kernel, prefix=fault.prefix)
    text = done.stdout + done.stderr
    if "INTERNALERROR" in text or "Traceback (most recent call last)" in text:
        return f"an error from inside: {text[-1500:]}"
    if done.returncode != fault.status or fault.words not in text:
        return f"exit status {done.returncode}, not {fault.status} with {fault.words!r}: {text[-1500:]}"
    if not fault.status and not fault.prefix:
        again = run(cache, folder, kernel=kernel)
        if again.returncode:
            return f"not healed: {again.stdout[-1500:]}"
    return ""
