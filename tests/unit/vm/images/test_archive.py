"""Packages without dpkg: what is taken, where it goes, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.archive import extract, safe_name
from pytest_ebpf.vm.images.unpack import place_file
from support.fake_mirror import kernel_files, make_deb

REL = "6.1.0-9-amd64"


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "x.deb"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("compression", ["xz", "zst", ""])
def test_files_arrive_unchanged(tmp_path: Path, compression: str) -> None:
    files = {"./a/b": b"one" * 700_000, "./a/empty": b"", "./left": b"out"}
    deb = write(tmp_path, make_deb(files, compression=compression, links={"./a/link": "/etc/passwd"}))
    place = {"a/b": "b", "a/empty": "deep/empty", "a/link": "link"}.get
    assert extract(deb, into=tmp_path / "out", place=place) == ["b", "deep/empty"]
    assert (tmp_path / "out/b").read_bytes() == files["./a/b"]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["b", "deep", "empty"]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "./a/../../evil"])
def test_a_name_that_leaves_the_tree_is_an_error(tmp_path: Path, name: str) -> None:
    deb = write(tmp_path, make_deb({name: b"x"}))
    with pytest.raises(ImageError, match=r"x\.deb: damaged or unsafe package: the name .* leaves"):
        extract(deb, into=tmp_path / "out", place=lambda name: name)
    assert not list(tmp_path.parent.glob("evil"))
    with pytest.raises(ValueError, match="leaves"):
        safe_name(name)


@pytest.mark.parametrize("compression", ["xz", "zst", ""])
@pytest.mark.parametrize("keep", [0.2, 0.6, 0.97])
def test_a_cut_off_package_is_an_error(tmp_path: Path, keep: float, compression: str) -> None:
    whole = make_deb(kernel_files(REL, usr=False, padding=50_000), compression=compression)
    deb = write(tmp_path, whole[: int(len(whole) * keep)])
    with pytest.raises(ImageError, match=r"x\.deb: damaged"):
        extract(deb, into=tmp_path / "out", place=lambda name: name)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a zip", b"!<arch>\n", b"!<arch>\nshort"])
def test_what_is_no_package_is_an_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ImageError, match=r"x\.deb: damaged"):
        extract(write(tmp_path, data), into=tmp_path / "out", place=lambda name: name)


def test_tick_can_stop_it(tmp_path: Path) -> None:
    deb = write(tmp_path, make_deb({"./a": b"1", "./b": b"2"}))

    def tick() -> None:
        raise ImageError("interrupted")

    with pytest.raises(ImageError, match="interrupted"):
        extract(deb, into=tmp_path / "out", place=lambda name: name, tick=tick)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (f"boot/vmlinuz-{REL}", "bzImage"),
        (f"usr/lib/modules/{REL}/vmlinuz", "bzImage"),
        (f"usr/lib/modules/{REL}/vmlinuz.unsigned", "bzImage"),
        (f"boot/config-{REL}", "config"),
        (f"usr/lib/modules/{REL}/config", "config"),
        (f"lib/modules/{REL}/kernel/net/veth.ko", f"lib/modules/{REL}/kernel/net/veth.ko"),
        (f"usr/lib/modules/{REL}/kernel/net/veth.ko.xz", f"lib/modules/{REL}/kernel/net/veth.ko.xz"),
        (f"usr/lib/modules/{REL}/modules.builtin", f"lib/modules/{REL}/modules.builtin"),
        (f"boot/System.map-{REL}", None),
        (f"usr/lib/modules/{REL}/build/Makefile", None),
        ("usr/lib/modules/6x1.0-9-amd64/kernel/a.ko", None),
        ("usr/share/doc/linux/copyright", None),
    ],
)
def test_one_layout_for_all(name: str, target: str | None) -> None:
    assert place_file(name, release=REL) == target
