"""Kernels of the user's own: a bzImage or vmlinux with its modules, a built tree, an extracted directory.

Nothing is written beside the user's files: what has to be made (an uncompressed kernel, a module directory for a tree
that was not installed) goes to the cache, under a digest of the files' path, size and time.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pytest_ebpf.errors import ImageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.images.cache import Store
from pytest_ebpf.vm.images.image import KernelImage
from pytest_ebpf.vm.images.modules import link_modules, run_depmod
from pytest_ebpf.vm.images.spec import PathSpec
from pytest_ebpf.vm.images.unpack import write_kernel
from pytest_ebpf.vm.images.vmlinux import bzimage_release, extract_btf, is_bzimage, is_elf, vmlinux_release

__all__ = ["Found", "find_kernel", "local_image"]

_FORMAT = 1
_BZIMAGE_IN_TREE = "arch/x86/boot/bzImage"
_HINT = "name a bzImage or vmlinux, a built kernel tree, or a directory with boot/vmlinuz-* and lib/modules/"


@dataclass(frozen=True, slots=True)
class Found:
    """What a path turned out to be. ``tree``: a built source tree whose modules are not installed anywhere."""

    kernel: Path
    bzimage: bool
    release: str
    modules: Path | None = None
    tree: Path | None = None
    config: Path | None = None

    @property
    def digest(self) -> str:
        """Changes when one of the files does: path, size and time (a vmlinux with DWARF has 1 GB)."""
        text = [f"{_FORMAT} {self.release}"]
        marks = [self.kernel, self.tree / "modules.order" if self.tree else None, self.modules]
        for path in marks:
            if path is not None and path.exists():
                state = path.stat()
                text.append(f"{path} {state.st_size} {state.st_mtime_ns}")
        return hashlib.sha256("\n".join(text).encode()).hexdigest()


def local_image(spec: PathSpec, *, store: Store) -> KernelImage:
    """The image at a path. ImageError says what was expected there."""
    found = find_kernel(spec.path)
    store.prepare()
    made = store.root / "local" / f"{found.release}-{found.digest[:16]}"
    with store.lock(made.name):
        if not (made / "ready").exists():
            _prepare(found, into=made)
    needs_tree = found.tree is not None or _needs_depmod(found)
    root = made if needs_tree else found.modules.parent.parent.parent if found.modules else None
    return KernelImage(
        spec=spec.text,
        series=".".join(re.findall(r"\d+", found.release)[:2]),
        release=found.release,
        version="",
        vmlinux=made / "vmlinux" if found.bzimage else found.kernel,
        bzimage=found.kernel if found.bzimage else None,
        modules_root=root if root and (root / "lib/modules" / found.release).is_dir() else None,
        btf=made / "vmlinux.btf" if (made / "vmlinux.btf").is_file() else None,
        kconfig=found.config,
        digest=found.digest,
        origin=f"{found.kernel}",
    )


def _prepare(found: Found, *, into: Path) -> None:
    """Make what the image lacks; the file ``ready`` comes last."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    try:
        if found.bzimage:
            write_kernel(found.kernel.read_bytes(), into=into, name=str(found.kernel))
        elif (btf := extract_btf(found.kernel)) is not None:
            (into / "vmlinux.btf").write_bytes(btf)
        if found.tree is not None and (found.tree / "modules.order").is_file():
            link_modules(found.tree, root=into, release=found.release)
            run_depmod(into, release=found.release)
        elif found.modules is not None and _needs_depmod(found):
            _copy_links(found.modules, into / "lib/modules" / found.release)
            run_depmod(into, release=found.release)
        (into / "ready").touch()
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise


def _needs_depmod(found: Found) -> bool:
    """A module directory straight out of a package has no modules.dep, and is not ours to write to."""
    return found.modules is not None and not (found.modules / "modules.dep").is_file()


def _copy_links(modules: Path, target: Path) -> None:
    """The same directory with links in place of the modules."""
    for path in modules.rglob("*"):
        if path.is_file() and not path.is_symlink():
            link = target / path.relative_to(modules)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)


def find_kernel(path: Path) -> Found:
    """Recognise what is at ``path``: a file, a built tree, or a directory that a kernel was unpacked into."""
    if not path.exists():
        raise ImageError(f"{path}: no such file or directory", hint=_HINT)
    if path.is_file():
        return _file(path)
    if ((path / "Makefile").is_file() and (path / "arch").is_dir()) or (path / ".config").is_file():
        return _tree(path)
    images = list(_images_below(path))
    if len(images) > 1:
        names = ", ".join(str(one.relative_to(path)) for one in images)
        raise ImageError(f"{path} holds several kernels: {names}", hint="name one of these files")
    if not images:
        raise ImageError(f"{path}: no kernel in it", hint=_HINT)
    return _file(images[0])


def _images_below(path: Path) -> Iterator[Path]:
    for pattern in ("vmlinuz*", "bzImage", "boot/vmlinuz-*", "lib/modules/*/vmlinuz", "usr/lib/modules/*/vmlinuz"):
        files = [file for file in sorted(path.glob(pattern)) if file.is_file()]
        yield from files
        if files:
            return
    if (path / "vmlinux").is_file():
        yield path / "vmlinux"


def _tree(path: Path) -> Found:
    """A source tree or build directory (O=) after ``make``. The bzImage is preferred: its vmlinux has no DWARF."""
    for name in (_BZIMAGE_IN_TREE, "vmlinux"):
        if (path / name).is_file():
            return _file(path / name)
    raise ImageError(
        f"{path} is a kernel tree that is not built", hint=f"run make in it: {_BZIMAGE_IN_TREE} is missing"
    )


def _file(path: Path) -> Found:
    head = _head(path)
    if is_bzimage(head):
        with path.open("rb") as stream:
            release = bzimage_release(stream.read(1 << 16))
    elif is_elf(head):
        release = vmlinux_release(path.read_bytes())
    else:
        raise ImageError(f"{path}: neither an x86 bzImage nor an ELF vmlinux", hint=_HINT)
    if not release:
        raise ImageError(f"{path}: no kernel release in it", hint=_HINT)
    tree = _tree_of(path)
    config = next((one for one in _configs(path, tree, release=release) if one.is_file()), None)
    modules = None if tree else _modules_of(path, release=release)
    return Found(path, is_bzimage(head), release, modules, tree, config)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(0x300)
    except OSError as error:
        raise ImageError(
            f"{path}: {error.strerror}", hint="the kernels in /boot may be readable by root only"
        ) from error


def _tree_of(path: Path) -> Path | None:
    """The build directory that a file belongs to."""
    if path.parts[-4:] == ("arch", "x86", "boot", "bzImage"):
        return path.parents[3]
    return path.parent if (path.parent / ".config").is_file() else None


def _modules_of(path: Path, *, release: str) -> Path | None:
    """lib/modules/<release> in the nearest directory above the image, as packages and `make install` lay it out."""
    for folder in path.parents:
        for name in ("lib/modules", "usr/lib/modules"):
            if (folder / name / release).is_dir():
                return folder / name / release
    return None


def _configs(path: Path, tree: Path | None, *, release: str) -> Iterator[Path]:
    if tree is not None:
        yield tree / ".config"
    yield path.with_name(f"config-{release}")
    yield path.with_name("config")
