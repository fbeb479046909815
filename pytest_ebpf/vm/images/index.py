"""The kernel packages of one suite, verified: signed InRelease -> hash of Packages.xz -> hashes of the packages.

A suite's Packages file has up to 70,000 stanzas (65 MB); only those of kernels are cut out of the stream and parsed,
and only that extract is kept. An extract younger than an hour is not fetched again; after that InRelease is, and
Packages only if InRelease names another hash.
"""

from __future__ import annotations

import base64
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_ebpf.errors import ImageError, MirrorUnreachable
from pytest_ebpf.frozen import asdict, dataclass
from pytest_ebpf.vm.images.architecture import NATIVE
from pytest_ebpf.vm.images.cache import Store
from pytest_ebpf.vm.images.download import Web
from pytest_ebpf.vm.images.mirror import Mirror

__all__ = [
    "Package",
    "SuiteIndex",
    "Wanted",
    "cached_index",
    "cut_stanzas",
    "load_index",
    "parse_packages",
    "verify_release",
]

_FRESH_SECONDS = 3600
_FORMAT = 1
# Every name that a layout of the catalogue can ask for begins like this; "unsigned-" is linux-binary's own spelling.
_KERNELS = r"linux-(?:image|binary|modules|base)-(?:unsigned-)?\d.*"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Package:
    """One row of an index. Sizes in bytes; ``path`` is relative to the archive's base."""

    name: str
    version: str
    path: str
    sha256: str
    size: int
    installed: int
    depends: str


