"""A Debian archive in miniature on the loopback interface: hand-made kernels in hand-made packages, and a server that
can misbehave in every way that a mirror does.
"""

from __future__ import annotations

import hashlib
import http.server
import io
import lzma
import struct
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from support.openpgp import Key

BTF = b"\x9f\xeb\x01\x00types of the test kernel"


def make_vmlinux(release: str, *, btf: bytes = BTF) -> bytes:
    """An ELF64 file with a .BTF section and the kernel's banner."""
    banner = f"Linux version {release} (somebody@example.com) #1".encode() + b"\0"
    names = b"\0.BTF\0.shstrtab\0"
    bodies = [banner, btf, names]
    offsets = [64 + sum(len(body) for body in bodies[:index]) for index in range(4)]
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0, 0, offsets[3], 0, 64, 0, 0, 64, 3, 2)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, offsets[1], len(btf), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 6, 3, 0, 0, offsets[2], len(names), 0, 0, 1, 0)
    return header + b"".join(bodies) + sections


def make_bzimage(release: str, *, payload: bytes | None = None, protocol: int = 0x20F) -> bytes:
    """A boot sector, two setup sectors and the compressed kernel, as Documentation/arch/x86/boot.rst lays them out."""
    inside = lzma.compress(make_vmlinux(release), check=lzma.CHECK_CRC32) + bytes(4) if payload is None else payload
    setup = bytearray(512 * 3)
    setup[0x1F1] = 2
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, protocol)
    struct.pack_into("<H", setup, 0x20E, 0x200)
    text = f"{release} (somebody@example.com) #1".encode() + b"\0"
    setup[0x400 : 0x400 + len(text)] = text
    struct.pack_into("<II", setup, 0x248, 16, len(inside))
    return bytes(setup) + bytes(16) + inside


