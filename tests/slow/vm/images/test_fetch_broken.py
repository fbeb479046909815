"""What is left of a fetch that fails: broken connections, wrong packages, full disks."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_ebpf.errors import ImageError, MirrorUnreachable
from pytest_ebpf.vm.images.fetch import fetch
from pytest_ebpf.vm.images.image import ImageConfig
from pytest_ebpf.vm.images.resolve import resolve
from support.fake_mirror import Mirror, Row, make_deb, split
from support.fetching import KEY, NEW, Notes, leftovers, sha


def test_a_broken_connection_is_resumed(mirror: Mirror, config: ImageConfig) -> None:
    mirror.faults.cut_after = {".deb": 100_000}
    mirror.faults.cuts = 3
    notes = Notes()
    (image,) = fetch(["6.1"], config=config, reporter=notes)
    assert mirror.ranges == ["bytes=100000-", "bytes=200000-", "bytes=300000-"]
    assert notes.bytes == len(NEW.deb)
    assert image.vmlinux.is_file()


def test_a_server_without_ranges_starts_over(mirror: Mirror, config: ImageConfig) -> None:
    mirror.faults.cut_after = {".deb": 100_000}
    mirror.faults.cuts, mirror.faults.ranges = 1, False
    notes = Notes()
    fetch(["6.1"], config=config, reporter=notes)
    assert mirror.asked(".deb") == 2
    assert notes.bytes == len(NEW.deb)


def test_a_connection_that_keeps_breaking_is_given_up_and_the_next_run_continues(
    mirror: Mirror, config: ImageConfig
) -> None:
    mirror.faults.cut_after = {".deb": 0}
    mirror.faults.cuts = 99
    part = config.store.downloads / f"{sha(NEW.deb)}.deb.part"
    config.store.prepare()
    part.write_bytes(NEW.deb[:1000])
    with pytest.raises(
        MirrorUnreachable, match=r"linux-image-6\.1\.0-10-amd64.*: the connection ended early"
    ) as caught:
        fetch(["6.1"], config=config)
    assert caught.value.hint == f"1000 of {len(NEW.deb)} bytes are kept; the same command continues"
    assert mirror.asked(".deb") == 3  # once, and one retry for each pause
    assert part.read_bytes() == NEW.deb[:1000]
    mirror.faults.cuts = 0
    mirror.ranges.clear()
    assert fetch(["6.1"], config=config)
    assert mirror.ranges == ["bytes=1000-"]


def test_a_wrong_hash_is_refused_and_removed(mirror: Mirror, config: ImageConfig) -> None:
    mirror.faults.corrupt = ".deb"
    with pytest.raises(ImageError, match=r"linux-image-6\.1\.0-10-amd64_6\.1\.10-1_amd64\.deb: wrong SHA-256"):
        fetch(["6.1"], config=config)
    assert not leftovers(config)
    assert not list(config.store.images.iterdir())
    mirror.faults.corrupt = ""
    assert fetch(["6.1"], config=config)


def test_a_page_in_place_of_a_package_is_thrown_away(mirror: Mirror, config: ImageConfig) -> None:
    """A captive portal answers everything with its page, which is no beginning of a package to be continued."""
    real = mirror.files[f"/debian-security/{NEW.path}"]
    mirror.files[f"/debian-security/{NEW.path}"] = b"<html>please log in</html>"
    with pytest.raises(MirrorUnreachable, match="what came is no package"):
        fetch(["6.1"], config=config)
    assert not list(config.store.downloads.iterdir())
    mirror.files[f"/debian-security/{NEW.path}"] = real
    part = config.store.downloads / f"{sha(NEW.deb)}.deb.part"
    part.write_bytes(b"<html>please log in</html>")  # of an older version, which kept it
    assert fetch(["6.1"], config=config)
    assert mirror.ranges == []


def test_a_longer_file_than_promised_is_refused(mirror: Mirror, config: ImageConfig) -> None:
    mirror.files[f"/debian-security/{NEW.path}"] += b"more"
    with pytest.raises(ImageError, match=f"the server sent more than the {len(NEW.deb)} bytes"):
        fetch(["6.1"], config=config)
    assert not leftovers(config)


def test_a_package_that_is_gone_gives_way_to_an_older_one(mirror: Mirror, config: ImageConfig) -> None:
    mirror.faults.missing = "6.1.10-1_amd64.deb"
    notes = Notes()
    (image,) = fetch(["6.1"], config=config, reporter=notes)
    assert image.version == "6.1.9-1"
    assert any("listed in the index, yet not in the archive; trying an older version" in line for line in notes.lines)
    mirror.faults.missing = ".deb"
    with pytest.raises(ImageError, match="listed in the index, yet not in the archive"):
        fetch(["6.1.10"], config=config)


def test_a_full_disk_while_downloading(config: ImageConfig) -> None:
    config.store.prepare()
    part = config.store.downloads / f"{sha(NEW.deb)}.deb.part"
    part.symlink_to("/dev/full")  # every write to it fails with ENOSPC
    with pytest.raises(ImageError, match="no space left on the disk of") as caught:
        fetch(["6.1"], config=config)
    assert "kernels prune" in str(caught.value)
    assert "PYTEST_EBPF_CACHE" in str(caught.value)
    assert not leftovers(config)
    assert fetch(["6.1"], config=config)


def test_a_full_disk_while_unpacking(config: ImageConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pytest_ebpf.vm.images.unpack.run_depmod", full)
        with pytest.raises(ImageError, match="no space left on the disk of"):
            fetch(["6.1"], config=config)
    assert not leftovers(config)
    assert not list(config.store.downloads.iterdir())
    assert fetch(["6.1"], config=config)


def test_a_disk_too_small_is_known_before(mirror: Mirror, config: ImageConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000_000))
    with pytest.raises(ImageError, match=r"6\.1\.0-10-amd64 needs \d+ MB, the disk of .* has 100 MB free"):
        fetch(["6.1"], config=config)
    assert mirror.asked(".deb") == 0


def test_a_cache_that_cannot_be_written(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match=r"cannot use the cache .*: Not a directory") as caught:
        fetch(["6.1"], config=ImageConfig(mirror.url, tmp_path / "file/cache"))
    assert "PYTEST_EBPF_CACHE" in caught.value.hint


def test_a_package_that_is_not_what_it_should_be_leaves_nothing(mirror: Mirror, config: ImageConfig) -> None:
    rows = [Row("linux-image-6.1.0-11-amd64", "6.1.11-1", make_deb({"./usr/share/doc/x": b""}))]
    mirror.add_suite("bookworm-security", rows, key=KEY)
    with pytest.raises(ImageError, match=r"the packages of 6\.1\.0-11-amd64 hold no image or no modules"):
        fetch(["6.1"], config=config)
    assert not list(config.store.images.iterdir())
    assert not list(config.store.tmp.iterdir())


def test_one_failure_does_not_cost_the_others(mirror: Mirror, config: ImageConfig) -> None:
    mirror.add_suite("sid", split("7.2.6+deb13-amd64", "7.2.6-1"), key=KEY)
    mirror.faults.corrupt = "6.1.10-1_amd64.deb"
    with pytest.raises(ImageError, match="wrong SHA-256"):
        fetch(["6.1", "7.2"], config=config)
    assert resolve("7.2", config=config).version == "7.2.6-1"


def test_without_an_archive_the_cache_does(mirror: Mirror, config: ImageConfig, tmp_path: Path) -> None:
    (image,) = fetch(["6.1"], config=config)
    mirror.faults.status_503 = 10_000
    expired = ImageConfig(config.mirror, config.cache, config.keyring, max_age=0, pauses=(0.01,))
    notes = Notes()
    assert fetch(["6.1"], config=expired, reporter=notes) == [image]
    assert any("using the last index" in line for line in notes.lines)
    shutil.rmtree(config.store.root / "indexes")
    notes = Notes()
    assert fetch(["6.1"], config=expired, reporter=notes) == [image]
    assert any("using the cached kernel, the archive does not answer" in line for line in notes.lines)
    with pytest.raises(MirrorUnreachable, match="HTTP status 503"):
        fetch(["6.12"], config=expired)


def test_a_mirror_that_is_not_there(tmp_path: Path) -> None:
    """A refused connection is not tried again: the pause before that would last for ever."""
    with pytest.raises(MirrorUnreachable, match="Connection refused") as caught:
        fetch(["6.1"], config=ImageConfig("http://127.0.0.1:1/debian", tmp_path, pauses=(1e6,)))
    assert "--mirror" in caught.value.hint


def test_an_archive_without_the_suites(mirror: Mirror, config: ImageConfig) -> None:
    with pytest.raises(ImageError, match=r"kernel 6\.12: no package in trixie-security \(not in this archive\)"):
        fetch(["6.12"], config=config)
