"""Finding the archive in apt's files, in the environment, in an option."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.mirror import Mirror, find_mirror, parse_list, parse_sources

DEB822 = """\
# comment
Types: deb deb-src
# a comment between fields
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: {ring}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg trusted=yes] http://old.example/debian/ bullseye main contrib  # trailing
deb http://old.example/debian-security bullseye-security main
deb-src http://source.example/debian bullseye main
deb http://vendor.example/apt stable main
"""


def write_apt(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir(parents=True)
    for name, text in files.items():
        place = folder / "sources.list" if name == "sources_list" else folder / "sources.list.d" / name
        place.write_text(text)
    return folder


def find(apt: Path, *, environ: dict[str, str] | None = None, configured: str = "") -> Mirror:
    return find_mirror(configured, environ=environ or {}, apt=apt, keyrings=())


def test_deb822_sources(tmp_path: Path) -> None:
    ring = tmp_path / "ring.gpg"
    ring.touch()
    mirror = find(write_apt(tmp_path / "apt", **{"debian.sources": DEB822.format(ring=ring)}))
    assert mirror.main == "http://mirror.example/debian"
    assert mirror.security == "http://mirror.example/debian-security"
    assert mirror.base("trixie") == mirror.main
    assert mirror.base("trixie-security") == mirror.security
    assert mirror.keyrings == (ring,)
    assert not mirror.trusted


def test_one_line_sources_and_a_vendor_archive(tmp_path: Path) -> None:
    mirror = find(write_apt(tmp_path, sources_list=ONE_LINE))
    assert (mirror.main, mirror.security) == ("http://old.example/debian", "http://old.example/debian-security")
    assert mirror.trusted


def test_files_that_apt_ignores_are_ignored(tmp_path: Path) -> None:
    apt = write_apt(tmp_path, **{"debian.sources.disabled": DEB822.format(ring="/x"), "old.list.save": ONE_LINE})
    with pytest.raises(ImageError, match="no Debian archive") as caught:
        find(apt)
    assert "--mirror" in str(caught.value)
    assert "PYTEST_EBPF_MIRROR" in str(caught.value)


def test_a_security_archive_is_looked_for_beside_the_main_one(tmp_path: Path) -> None:
    mirror = find(write_apt(tmp_path, sources_list="deb https://m.example/debian trixie main\n"))
    assert mirror.security == "https://m.example/debian-security"


def test_option_before_environment_before_apt(tmp_path: Path) -> None:
    apt = write_apt(tmp_path, sources_list=ONE_LINE)
    environ = {"PYTEST_EBPF_MIRROR": "http://env.example/debian/, http://env.example/sec"}
    assert find(apt, environ=environ, configured="http://opt.example/debian").main == "http://opt.example/debian"
    named = find(apt, environ=environ)
    assert (named.main, named.security) == ("http://env.example/debian", "http://env.example/sec")
    assert find(apt).main == "http://old.example/debian"


def test_a_mirror_must_be_an_address(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is not an http, https or file address"):
        find(tmp_path, configured="mirror.example/debian")


def test_keyrings_of_debian_but_not_of_removed_keys(tmp_path: Path) -> None:
    for name in ("debian-archive-keyring.gpg", "debian-archive-removed-keys.gpg", "vendor.gpg", "debian-archive-b.asc"):
        (tmp_path / name).touch()
    mirror = find_mirror("http://m.example/debian", environ={}, keyrings=(tmp_path, tmp_path / "nowhere"))
    assert sorted(path.name for path in mirror.keyrings) == ["debian-archive-b.asc", "debian-archive-keyring.gpg"]


def test_an_own_keyring_replaces_debians(tmp_path: Path) -> None:
    own = tmp_path / "own.gpg"
    with pytest.raises(ImageError, match="does not exist"):
        find_mirror("http://m.example/debian", environ={"PYTEST_EBPF_KEYRING": str(own)})
    own.touch()
    assert find_mirror("http://m.example/debian", environ={"PYTEST_EBPF_KEYRING": str(own)}).keyrings == (own,)


def test_types_and_flags() -> None:
    assert [one.uri for one in parse_list(ONE_LINE)] == [
        "http://old.example/debian",
        "http://old.example/debian-security",
        "http://vendor.example/apt",
    ]
    first = next(parse_list(ONE_LINE))
    assert (first.suites, first.components, first.signed_by) == (("bullseye",), ("main", "contrib"), "/k.gpg")
    assert len(list(parse_sources(DEB822))) == 2
