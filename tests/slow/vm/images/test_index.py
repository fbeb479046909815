"""The chain of trust, and how little of a Packages file is read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_ebpf.errors import ImageError, MirrorUnreachable
from pytest_ebpf.vm.images.cache import Store
from pytest_ebpf.vm.images.download import Web
from pytest_ebpf.vm.images.index import Wanted, cut_stanzas, load_index, parse_packages, verify_release
from pytest_ebpf.vm.images.mirror import AptOptions, Mirror
from support.fake_mirror import Mirror as Server, Row, serve, write_ring
from support.openpgp import make_key

ROWS = [Row("linux-image-6.1.0-9-amd64", "6.1.9-1", b"deb"), Row("linux-libc-dev", "6.1.9-1", b"other")]


@pytest.fixture
def web() -> Web:
    return Web(pauses=(0.01, 0.01))


@pytest.fixture
def server():  # type: ignore[no-untyped-def]
    with serve() as running:
        yield running


def mirror_of(server: Server, *keyrings: Path, trusted: bool = False, strict: bool = True) -> Mirror:
    return Mirror(server.url, f"{server.url}-security", "test", keyrings, trusted, AptOptions({}, strict))


@pytest.mark.parametrize("armoured", [False, True], ids=["gpg", "asc"])
def test_a_good_signature(tmp_path: Path, server: Server, web: Web, armoured: bool) -> None:
    key = make_key(1)
    server.add_suite("trixie", ROWS, key=key)
    rings = (write_ring(tmp_path / "a", make_key(2)), write_ring(tmp_path / "b", key, armoured=armoured))
    index = load_index(Wanted("trixie"), mirror=mirror_of(server, *rings), store=Store(tmp_path / "c"), web=web)
    assert index.verified == "signature"
    assert [one.name for one in index.packages] == ["linux-image-6.1.0-9-amd64"]
    (package,) = index.packages
    assert (package.version, package.path, package.size, package.installed) == ("6.1.9-1", ROWS[0].path, 3, 10240)


def test_a_signature_by_a_stranger_is_refused(tmp_path: Path, server: Server, web: Web) -> None:
    server.add_suite("trixie", ROWS, key=make_key(1))
    ring = write_ring(tmp_path, make_key(2))
    with pytest.raises(ImageError, match="trixie: the signature of InRelease is not by a key in") as caught:
        load_index(Wanted("trixie"), mirror=mirror_of(server, ring), store=Store(tmp_path), web=web)
    assert "debian-archive-keyring" in caught.value.hint
    assert not (tmp_path / "indexes").exists()


def test_an_altered_release_is_refused(tmp_path: Path, server: Server, web: Web) -> None:
    key = make_key(1)
    server.add_suite("trixie", ROWS, key=key)
    path = "/debian/dists/trixie/InRelease"
    server.files[path] = server.files[path].replace(b"Origin: Test", b"Origin: Evil")
    with pytest.raises(ImageError, match="the signature of InRelease is bad"):
        load_index(
            Wanted("trixie"), mirror=mirror_of(server, write_ring(tmp_path, key)), store=Store(tmp_path), web=web
        )


def test_text_outside_the_signature_does_not_count(tmp_path: Path) -> None:
    key = make_key(1)
    signed = b"SHA256:\n evil\n" + key.clear_sign("Suite: trixie\n") + b"Suite: evil\n"
    mirror = Mirror("", "", "test", (write_ring(tmp_path, key),))
    text, verified = verify_release(signed, suite="trixie", mirror=mirror)
    assert verified == "signature"
    assert "evil" not in text


def test_an_unsigned_release_is_refused_where_there_is_a_keyring(tmp_path: Path, server: Server, web: Web) -> None:
    server.add_suite("trixie", ROWS)
    ring = write_ring(tmp_path, make_key(1))
    with pytest.raises(ImageError, match="the signature of InRelease"):
        load_index(Wanted("trixie"), mirror=mirror_of(server, ring), store=Store(tmp_path), web=web)


def test_without_a_keyring_hashes_are_checked_and_it_says_so(tmp_path: Path, server: Server, web: Web) -> None:
    for number, key in enumerate((None, make_key(1))):
        server.add_suite("trixie", ROWS, key=key)
        index = load_index(Wanted("trixie"), mirror=mirror_of(server), store=Store(tmp_path / str(number)), web=web)
        assert index.verified == "hashes only (no Debian keyring on this machine)"
        assert len(index.packages) == 1


def test_apts_word_trusted_waives_the_signature(tmp_path: Path, server: Server, web: Web) -> None:
    server.add_suite("trixie", ROWS)
    mirror = mirror_of(server, write_ring(tmp_path, make_key(1)), trusted=True)
    assert load_index(Wanted("trixie"), mirror=mirror, store=Store(tmp_path), web=web).verified.startswith(
        "hashes only"
    )


def test_an_index_with_another_hash_is_refused(tmp_path: Path, server: Server, web: Web) -> None:
    server.add_suite("trixie", ROWS)
    server.faults.corrupt = "Packages.xz"
    with pytest.raises(ImageError, match="trixie: the package index does not match its hash in InRelease"):
        load_index(Wanted("trixie"), mirror=mirror_of(server), store=Store(tmp_path), web=web)
    assert not (tmp_path / "indexes").exists()


def test_the_release_of_another_suite_is_refused(tmp_path: Path, server: Server, web: Web) -> None:
    server.add_suite("trixie", ROWS, named="bullseye")
    with pytest.raises(ImageError, match="the archive answered with the InRelease of bullseye"):
        load_index(Wanted("trixie"), mirror=mirror_of(server), store=Store(tmp_path), web=web)


def test_an_expired_release_is_refused_unless_apt_does_not_mind(tmp_path: Path) -> None:
    release = b"Suite: trixie\nValid-Until: Sat, 08 Jan 2022 00:00:00 UTC\n"
    with pytest.raises(ImageError, match="InRelease expired on Sat, 08 Jan 2022"):
        verify_release(release, suite="trixie", mirror=Mirror("", "", "test"))
    lenient = Mirror("", "", "test", options=AptOptions({}, check_valid_until=False))
    assert verify_release(release, suite="trixie", mirror=lenient)[0]


def test_a_suite_that_is_not_there_has_no_packages(tmp_path: Path, server: Server, web: Web) -> None:
    index = load_index(Wanted("forky"), mirror=mirror_of(server), store=Store(tmp_path), web=web)
    assert index.packages == ()


def test_what_is_fresh_is_not_asked_for_and_what_is_unchanged_not_fetched(
    tmp_path: Path, server: Server, web: Web
) -> None:
    server.add_suite("trixie", ROWS)
    store, mirror = Store(tmp_path), mirror_of(server)
    first = load_index(Wanted("trixie"), mirror=mirror, store=store, web=web)
    assert load_index(Wanted("trixie"), mirror=mirror, store=store, web=web) == first
    assert server.asked("InRelease") == 1
    (file,) = (tmp_path / "indexes").iterdir()
    os.utime(file, (0, 0))
    asked = server.asked("Packages.xz") + server.asked("by-hash")
    assert load_index(Wanted("trixie"), mirror=mirror, store=store, web=web) == first
    assert server.asked("InRelease") == 2
    assert server.asked("Packages.xz") + server.asked("by-hash") == asked
    server.add_suite("trixie", [replace(ROWS[0], version="6.1.10-1")])
    assert (
        load_index(Wanted("trixie"), mirror=mirror, store=store, web=web, max_age=0).packages[0].version == "6.1.10-1"
    )


def test_a_lost_archive_leaves_the_last_index(tmp_path: Path, server: Server, web: Web) -> None:
    server.add_suite("trixie", ROWS)
    store, mirror = Store(tmp_path), mirror_of(server)
    load_index(Wanted("trixie"), mirror=mirror, store=store, web=web)
    server.faults.status_503 = 99
    again = load_index(Wanted("trixie"), mirror=mirror, store=store, web=web, max_age=0)
    assert "HTTP status 503" in again.stale
    assert len(again.packages) == 1
    with pytest.raises(MirrorUnreachable, match="HTTP status 503"):
        load_index(Wanted("sid"), mirror=mirror, store=store, web=Web(pauses=(0.01,)))


def test_a_passing_fault_is_retried(tmp_path: Path, server: Server, web: Web) -> None:
    server.add_suite("trixie", ROWS)
    server.faults.status_503 = 2
    assert load_index(Wanted("trixie"), mirror=mirror_of(server), store=Store(tmp_path), web=web).packages


def test_a_damaged_cache_file_is_as_good_as_none(tmp_path: Path, server: Server, web: Web) -> None:
    server.add_suite("trixie", ROWS)
    store, mirror = Store(tmp_path), mirror_of(server)
    first = load_index(Wanted("trixie"), mirror=mirror, store=store, web=web)
    (file,) = (tmp_path / "indexes").iterdir()
    file.write_text('{"format": 1, "pack')
    assert load_index(Wanted("trixie"), mirror=mirror, store=store, web=web) == first


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
def test_stanzas_are_cut_wherever_the_pieces_end(size: int) -> None:
    rows = [
        Row(name, "1", b"x")
        for name in (
            "zsh",
            "linux-image-6.1-amd64",
            "linux-doc",
            "linux-binary-unsigned-7.2-amd64",
            "linux-base-7-amd64",
        )
    ]
    text = "".join(row.stanza for row in rows).encode()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    found = b"".join(cut_stanzas(pieces))
    assert found.decode() == "".join(rows[number].stanza for number in (1, 3, 4))
    assert [one.name for one in parse_packages(found)] == [rows[number].name for number in (1, 3, 4)]


def test_a_stanza_without_what_we_need_is_left_out() -> None:
    assert parse_packages(b"Package: linux-image-1-amd64\nVersion: 1\nFilename: x\nSize: 1\n\n") == []
