"""Kernels of other architectures and the root of their guests, fetched from an archive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.fetch import fetch
from pytest_ebpf.vm.images.image import ImageConfig, in_use
from pytest_ebpf.vm.images.listing import overview
from pytest_ebpf.vm.images.prune import prune, prune_all
from pytest_ebpf.vm.images.resolve import resolve
from pytest_ebpf.vm.images.rootfs import root_of, wanted_for
from support.fake_mirror import Mirror, Row, make_deb, serve, write_ring
from support.openpgp import make_key

KEY = make_key(1)
RELEASE = "6.12.9+deb13-s390x"


def kernel(version: str) -> Row:
    files = {
        f"./boot/vmlinuz-{RELEASE}": b"packed for s390" + version.encode(),
        f"./boot/config-{RELEASE}": b"CONFIG_S390=y\n",
        f"./usr/lib/modules/{RELEASE}/modules.order": b"",
        f"./usr/lib/modules/{RELEASE}/modules.builtin": b"",
        f"./usr/lib/modules/{RELEASE}/kernel/fs/9p/9p.ko": b"?",
    }
    return Row(f"linux-image-{RELEASE}", version, make_deb(files), architecture="s390x")


def root_rows(architecture: str, version: str = "1") -> list[Row]:
    names = sorted(wanted_for("s390x")[0].pattern.replace("\\", "").split("|"))
    rows = [Row(name, version, make_deb({f"./usr/lib/{name}": b"x"}), architecture=architecture) for name in names]
    extra = make_deb({"./usr/bin/kmod": b"x"}, links={"./usr/sbin/modprobe": "../bin/kmod"})
    return [*rows[:-1], Row(names[-1], version, extra, architecture=architecture)]


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """trixie lacks a package of s390x that its index has; forky has all."""
    with serve() as running:
        for suite in ("trixie-security", "bookworm-security", "bookworm-backports", "sid"):
            running.add_suite(suite, [], key=KEY)
        rows = {"s390x": [kernel("6.12.9-1"), *root_rows("s390x")]}
        running.add_suite("trixie", root_rows("amd64"), others=rows, key=KEY)
        running.add_suite("forky", [], key=KEY, others={"s390x": root_rows("s390x", "2")})
        del running.files["/debian/pool/main/l/linux/libc6_1_s390x.deb"]
        yield running


def config_of(mirror: Mirror, folder: Path) -> ImageConfig:
    return ImageConfig(mirror=mirror.url, cache=folder / "cache", keyring=write_ring(folder, KEY), pauses=(0.01,))


def test_a_kernel_and_its_root_from_an_archive_with_a_gap(mirror: Mirror, tmp_path: Path) -> None:
    config = config_of(mirror, tmp_path)
    (image,) = fetch(["6.12:s390x"], config=config)
    assert (image.release, image.architecture, image.bzimage, image.btf) == (RELEASE, "s390x", None, None)
    assert image.vmlinux.read_bytes().startswith(b"packed for s390")
    assert image.rooted is not None
    assert image.rooted.root.name.startswith("s390x-")
    root = image.rooted.root
    assert (root / "usr/lib/libc6").is_file()
    assert (root / "bin").is_symlink()
    assert (root / "usr/sbin/modprobe").readlink() == Path("../bin/kmod")
    assert (root / "bin/sh").readlink() == Path("busybox")
    assert mirror.asked("_2_s390x.deb") == len(root_rows("s390x"))  # all of the root is of one suite
    assert resolve("6.12:s390x", config=config).rooted == image.rooted
    asked = len(mirror.requests)
    assert resolve("6.12:s390x", config=config).digest == image.digest
    assert len(mirror.requests) == asked


def test_a_kernel_without_its_root_is_not_in_the_cache(mirror: Mirror, tmp_path: Path) -> None:
    config = config_of(mirror, tmp_path)
    fetch(["6.12:s390x"], config=config)
    with pytest.raises(ImageError, match=r"6\.12 is not in the cache"):
        resolve("6.12", config=config)  # of this machine
    with pytest.raises(ImageError, match=r"6\.12:arm64 is not in the cache"):
        resolve("6.12:arm64", config=config)
    rooted = root_of("s390x", store=config.store)
    assert rooted is not None
    (rooted.twin / "ready").unlink()
    with pytest.raises(ImageError, match=r"kernel 6\.12:s390x is not in the cache\nrun: .* fetch 6\.12:s390x"):
        resolve("6.12:s390x", config=config)


def test_list_and_prune_know_it(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_EBPF_MIRROR", mirror.url)
    config = config_of(mirror, tmp_path)
    assert "6.12:s390x" not in [row.series for row in overview(config, ask_archive=False)]
    fetch(["6.12:s390x"], config=config)
    (row,) = [row for row in overview(config, ask_archive=False) if row.series == "6.12:s390x"]
    assert row.cached == f"{RELEASE} (6.12.9-1)"
    assert prune(config.store).removed == ()
    assert prune_all(config.store).removed != ()
    assert not config.store.roots.exists()


def test_a_superseded_root_goes_unless_a_guest_runs_on_it(mirror: Mirror, tmp_path: Path) -> None:
    config = config_of(mirror, tmp_path)
    (image,) = fetch(["6.12:s390x"], config=config)
    assert image.rooted is not None
    newer = image.rooted.root.with_name("s390x-newer")
    newer.mkdir()
    os.utime(newer, (2**33, 2**33))
    with in_use(image, config=config):
        prune(config.store)
        assert image.rooted.root.is_dir()
    prune(config.store)
    assert (image.rooted.root.exists(), newer.is_dir(), image.rooted.twin.is_dir()) == (False, True, True)


def test_an_index_that_is_out_of_step_is_not_used_for_another_processor(mirror: Mirror, tmp_path: Path) -> None:
    mirror.add_suite("trixie-security", [], key=KEY, others={"s390x": []})
    mirror.files["/debian-security/dists/trixie-security/main/binary-s390x/Packages.xz"] = b"of another day"
    (image,) = fetch(["6.12:s390x"], config=config_of(mirror, tmp_path))
    assert "from trixie " in image.origin
