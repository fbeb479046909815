"""Kernel images as values, and where they come from. ``resolve`` (resolve.py) and ``fetch`` (fetch.py) return them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pytest_ebpf.errors import ImageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.images.architecture import NATIVE
from pytest_ebpf.vm.images.cache import Entry, Store, default_cache, use_lock
from pytest_ebpf.vm.images.rootfs import Rooted

__all__ = ["DEFAULT_CONFIG", "ImageConfig", "KernelImage", "image_of", "in_use"]


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Where images come from and go to.

    ``mirror``: address of an archive (may be two, the second for security); empty: environment, then apt.
    ``cache``: a directory; None: environment, then the user's cache. ``keyring``: vouches for the archive in place of
    Debian's keyrings; None: environment. ``max_age``: seconds before an index is fetched again. ``pauses``: seconds
    before each retry.
    """

    mirror: str = ""
    cache: Path | None = None
    keyring: Path | None = None
    max_age: float = 3600.0
    pauses: tuple[float, ...] = (0.5, 2.0, 5.0)

    @property
    def store(self) -> Store:
        return Store(default_cache() if self.cache is None else self.cache)


DEFAULT_CONFIG = ImageConfig()


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A kernel that can be booted.

    ``vmlinux``: uncompressed, enters QEMU through PVH. ``bzimage``: as packaged; None if there is only a vmlinux.
    ``modules_root``: has lib/modules/``release`` with depmod's files; None if the kernel has no modules.
    ``btf``: raw .BTF; None if built without. ``kconfig``: its configuration, if known. ``digest``: its identity.
    ``version``: the package's version; empty for a kernel of the user. ``origin``: a text for people.
    ``architecture``: Debian's name of the processor; ``rooted``: what guests of another one than this machine's need.
    """

    spec: str
    series: str
    release: str
    version: str
    vmlinux: Path
    bzimage: Path | None
    modules_root: Path | None
    btf: Path | None
    kconfig: Path | None
    digest: str
    origin: str
    architecture: str = NATIVE
    rooted: Rooted | None = None

    @property
    def modules(self) -> Path | None:
        """The directory lib/modules/<release> itself."""
        return None if self.modules_root is None else self.modules_root / "lib/modules" / self.release


@contextmanager
def in_use(image: KernelImage, *, config: ImageConfig = DEFAULT_CONFIG) -> Iterator[None]:
    """Keep ``pytest-ebpf kernels prune`` of another process away from an image, as long as a guest runs on it."""
    with ExitStack() as stack:
        with suppress(OSError):  # a cache that cannot be written to: nobody prunes it
            stack.enter_context(config.store.share(use_lock(image.digest)))
            if image.rooted is not None:
                stack.enter_context(config.store.share(use_lock(image.rooted.root.name)))
        if not image.vmlinux.is_file():
            raise ImageError(f"kernel {image.spec}: {image.vmlinux} is missing", hint="it was pruned: fetch it again")
        yield


def image_of(entry: Entry, *, spec: str, rooted: Rooted | None = None) -> KernelImage:
    """The image in a cache entry."""
    path = entry.path
    return KernelImage(
        spec=spec,
        series=entry.series,
        release=entry.release,
        version=entry.version,
        vmlinux=path / "vmlinux",
        bzimage=_if_file(path / "bzImage"),
        modules_root=path,
        btf=_if_file(path / "vmlinux.btf"),
        kconfig=_if_file(path / "config"),
        digest=entry.digest,
        origin=f"Debian {entry.version} from {entry.suite} (verified by {entry.verified})",
        architecture=entry.architecture,
        rooted=rooted if entry.architecture != NATIVE else None,
    )


def _if_file(path: Path) -> Path | None:
    return path if path.is_file() else None
