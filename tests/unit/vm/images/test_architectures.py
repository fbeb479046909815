"""Kernels of other architectures: their specs, their packages, the root of their guests."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.architecture import ARCHITECTURES, find_architecture
from pytest_ebpf.vm.images.archive import extract
from pytest_ebpf.vm.images.catalogue import load_catalogue, parse_series
from pytest_ebpf.vm.images.spec import PathSpec, SeriesSpec, parse_spec
from pytest_ebpf.vm.images.vmlinux import find_btf, plain_kernel
from support.fake_mirror import make_deb


def spec(text: str) -> SeriesSpec:
    parsed = parse_spec(text)
    assert isinstance(parsed, SeriesSpec)
    return parsed


def test_a_spec_names_the_processor_behind_a_colon() -> None:
    arm = spec("6.12:arm64")
    assert (arm.series.name, arm.architecture, arm.name, arm.flavour) == ("6.12", "arm64", "6.12:arm64", "arm64")
    assert spec("6.12:aarch64").name == spec("6.12:arm64").name == "6.12:arm64"
    assert spec("6.12.107:ppc64le").name == "6.12.107:ppc64el"
    assert spec("6.12.107:ppc64el").flavour == "powerpc64le"
    assert spec("6.12:amd64").name == spec("6.12").name == "6.12"
    assert spec("newest:riscv64").architecture == "riscv64"


def test_an_alias_is_the_newest_that_is_built_for_the_processor() -> None:
    catalogue = load_catalogue()
    for name in ARCHITECTURES:
        newest = spec(f"newest:{name}").series
        later = [one for one in catalogue.series if one.order > newest.order and not one.is_rc]
        assert name in newest.architectures
        assert not [one.name for one in later if name in one.architectures]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("6.12:arm46", r"unknown architecture 'arm46'\ndid you mean arm64"),
        ("6.12:s390", r"unknown architecture 's390'\ndid you mean s390x"),
        ("6.12:vax", r"unknown architecture 'vax'\nknown: amd64, arm64, riscv64, s390x, ppc64el"),
        ("6.12:", "unknown architecture ''"),
        ("5.10:riscv64", r"5\.10:riscv64: Debian has no kernel 5\.10 for riscv64\nriscv64 has 6\.12, "),
        ("9.9:arm64", "unknown kernel series '9.9'"),
        ("host:arm64", "the host has the processor that it has"),
    ],
)
def test_a_spec_that_is_none_says_what_there_is(text: str, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        parse_spec(text)


def test_a_path_with_a_colon_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "6.12:mine").touch()
    assert isinstance(parse_spec("6.12:mine"), PathSpec)
    assert isinstance(parse_spec("./a:b"), PathSpec)


@pytest.mark.parametrize("value", [b'["vax"]', b'["amd64"]', b'"arm64"'])
def test_the_catalogue_names_processors_as_debian_does(value: bytes) -> None:
    good = b'version = "6.1"\nflavour = "amd64"\nlayout = "single"\nsuites = ["bookworm"]\narchitectures = '
    assert parse_series("6.1", good + b'["s390x"]').architectures == ("amd64", "s390x")
    with pytest.raises(ImageError, match="architectures must be a list of Debian's names of processors"):
        parse_series("6.1", good + value)


def test_names_of_architectures() -> None:
    for text in ("ppc64el", "ppc64le", "powerpc64le"):
        assert find_architecture(text).name == "ppc64el"
    assert [one.name for one in ARCHITECTURES.values() if one.byteorder == "big"] == ["s390x"]


def btf(order: str, strings: int = 300_000) -> bytes:
    return struct.pack(f"{order}HBBI4I", 0xEB9F, 1, 0, 24, 0, 8, 8, strings) + bytes(8 + strings)


@pytest.mark.parametrize("order", ["<", ">"])
def test_types_are_found_in_an_image_of_memory(order: str) -> None:
    """Neither the header's constant in the code nor a module's types are taken for them."""
    lure = struct.pack(f"{order}HBBI", 0xEB9F, 1, 0, 24)
    image = b"kernel" + lure + bytes(90) + btf(order, 100) + btf(order) + b"more"
    assert find_btf(image) == btf(order)
    assert find_btf(image[: -len(btf(order)) + 100]) is None


def test_a_kernel_in_an_efi_program_is_unpacked() -> None:
    import gzip

    packed = gzip.compress(b"the kernel" * 100)
    zboot = b"MZ\0\0zimg" + struct.pack("<II", 64, len(packed)) + bytes(64 - 16) + packed
    assert plain_kernel(zboot, name="x") == plain_kernel(packed, name="x") == b"the kernel" * 100
    assert plain_kernel(b"MZ\x00\x91plain", name="x") == b"MZ\x00\x91plain"


@pytest.mark.parametrize("target", ["../../../etc/passwd", "../../.."])
def test_a_link_that_leaves_the_package_is_refused(tmp_path: Path, target: str) -> None:
    deb = tmp_path / "bad.deb"
    deb.write_bytes(make_deb({}, links={"./usr/lib/bad": target}))
    with pytest.raises(ImageError, match="the link 'usr/lib/bad' leaves the package"):
        extract(deb, into=tmp_path / "out", place=lambda name: name, links=True)


def test_an_absolute_link_stays_in_the_tree(tmp_path: Path) -> None:
    deb = tmp_path / "good.deb"
    deb.write_bytes(make_deb({"./usr/lib/file": b"x"}, links={"./usr/bin/link": "/usr/lib/file"}))
    extract(deb, into=tmp_path / "out", place=lambda name: name, links=True)
    assert (tmp_path / "out/usr/bin/link").readlink() == Path("../lib/file")