@dataclass(frozen=True, slots=True)
class SuiteIndex:
    """A suite's packages. ``verified``: how they were verified; ``stale``: why an old index is used; ``problem``: why
    there are none."""

    suite: str
    base: str
    verified: str
    packages: tuple[Package, ...]
    stale: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The packages of one suite that are of interest: those of an ``architecture`` (Debian's name) whose names
    ``pattern`` matches as a whole."""

    suite: str
    architecture: str = NATIVE
    pattern: str = _KERNELS

    @property
    def index(self) -> str:
        """The index's path in its suite."""
        return f"main/binary-{self.architecture}/Packages"

    @property
    def key(self) -> str:
        """What tells an extract from others of the same suite."""
        if (self.architecture, self.pattern) == (NATIVE, _KERNELS):
            return self.suite
        return " ".join((self.suite, self.architecture, *([self.pattern] if self.pattern != _KERNELS else [])))


def load_index(
    wanted: Wanted, *, mirror: Mirror, store: Store, web: Web, max_age: float = _FRESH_SECONDS
) -> SuiteIndex:
    """The packages of a suite, none if the archive lacks it. MirrorUnreachable if neither cached nor to be had."""
    suite = wanted.suite
    base = mirror.base(suite)
    file = _index_file(wanted, base=base, store=store)
    kept = _kept(file, store=store)
    if kept is not None and 0 <= time.time() - file.stat().st_mtime < max_age:
        return _from_record(kept, suite=suite, base=base)
    try:
        record = _download_index(wanted, mirror=mirror, web=web, kept=kept)
    except MirrorUnreachable as error:
        if kept is None:
            raise
        return _from_record(kept, suite=suite, base=base, stale=error.message)
    if record is kept:
        os.utime(file)
    else:
        store.write_json(file, record)
    return _from_record(record, suite=suite, base=base)


def cached_index(wanted: Wanted, *, mirror: Mirror, store: Store) -> SuiteIndex | None:
    """The last known index of a suite, however old; None if it was never fetched."""
    base = mirror.base(wanted.suite)
    kept = _kept(_index_file(wanted, base=base, store=store), store=store)
    return None if kept is None else _from_record(kept, suite=wanted.suite, base=base)


def _index_file(wanted: Wanted, *, base: str, store: Store) -> Path:
    key = hashlib.sha256(f"{base} {wanted.key}".encode()).hexdigest()[:16]
    return store.root / "indexes" / f"{wanted.suite}-{key}.json"


def _kept(file: Path, *, store: Store) -> dict[str, Any] | None:
    record = store.read_json(file)
    return record if record is not None and record.get("format") == _FORMAT else None


def _from_record(record: dict[str, Any], *, suite: str, base: str, stale: str = "") -> SuiteIndex:
    packages = tuple(Package(**row) for row in record["packages"])
    return SuiteIndex(suite, base, record["verified"], packages, stale, record.get("problem", ""))


def _download_index(wanted: Wanted, *, mirror: Mirror, web: Web, kept: dict[str, Any] | None) -> dict[str, Any]:
    """The record to keep: ``kept`` itself when the archive has nothing newer."""
    suite, index = wanted.suite, wanted.index
    folder = f"{mirror.base(suite)}/dists/{suite}"
    for _attempt in range(2):  # the archive may be changing under us: then InRelease and Packages disagree once
        signed = web.read(f"{folder}/InRelease")
        if signed is None:
            return {"format": _FORMAT, "verified": "", "hash": "", "packages": []}
        text, verified = verify_release(signed, suite=suite, mirror=mirror)
        found = _index_hash(text, index=index)
        if found is None and wanted.architecture != NATIVE:  # suites end for one architecture before another
            return {"format": _FORMAT, "verified": verified, "hash": "", "packages": []}
        if found is None:
            hint = "is this the archive of another architecture?"
            raise ImageError(f"{suite}: InRelease lists no {index}.xz", hint=hint)
        digest, size = found
        if kept is not None and kept["hash"] == digest and kept["verified"] == verified:
            return kept
        by_hash = f"{folder}/{index.removesuffix('Packages')}by-hash/SHA256/{digest}"
        data = web.read(by_hash) or web.read(f"{folder}/{index}.xz")
        if data is not None and len(data) == size and hashlib.sha256(data).hexdigest() == digest:
            stanzas = b"".join(cut_stanzas(_unpacked(data), pattern=wanted.pattern))
            rows = [asdict(package) for package in parse_packages(stanzas)]
            return {"format": _FORMAT, "verified": verified, "hash": digest, "packages": rows}
    what = f"{suite}: the package index does not match its hash in InRelease"
    if (
        wanted.architecture != NATIVE
    ):  # mirrors that keep one architecture up to date and others not: other suites will do
        return {"format": _FORMAT, "verified": verified, "hash": "", "packages": [], "problem": f"{what} ({index})"}
    raise ImageError(
        what,
        hint="the archive is being updated or is damaged: try again in a few minutes, or name another with --mirror",
    )


def verify_release(signed: bytes, *, suite: str, mirror: Mirror) -> tuple[str, str]:
    """InRelease to its text and how it was verified. ImageError on a bad signature or another suite."""
    program = shutil.which("gpgv")
    if mirror.trusted:
        text, verified = _unsigned(signed), "hashes only (apt says trusted)"
    elif program is None or not mirror.keyrings:
        missing = "no gpgv" if program is None else "no Debian keyring"
        text, verified = _unsigned(signed), f"hashes only ({missing} on this machine)"
    else:
        text, verified = _gpgv(program, signed, keyrings=mirror.keyrings, suite=suite), "signature"
    _check_release(text, suite=suite, check_expiry=mirror.options.check_valid_until)
    return text, verified


def _gpgv(program: str, signed: bytes, *, keyrings: Iterable[Path], suite: str) -> str:
    """The text that a key of ``keyrings`` signed. Archives sign with several keys: one known and none bad will do."""
    with tempfile.TemporaryDirectory(prefix="pytest-ebpf-") as scratch:
        command = [program, "--status-fd", "2", "--output", "-"]
        for ring in keyrings:
            command += ["--keyring", str(_binary_keyring(ring, scratch=Path(scratch)))]
        (Path(scratch) / "InRelease").write_bytes(signed)
        # gpgv looks for its own keyring under HOME; ours are all given, and HOME may not exist.
        result = subprocess.run(
            [*command, f"{scratch}/InRelease"],
            capture_output=True,
            check=False,
            timeout=60,
            env={**os.environ, "GNUPGHOME": scratch},
        )
    words = re.findall(rb"^\[GNUPG:\] (\w+)", result.stderr, re.MULTILINE)
    if b"GOODSIG" not in words or b"BADSIG" in words:
        why = "is bad" if b"BADSIG" in words else "is not by a key in this machine's Debian keyrings"
        raise ImageError(
            f"{suite}: the signature of InRelease {why}",
            hint="the archive is altered or not Debian's; newer keys come with the package debian-archive-keyring",
        )
    return result.stdout.decode(errors="replace")


def _binary_keyring(path: Path, *, scratch: Path) -> Path:
    """gpgv reads binary keyrings only; apt's .asc files are armoured."""
    data = path.read_bytes()
    if not data.startswith(b"-----BEGIN PGP"):
        return path
    target = scratch / f"{path.name}.gpg"
    blocks = re.findall(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:\S.*\n)*\n(.+?)-----END", data, re.DOTALL)
    # the last line of a block is a checksum: "=abcd"
    target.write_bytes(b"".join(base64.b64decode(re.sub(rb"\n=\S+\n$", b"\n", block)) for block in blocks))
    return target


def _unsigned(signed: bytes) -> str:
    """The text inside a clear-signed file, its signature ignored."""
    text = signed.decode(errors="replace")
    match = re.search(r"-----BEGIN PGP SIGNED MESSAGE-----\n.*?\n\n(.*?)\n-----BEGIN PGP SIGNATURE", text, re.DOTALL)
    return match[1] if match else text


def _check_release(text: str, *, suite: str, check_expiry: bool) -> None:
    """Another suite's (correctly signed) InRelease, or one kept back for weeks, must not pass for this one."""
    fields = dict(re.findall(r"^(Suite|Codename|Valid-Until): (.+)$", text, re.MULTILINE))
    if suite not in (fields.get("Suite"), fields.get("Codename")):
        had = fields.get("Codename") or fields.get("Suite") or "nothing we know"
        raise ImageError(f"{suite}: the archive answered with the InRelease of {had}", hint="check --mirror")
    if check_expiry and (until := fields.get("Valid-Until")):
        from email.utils import parsedate_to_datetime

        if parsedate_to_datetime(until.replace("UTC", "+0000")).timestamp() < time.time():
            raise ImageError(
                f"{suite}: InRelease expired on {until}",
                hint="the mirror is out of date (or this machine's clock is wrong); name another with --mirror, "
                "or set Acquire::Check-Valid-Until in apt.conf",
            )


def _index_hash(release: str, *, index: str) -> tuple[str, int] | None:
    """SHA-256 and size of Packages.xz, None if the suite has no such index."""
    sums = release.partition("\nSHA256:")[2]
    match = re.search(rf"^ ([0-9a-f]{{64}}) +(\d+) {re.escape(index)}\.xz$", sums, re.MULTILINE)
    return (match[1], int(match[2])) if match is not None else None


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Decompress in pieces: the whole of it would be 65 MB."""
    decoder = lzma.LZMADecompressor()
    try:
        yield decoder.decompress(data, max_length=_CHUNK)
        while not decoder.eof and not decoder.needs_input:
            yield decoder.decompress(b"", max_length=_CHUNK)
    except lzma.LZMAError as error:
        raise ImageError(f"damaged package index: {error}") from error


def cut_stanzas(pieces: Iterable[bytes], *, pattern: str = _KERNELS) -> Iterator[bytes]:
    """The stanzas of packages whose names a pattern matches, each ending in an empty line, out of a Packages file that
    comes in pieces."""
    wanted = re.compile(rb"\nPackage: (?:%s)\n" % pattern.encode())
    rest = b"\n"
    for piece in pieces:
        rest += piece
        end = rest.rfind(b"\n\n")
        if end >= 0:
            yield from _stanzas(rest[: end + 2], wanted=wanted)
            rest = rest[end + 1 :]
    yield from _stanzas(rest + b"\n\n", wanted=wanted)


def _stanzas(block: bytes, *, wanted: re.Pattern[bytes]) -> Iterator[bytes]:
    for match in wanted.finditer(block):
        yield block[match.start() + 1 : block.find(b"\n\n", match.start() + 1) + 2]


def parse_packages(stanzas: bytes) -> list[Package]:
    """Stanzas of a Packages file to rows; what lacks a field that we need is left out."""
    from debian.deb822 import Packages

    rows = []
    for one in Packages.iter_paragraphs(stanzas, use_apt_pkg=False):
        if not all(one.get(key) for key in ("Package", "Version", "Filename", "SHA256", "Size")):
            continue
        rows.append(
            Package(
                one["Package"],
                one["Version"],
                one["Filename"],
                one["SHA256"],
                int(one["Size"]),
                int(one.get("Installed-Size", "0")) * 1024,
                one.get("Depends", ""),
            )
        )
    return rows
