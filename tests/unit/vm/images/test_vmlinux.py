"""The kernel inside a bzImage: every compression, and every way to be broken."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import lz4.block
import pytest
import zstandard

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.vmlinux import bzimage_release, extract_btf, extract_vmlinux, vmlinux_release
from support.fake_mirror import BTF, make_bzimage, make_vmlinux

REL = "6.1.0-9-amd64"
KERNEL = make_vmlinux(REL)
ZSTD = zstandard.ZstdCompressor(level=19, write_checksum=True).compress(KERNEL)


def legacy_lz4(data: bytes, *, block: int = 8 << 20) -> bytes:
    """As `lz4 -l` writes it, which the kernel's build calls."""
    packed = [lz4.block.compress(data[at : at + block], store_size=False) for at in range(0, len(data), block)]
    return b"\x02\x21\x4c\x18" + b"".join(len(one).to_bytes(4, "little") + one for one in packed)


def test_lz4_in_several_blocks() -> None:
    """Of 8 MiB each but the last, with the length of the whole behind them or not."""
    kernel = KERNEL + bytes(range(256)) * (9 << 12)
    assert len(kernel) > 9 << 20
    for end in (b"", len(kernel).to_bytes(4, "little")):
        assert extract_vmlinux(make_bzimage(REL, payload=legacy_lz4(kernel) + end), name="k") == kernel


@pytest.mark.parametrize(
    "pack",
    [
        lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
        lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
        gzip.compress,
        bz2.compress,
        lambda data: zstandard.ZstdCompressor(level=19).compress(data),
        legacy_lz4,
        lambda data: data,
    ],
    ids=["xz", "lzma", "gzip", "bzip2", "zstd", "lz4", "none"],
)
def test_every_compression(pack: Callable[[bytes], bytes]) -> None:
    # the build appends the uncompressed size to the payload (scripts/Makefile.lib, size_append)
    image = make_bzimage(REL, payload=pack(KERNEL) + len(KERNEL).to_bytes(4, "little"))
    assert extract_vmlinux(image, name="k")[: len(KERNEL)] == KERNEL


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (b"", "not an x86 bzImage"),
        (KERNEL, "not an x86 bzImage"),
        (make_bzimage(REL, protocol=0x204), "boot protocol 0x204 is too old"),
        (make_bzimage(REL)[:-40], "the image is cut off"),
        (make_bzimage(REL, payload=b"\x89LZOrest"), "its compression is LZO"),
        (make_bzimage(REL, payload=b"\x02\x21\x4c\x18\4\0\0\0rest"), "the compressed kernel is damaged"),
        (make_bzimage(REL, payload=legacy_lz4(KERNEL)[:-9]), "the compressed kernel is damaged: it ends too early"),
        (make_bzimage(REL, payload=b"what"), r"its compression is unknown \(77686174\)"),
        (make_bzimage(REL, payload=gzip.compress(b"no kernel")), "what is inside is not an ELF kernel"),
        (make_bzimage(REL, payload=ZSTD[:20] + b"?" * 20 + ZSTD[40:]), "the compressed kernel is damaged"),
        (make_bzimage(REL, payload=ZSTD[:-8]), "the compressed kernel is damaged: it ends too early"),
        (make_bzimage(REL, payload=gzip.compress(KERNEL)[:-9]), "the compressed kernel is damaged: it ends too early"),
        (make_bzimage(REL, payload=b"\xfd7zXZ\0" + bytes(50)), "the compressed kernel is damaged"),
    ],
)
def test_a_broken_image_says_what_is_wrong(image: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=f"^k: {words}"):
        extract_vmlinux(image, name="k")


def test_releases() -> None:
    assert bzimage_release(make_bzimage(REL)) == REL
    assert vmlinux_release(KERNEL) == REL
    assert vmlinux_release(b"nothing") == ""


def test_types(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(KERNEL)
    assert extract_btf(path) == BTF
    path.write_bytes(KERNEL.replace(b".BTF", b".XYZ"))
    assert extract_btf(path) is None
    path.write_bytes(b"\x7fELFnot really")
    with pytest.raises(ImageError, match="not a usable ELF file"):
        extract_btf(path)
