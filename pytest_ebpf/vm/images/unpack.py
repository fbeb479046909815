"""Packages on disk -> one image in the cache.

    bzImage         as packaged
    vmlinux         the same kernel, uncompressed
    vmlinux.btf     its types
    config          the kernel's configuration, where a package has it
    lib/modules/<release>/    its modules (as packaged: plain, .xz or .zst) with depmod's files
    entry.json      written last

One layout for all kernels, wherever their packages keep things (/boot and /lib up to 6.1, /usr/lib since 6.12).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.archive import extract
from pytest_ebpf.vm.images.modules import run_depmod
from pytest_ebpf.vm.images.vmlinux import extract_btf, extract_vmlinux, find_btf, plain_kernel

__all__ = ["build_foreign_image", "build_image", "place_file", "write_kernel"]


def build_image(packages: Iterable[Path], *, into: Path, release: str, tick: Callable[[], None]) -> None:
    """Unpack into the directory ``into`` (emptied first). ImageError if the packages hold no such kernel."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for package in packages:
        extract(package, into=into, place=lambda name: place_file(name, release=release), tick=tick)
    if not (into / "bzImage").is_file() or not (into / "lib/modules" / release / "kernel").is_dir():
        raise ImageError(f"the packages of {release} hold no image or no modules: an unknown package layout")
    write_kernel((into / "bzImage").read_bytes(), into=into, name=release)
    tick()
    run_depmod(into, release=release)


def build_foreign_image(packages: Iterable[Path], *, into: Path, release: str, tick: Callable[[], None]) -> None:
    """As ``build_image``, for another processor: ``vmlinux`` is the file that QEMU is given, without a bzImage."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for package in packages:
        extract(package, into=into, place=lambda name: place_file(name, release=release), tick=tick)
    packaged = into / "bzImage"
    if not packaged.is_file() or not (into / "lib/modules" / release / "kernel").is_dir():
        raise ImageError(f"the packages of {release} hold no image or no modules: an unknown package layout")
    kernel = plain_kernel(packaged.read_bytes(), name=release)
    packaged.unlink()
    (into / "vmlinux").write_bytes(kernel)
    if (btf := find_btf(kernel)) is not None:
        (into / "vmlinux.btf").write_bytes(btf)
    tick()
    run_depmod(into, release=release)


def place_file(name: str, *, release: str) -> str | None:
    """Where a package's file goes, None for files that are not needed (documentation, System.map)."""
    folder = rf"(?:usr/)?lib/modules/{re.escape(release)}"
    if re.fullmatch(rf"boot/vmlinu[xz]-{re.escape(release)}|{folder}/vmlinu[xz](\.unsigned)?", name):
        return "bzImage"
    if re.fullmatch(rf"boot/config-{re.escape(release)}|{folder}/config", name):
        return "config"
    match = re.match(rf"(?:usr/)?(lib/modules/{re.escape(release)}/(?:kernel/|modules\.).+)", name)
    return match[1] if match else None


def write_kernel(bzimage: bytes, *, into: Path, name: str) -> None:
    """``vmlinux`` and ``vmlinux.btf`` out of a bzImage."""
    vmlinux = into / "vmlinux"
    vmlinux.write_bytes(extract_vmlinux(bzimage, name=name))
    btf = extract_btf(vmlinux)
    if btf is not None:
        (into / "vmlinux.btf").write_bytes(btf)
