"""Kernels of the user's own: files, built trees, extracted directories."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.image import ImageConfig
from pytest_ebpf.vm.images.resolve import resolve
from support.fake_mirror import BTF, kernel_files, make_bzimage, make_vmlinux

REL = "6.19.0-mine"


@pytest.fixture
def config(tmp_path: Path) -> ImageConfig:
    return ImageConfig(cache=tmp_path / "cache")


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def extracted(root: Path, *, usr: bool = False) -> Path:
    return write(root, kernel_files(REL, usr=usr))


def snapshot(root: Path) -> list[str]:
    return sorted(str(path) for path in root.rglob("*"))


@pytest.mark.parametrize("usr", [False, True])
@pytest.mark.parametrize("name", ["", f"boot/vmlinuz-{REL}"])
def test_an_extracted_package(tmp_path: Path, config: ImageConfig, name: str, usr: bool) -> None:
    root = extracted(tmp_path / "kernel", usr=usr)
    before = snapshot(root)
    image = resolve(str(root / name), config=config)
    assert (image.release, image.series) == (REL, "6.19")
    assert image.vmlinux.read_bytes() == make_vmlinux(REL)
    assert image.bzimage == root / f"boot/vmlinuz-{REL}"
    assert image.btf is not None
    assert image.btf.read_bytes() == BTF
    assert image.kconfig == root / f"boot/config-{REL}"
    assert image.modules is not None
    assert "veth.ko:" in (image.modules / "modules.dep").read_text()
    assert (image.modules / "kernel/net/veth.ko").is_file()
    assert snapshot(root) == before  # nothing is written beside the user's files


def test_modules_with_indexes_are_used_where_they_are(tmp_path: Path, config: ImageConfig) -> None:
    root = extracted(tmp_path / "kernel")
    (root / "lib/modules" / REL / "modules.dep").touch()
    assert resolve(str(root), config=config).modules_root == root


def test_an_image_of_ours_is_a_path_too(tmp_path: Path, config: ImageConfig) -> None:
    root = write(
        tmp_path / "entry", {"bzImage": make_bzimage(REL), f"lib/modules/{REL}/modules.dep": b"", "config": b""}
    )
    image = resolve(str(root), config=config)
    assert (image.modules_root, image.kconfig) == (root, root / "config")


def test_a_vmlinux_alone(tmp_path: Path, config: ImageConfig) -> None:
    path = write(tmp_path / "k", {"vmlinux": make_vmlinux(REL)}) / "vmlinux"
    image = resolve(str(path), config=config)
    assert (image.vmlinux, image.bzimage, image.modules_root) == (path, None, None)
    assert image.btf is not None
    assert image.btf.read_bytes() == BTF


@pytest.mark.parametrize("inside", ["", "arch/x86/boot/bzImage"])
def test_a_built_tree(tmp_path: Path, config: ImageConfig, inside: str) -> None:
    tree = write(
        tmp_path / "linux",
        {
            "Makefile": b"",
            ".config": b"CONFIG_BPF=y\n",
            "arch/x86/boot/bzImage": make_bzimage(REL),
            "vmlinux": b"\x7fELF with DWARF",
            "modules.order": b"net/veth.o\nnet/gone.o\nfs/ext4.ko\n",
            "modules.builtin": b"kernel/fs/proc.ko\n",
            "net/veth.ko": make_vmlinux("module"),
            "fs/ext4.ko": make_vmlinux("module"),
        },
    )
    before = snapshot(tree)
    image = resolve(str(tree / inside), config=config)
    assert image.release == REL
    assert image.kconfig == tree / ".config"
    assert image.modules is not None
    assert (image.modules / "kernel/net/veth.ko").resolve() == tree / "net/veth.ko"
    assert "kernel/fs/ext4.ko:" in (image.modules / "modules.dep").read_text()
    assert snapshot(tree) == before
    assert config.store.root in image.vmlinux.parents


def test_a_rebuilt_kernel_is_noticed(tmp_path: Path, config: ImageConfig) -> None:
    path = write(tmp_path / "k", {"bzImage": make_bzimage(REL)}) / "bzImage"
    first = resolve(str(path), config=config)
    assert resolve(str(path), config=config) == first
    path.write_bytes(make_bzimage(REL, payload=gzip.compress(make_vmlinux(REL, btf=b"other types"))))
    os.utime(path, ns=(0, 0))
    second = resolve(str(path), config=config)
    assert (first.release, second.release) == (REL, REL)
    assert first.digest != second.digest
    assert second.btf is not None
    assert second.btf.read_bytes() == b"other types"


def test_a_tree_that_is_not_built(tmp_path: Path, config: ImageConfig) -> None:
    tree = write(tmp_path / "linux", {"Makefile": b"", "arch/x86/Makefile": b""})
    with pytest.raises(ImageError, match="is a kernel tree that is not built\nrun make in it"):
        resolve(str(tree), config=config)


def test_what_is_no_kernel(tmp_path: Path, config: ImageConfig) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "zero").touch()
    (tmp_path / "elf").write_bytes(b"\x7fELF something else")
    with pytest.raises(ImageError, match="nothing: no such file or directory"):
        resolve(str(tmp_path / "nothing"), config=config)
    with pytest.raises(ImageError, match="empty: no kernel in it"):
        resolve(str(tmp_path / "empty"), config=config)
    for name in ("text", "zero"):
        with pytest.raises(ImageError, match=f"{name}: neither an x86 bzImage nor an ELF vmlinux"):
            resolve(str(tmp_path / name), config=config)
    with pytest.raises(ImageError, match="elf: no kernel release in it"):
        resolve(str(tmp_path / "elf"), config=config)
    assert not (tmp_path / "cache").exists()


def test_several_kernels_in_one_place(tmp_path: Path, config: ImageConfig) -> None:
    root = write(tmp_path / "r", {"boot/vmlinuz-1": make_bzimage("1.0.0"), "boot/vmlinuz-2": make_bzimage("2.0.0")})
    with pytest.raises(ImageError, match=r"holds several kernels: boot/vmlinuz-1, boot/vmlinuz-2\nname one"):
        resolve(str(root), config=config)


def test_a_damaged_image_leaves_nothing(tmp_path: Path, config: ImageConfig) -> None:
    path = write(tmp_path / "k", {"bzImage": make_bzimage(REL)[:-30]}) / "bzImage"
    with pytest.raises(ImageError, match="the image is cut off"):
        resolve(str(path), config=config)
    assert not list((config.store.root / "local").iterdir())
