"""The catalogue as data, and the grammar of kernel specs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.catalogue import Catalogue, load_catalogue, parse_series
from pytest_ebpf.vm.images.spec import HostSpec, PathSpec, SeriesSpec, parse_spec, version_matches

GOOD = b'version = "6.1"\nflavour = "amd64"\nlayout = "single"\nsuites = ["bookworm"]\n'


def test_our_catalogue_is_ordered_by_age_and_has_the_promised_series() -> None:
    names = load_catalogue().names
    assert names[0] == "5.10"
    assert {"5.10", "6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2"} <= set(names)
    assert names.index("6.1") < names.index("6.12") < names.index("7.2")


def test_from_6_19_on_kernels_come_in_three_packages() -> None:
    for series in load_catalogue().series:
        assert series.layout == ("split" if series.order >= (6, 19, False) else "single"), series.name


def catalogue_of(folder: Path, *names: str) -> Catalogue:
    for name in names:
        (folder / f"{name}.toml").write_bytes(GOOD)
    return load_catalogue(folder)


def alias(catalogue: Catalogue, name: str) -> str | None:
    found = catalogue.alias(name)
    return None if found is None else found.name


def test_aliases(tmp_path: Path) -> None:
    """A release candidate is never the newest; its release comes after it."""
    catalogue = catalogue_of(tmp_path, "6.12", "5.10", "9.2-rc", "9.1", "9.1-rc", "6.1")
    assert catalogue.names == ("5.10", "6.1", "6.12", "9.1-rc", "9.1", "9.2-rc")
    assert [alias(catalogue, name) for name in ("oldest", "newest", "rc")] == ["5.10", "9.1", "9.2-rc"]
    assert alias(catalogue, "stable") is None


def test_a_catalogue_need_not_have_a_release_candidate(tmp_path: Path) -> None:
    assert alias(catalogue_of(tmp_path, "6.1", "6.12"), "rc") is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GOOD + b"colour = 1\n", r"vmimages/6\.1\.toml: unknown key colour"),
        (GOOD.replace(b"single", b"triple"), "unknown layout 'triple'"),
        (b'version = "6.1"\n', "flavour must be a non-empty string"),
        (GOOD.replace(b'["bookworm"]', b"[]"), "suites must be a non-empty list"),
        (GOOD.replace(b'["bookworm"]', b"[1]"), "suites must be a list of strings"),
        (b"version = ", r"vmimages/6\.1\.toml: Invalid value"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        parse_series("6.1", data)


def test_a_file_has_the_name_of_a_series() -> None:
    assert parse_series("6.1", GOOD).version == "6.1"
    with pytest.raises(ImageError, match="named after its series"):
        parse_series("six", GOOD)


def test_specs(tmp_path: Path) -> None:
    catalogue = catalogue_of(tmp_path, "6.1", "9.1", "9.2-rc")
    assert isinstance(parse_spec("host"), HostSpec)
    plain = parse_spec(" 6.1 ")
    assert isinstance(plain, SeriesSpec)
    assert (plain.series.name, plain.release, plain.name) == ("6.1", "", "6.1")
    exact = parse_spec("6.1.176")
    assert isinstance(exact, SeriesSpec)
    assert (exact.series.name, exact.release, exact.name) == ("6.1", "6.1.176", "6.1.176")
    release = parse_spec("6.1.0-50-amd64")
    assert isinstance(release, SeriesSpec)
    assert release.series.name == "6.1"
    candidate = parse_spec("9.2-rc", catalogue=catalogue)
    assert isinstance(candidate, SeriesSpec)
    assert (candidate.series.name, candidate.release) == ("9.2-rc", "")
    seventh = parse_spec("9.2-rc7", catalogue=catalogue)
    assert isinstance(seventh, SeriesSpec)
    assert (seventh.series.name, seventh.release) == ("9.2-rc", "9.2-rc7")
    newest = parse_spec("newest", catalogue=catalogue)
    assert isinstance(newest, SeriesSpec)
    assert newest.name == newest.series.name == "9.1"


def test_paths_are_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bzImage").touch()
    for text in ("./bzImage", "bzImage", str(tmp_path / "bzImage")):
        spec = parse_spec(text)
        assert isinstance(spec, PathSpec)
        assert spec.path == tmp_path / "bzImage"
        assert spec.name == "bzImage"


def test_an_unknown_series_lists_the_known_and_the_nearest() -> None:
    with pytest.raises(ImageError, match=r"unknown kernel series '6\.13' \(the nearest is 6\.12\)") as caught:
        parse_spec("6.13")
    assert "5.10, 6.1, 6.12" in str(caught.value)
    with pytest.raises(ImageError, match=r"unknown kernel series 'latest'\n"):
        parse_spec("latest")
    with pytest.raises(ImageError, match="unknown kernel series ''"):
        parse_spec("")


@pytest.mark.parametrize(
    ("version", "prefix", "fits"),
    [
        ("6.1.176-1", "6.1", True),
        ("6.1.176-1~deb11u1", "6.1.176", True),
        ("6.12.1-1", "6.1", False),
        ("6.1.176-1", "6.1.17", False),
        ("7.3~rc7-1~exp1", "7.3", False),
        ("7.3-1", "7.3", True),
        ("7.3~rc7-1~exp1", "7.3~rc", True),
        ("7.3~rc7-1~exp1", "7.3-rc7", True),
        ("7.3.1-1", "7.3~rc", False),
        ("6.1.0-50-amd64", "6.1.0-50", True),
        ("6.1.0-50-amd64", "6.1.0-5", False),
    ],
)
def test_prefixes_end_at_a_boundary(version: str, prefix: str, fits: bool) -> None:
    assert version_matches(version, prefix=prefix) is fits