def make_deb(files: dict[str, bytes], *, compression: str = "xz", links: dict[str, str] | None = None) -> bytes:
    """An ar archive with debian-binary, control and data."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    packed = {
        "xz": lambda raw: lzma.compress(raw, preset=0),
        "zst": lambda raw: zstandard.ZstdCompressor().compress(raw),
        "": lambda raw: raw,
    }[compression](data.getvalue())
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"?", f"data.tar.{compression}".rstrip("."): packed}
    archive = b"!<arch>\n"
    for name, content in members.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        archive += content + b"\n" * (len(content) % 2)
    return archive


def kernel_files(release: str, *, usr: bool, padding: int = 0) -> dict[str, bytes]:
    """What a one-package kernel holds; ``padding`` bytes of incompressible module make it larger."""
    modules = f"./{'usr/' if usr else ''}lib/modules/{release}"
    noise = hashlib.shake_128(release.encode()).digest(padding)
    return {
        f"./boot/vmlinuz-{release}": make_bzimage(release),
        f"./boot/config-{release}": b"CONFIG_BPF_SYSCALL=y\n",
        f"./boot/System.map-{release}": b"0 T start\n",
        f"{modules}/modules.order": b"kernel/net/veth.ko\n",
        f"{modules}/modules.builtin": b"kernel/fs/ext4.ko\n",
        f"{modules}/kernel/net/veth.ko": make_vmlinux("module") + noise,
        f"./usr/share/doc/linux-image-{release}/copyright": b"GPL-2\n",
    }


@dataclass(frozen=True, slots=True)
class Row:
    """A package of a suite."""

    name: str
    version: str
    deb: bytes
    depends: str = "kmod"
    installed_kb: int = 10
    architecture: str = "amd64"

    @property
    def path(self) -> str:
        return f"pool/main/l/linux/{self.name}_{self.version}_{self.architecture}.deb"

    @property
    def stanza(self) -> str:
        return (
            f"Package: {self.name}\nSource: linux\nVersion: {self.version}\nInstalled-Size: {self.installed_kb}\n"
            f"Depends: {self.depends}\nDescription: a kernel\n more words\n"
            f"Filename: {self.path}\nSize: {len(self.deb)}\nSHA256: {hashlib.sha256(self.deb).hexdigest()}\n\n"
        )


def single(release: str, version: str, *, usr: bool = False, padding: int = 0, suffix: str = "") -> Row:
    """A one-package kernel."""
    return Row(f"linux-image-{release}{suffix}", version, make_deb(kernel_files(release, usr=usr, padding=padding)))


def split(release: str, version: str, *, unsigned: bool = False) -> list[Row]:
    """A kernel of three packages, and the empty one that depends on them."""
    base = f"./usr/lib/modules/{release}"
    image = f"{base}/vmlinuz.unsigned" if unsigned else f"{base}/vmlinuz"
    contents = {
        f"linux-binary-{'unsigned-' if unsigned else ''}{release}": {image: make_bzimage(release)},
        f"linux-modules-{release}": {f"{base}/kernel/net/veth.ko": make_vmlinux("module")},
        f"linux-base-{release}": {
            f"{base}/config": b"CONFIG_BPF=y\n",
            f"{base}/modules.order": b"kernel/net/veth.ko\n",
            f"{base}/modules.builtin": b"",
        },
        f"linux-image-{release}": {f"./usr/share/doc/linux-image-{release}/copyright": b"GPL-2\n"},
    }
    return [Row(name, version, make_deb(files, compression="zst")) for name, files in contents.items()]


_OTHER = "Package: linux-image-amd64\nVersion: 1\nFilename: x\nSize: 1\nSHA256: 00\n\nPackage: zsh\nVersion: 5\n\n"


@dataclass(slots=True)
class Faults:
    """How the server misbehaves, by a part of the address. Counts are used up, one per request."""

    cut_after: dict[str, int] = field(default_factory=dict)  # bytes, then the connection ends
    cuts: int = 0
    corrupt: str = ""
    missing: str = ""
    status_503: int = 0
    ranges: bool = True
    slow: float = 0.0
    go_on: threading.Event | None = None  # nothing of a package is sent before it is set


@dataclass(slots=True)
class Mirror:
    """The running archive. ``url`` is its main base; the security archive is its sibling."""

    url: str
    files: dict[str, bytes]
    faults: Faults
    requests: list[str]
    ranges: list[str]

    def add_suite(
        self,
        suite: str,
        rows: list[Row],
        *,
        key: Key | None = None,
        named: str = "",
        others: Mapping[str, list[Row]] | None = None,
    ) -> None:
        """Publish a suite. ``named``: the Suite field, if the archive lies. ``others``: rows of other architectures."""
        base = "/debian-security" if suite.endswith("-security") else "/debian"
        folder = f"{base}/dists/{suite}"
        sums = f" {'0' * 64} 1 main/binary-hurd-i386/Packages.xz\n"
        for name, several in {"amd64": rows, **(others or {})}.items():
            packed = lzma.compress((_OTHER + "".join(row.stanza for row in several)).encode())
            sums += f" {hashlib.sha256(packed).hexdigest()} {len(packed)} main/binary-{name}/Packages.xz\n"
            self.files[f"{folder}/main/binary-{name}/Packages.xz"] = packed
            self.files |= {f"{base}/{row.path}": row.deb for row in several}
        release = (
            f"Origin: Test\nSuite: {named or suite}\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nMD5Sum:\n"
            f" {'0' * 32} 1 main/binary-amd64/Packages.xz\nSHA256:\n{sums}"
        )
        self.files[f"{folder}/InRelease"] = key.clear_sign(release) if key else release.encode()

    def asked(self, part: str) -> int:
        """How many requests had ``part`` in their path."""
        return sum(part in path for path in self.requests)


@contextmanager
def serve() -> Iterator[Mirror]:
    """A mirror on a free port, gone at the end."""
    mirror = Mirror("", {}, Faults(), [], [])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(mirror))
    server.daemon_threads = True
    mirror.url = f"http://127.0.0.1:{server.server_address[1]}/debian"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()


def _handler(mirror: Mirror) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.requests.append(self.path)
            faults = mirror.faults
            body = mirror.files.get(self.path)
            if faults.status_503:
                faults.status_503 -= 1
                self.send_error(503)
            elif body is None or (faults.missing and faults.missing in self.path):
                self.send_error(404)
            else:
                self.answer(body)

        def answer(self, body: bytes) -> None:
            faults = mirror.faults
            if faults.corrupt and faults.corrupt in self.path:
                body = body[:-1] + bytes([body[-1] ^ 1])
            start = 0
            if (wanted := self.headers.get("Range")) and faults.ranges:
                mirror.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.send_body(body[start:])

        def send_body(self, body: bytes) -> None:
            faults = mirror.faults
            limit = next((size for part, size in faults.cut_after.items() if part in self.path), None)
            if limit is not None and faults.cuts:
                faults.cuts -= 1
                body = body[:limit]
                self.close_connection = True
            for at in range(0, len(body), 1 << 16):
                self.wfile.write(body[at : at + (1 << 16)])
                if faults.go_on is not None and ".deb" in self.path:
                    faults.go_on.wait(60)
                if faults.slow and ".deb" in self.path:
                    threading.Event().wait(faults.slow)

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


def write_ring(folder: Path, key: Key, *, armoured: bool = False) -> Path:
    """The archive's public key where apt would have it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"debian-archive-test{'.asc' if armoured else '.gpg'}"
    path.write_bytes(key.armoured_ring if armoured else key.ring)
    return path
