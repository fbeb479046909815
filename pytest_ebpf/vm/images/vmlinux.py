"""Out of a kernel image: the uncompressed ``vmlinux``, the release, the types.

QEMU enters a vmlinux through its PVH note, which saves the seconds that self-decompression takes under emulation; and
the same file holds ``.BTF``. Offsets: Documentation/arch/x86/boot.rst (boot protocol 2.08 and later,
since Linux 2.6.26).
"""

from __future__ import annotations

import bz2
import lzma
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_ebpf.errors import ImageError

__all__ = [
    "bzimage_release",
    "extract_btf",
    "extract_vmlinux",
    "find_btf",
    "is_bzimage",
    "is_elf",
    "plain_kernel",
    "vmlinux_release",
]

_ELF = b"\x7fELF"
_LEAST_STRINGS = 1 << 18  # bytes of names in a kernel's BTF; modules and programs have fewer


def is_elf(data: bytes) -> bool:
    """Whether the bytes begin like an ELF file."""
    return data[:4] == _ELF


def is_bzimage(data: bytes) -> bool:
    """Whether the bytes begin like an x86 bzImage: the boot flag and the header's magic."""
    return data[0x1FE:0x200] == b"\x55\xaa" and data[0x202:0x206] == b"HdrS"


def bzimage_release(data: bytes) -> str:
    """``uname -r`` of a bzImage: the string at kernel_version (0x20e, relative to 0x200), up to the first space."""
    (pointer,) = struct.unpack_from("<H", data, 0x20E)
    text = data[0x200 + pointer : 0x200 + pointer + 256].partition(b"\0")[0]
    return text.decode("ascii", "replace").partition(" ")[0] if pointer else ""


def vmlinux_release(data: bytes) -> str:
    """``uname -r`` of a vmlinux: from linux_banner (init/version.c)."""
    match = re.search(rb"Linux version (\S+) \(", data)
    return match[1].decode("ascii", "replace") if match else ""


def extract_vmlinux(data: bytes, *, name: str) -> bytes:
    """The ELF kernel inside a bzImage. ImageError when there is none, or when nothing here can decompress it."""
    if not is_bzimage(data):
        raise ImageError(f"{name}: not an x86 bzImage")
    (protocol,) = struct.unpack_from("<H", data, 0x206)
    if protocol < 0x208:
        raise ImageError(f"{name}: boot protocol {protocol:#x} is too old to tell where the kernel begins")
    start = ((data[0x1F1] or 4) + 1) * 512 + struct.unpack_from("<I", data, 0x248)[0]
    (length,) = struct.unpack_from("<I", data, 0x24C)
    payload = data[start : start + length]
    if len(payload) < length or not payload:
        raise ImageError(f"{name}: the image is cut off")
    kernel = payload if is_elf(payload) else _decompress(payload, name=name)
    if not is_elf(kernel):
        raise ImageError(f"{name}: what is inside is not an ELF kernel")
    return kernel


def extract_btf(vmlinux: Path) -> bytes | None:
    """The raw ``.BTF`` section of an ELF kernel, None if it was built without CONFIG_DEBUG_INFO_BTF."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with vmlinux.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".BTF")
            return None if section is None else bytes(section.data())
    except ELFError as error:
        raise ImageError(f"{vmlinux}: not a usable ELF file: {error}") from error


def plain_kernel(data: bytes, *, name: str) -> bytes:
    """The kernel of another processor as QEMU takes it. arm64's and riscv64's may be packed into an EFI program that
    unpacks itself (CONFIG_EFI_ZBOOT; include/linux/efi.h and drivers/firmware/efi/libstub/zboot-header.S), or gzipped;
    the others are taken as they are."""
    if data[:2] == b"MZ" and data[4:8] == b"zimg":
        start, length = struct.unpack_from("<II", data, 8)
        return _decompress(data[start : start + length], name=name)
    return _decompress(data, name=name) if data.startswith(b"\x1f\x8b") else data


def find_btf(kernel: bytes) -> bytes | None:
    """The types in a kernel that is no ELF file but an image of its memory: the first place that looks like a whole BTF
    of some size (include/uapi/linux/btf.h). None if there is none, as in an image that is packed."""
    for order in ("<", ">"):
        head = struct.pack(f"{order}HBBI", 0xEB9F, 1, 0, 24)
        at = kernel.find(head)
        while at >= 0:
            types, types_size, strings, strings_size = struct.unpack_from(f"{order}4I", kernel, at + len(head))
            end = at + 24 + strings + strings_size
            if types == 0 and types_size == strings and strings_size > _LEAST_STRINGS and end <= len(kernel):
                return kernel[at:end]
            at = kernel.find(head, at + 1)
    return None


def _decompress(payload: bytes, *, name: str) -> bytes:
    """By magic, as lib/decompress.c does. What follows the compressed stream (four bytes of length) is ignored."""
    readers: tuple[tuple[bytes, Callable[[], Any]], ...] = (
        (b"\xfd7zXZ\0", lzma.LZMADecompressor),
        (b"\x28\xb5\x2f\xfd", _zstd),
        (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
        (b"\x5d\0\0", lambda: lzma.LZMADecompressor(format=lzma.FORMAT_ALONE)),
        (b"BZh", bz2.BZ2Decompressor),
        (b"\x02\x21\x4c\x18", _Lz4),
    )
    for magic, make in readers:
        if payload.startswith(magic):
            return _run_decoder(make(), payload, name=name)
    kind = "LZO" if payload.startswith(b"\x89LZO") else f"unknown ({payload[:4].hex()})"
    raise ImageError(
        f"{name}: its compression is {kind}, which Python has no reader for",
        hint="name the uncompressed vmlinux of the same build instead, or build with CONFIG_KERNEL_ZSTD=y",
    )


def _run_decoder(decoder: Any, payload: bytes, *, name: str) -> bytes:
    """All of the stream, or an ImageError."""
    import zstandard

    try:
        kernel: bytes = decoder.decompress(payload)
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError, OSError, EOFError) as error:
        raise ImageError(f"{name}: the compressed kernel is damaged: {error}") from error
    if not decoder.eof:
        raise ImageError(f"{name}: the compressed kernel is damaged: it ends too early")
    return kernel


class _Lz4:
    """The legacy frame of LZ4, which the kernel's build makes: a magic number, then the length of each block and the
    block, of 8 MiB when it is unpacked. The length of the whole may follow (lib/decompress_unlz4.c, Linux 6.1)."""

    _BLOCK = 8 << 20

    def __init__(self) -> None:
        self.eof = False

    def decompress(self, payload: bytes) -> bytes:
        """``OSError`` for damage."""
        import lz4.block

        at, parts = 4, []
        while (size := int.from_bytes(payload[at : at + 4], "little")) and at + 4 + size <= len(payload):
            try:
                parts.append(lz4.block.decompress(payload[at + 4 : at + 4 + size], uncompressed_size=self._BLOCK))
            except lz4.block.LZ4BlockError as error:
                raise OSError(str(error)) from error
            at += 4 + size
        self.eof = at in (len(payload), len(payload) - 4)
        return b"".join(parts)


def _zstd() -> Any:
    import zstandard

    # the kernel is compressed with --ultra -22: a window of 128 MiB
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
