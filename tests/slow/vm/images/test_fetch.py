"""From an empty cache to an image: what works, and what is left when it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.fetch import ensure, fetch
from pytest_ebpf.vm.images.image import ImageConfig, in_use
from pytest_ebpf.vm.images.prune import prune, prune_all
from pytest_ebpf.vm.images.resolve import resolve
from support.fake_mirror import BTF, Mirror, make_vmlinux, serve, single, split
from support.fetching import KEY, NEW, Notes, leftovers, sha
from support.paths import ROOT


def test_an_image_has_everything(config: ImageConfig) -> None:
    notes = Notes()
    (image,) = fetch(["6.1"], config=config, reporter=notes)
    assert (image.spec, image.series, image.release, image.version) == ("6.1", "6.1", "6.1.0-10-amd64", "6.1.10-1")
    assert image.vmlinux.read_bytes() == make_vmlinux(image.release)
    assert image.bzimage is not None
    assert image.bzimage.read_bytes()[0x202:0x206] == b"HdrS"
    assert image.btf is not None
    assert image.btf.read_bytes() == BTF
    assert image.kconfig is not None
    assert image.kconfig.read_bytes() == b"CONFIG_BPF_SYSCALL=y\n"
    assert image.modules is not None
    assert (image.modules / "kernel/net/veth.ko").is_file()
    assert "kernel/net/veth.ko:" in (image.modules / "modules.dep").read_text()
    assert image.origin == "Debian 6.1.10-1 from bookworm-security (verified by signature)"
    assert notes.lines == [f"6.1 (6.1.0-10-amd64) of {len(NEW.deb)}", "unpacking", "ready"]
    assert notes.bytes == len(NEW.deb)
    assert not leftovers(config)
    assert resolve("6.1", config=config) == image


def test_the_lock_file_records_versions_and_hashes(config: ImageConfig) -> None:
    (image,) = fetch(["6.1"], config=config)
    locked = config.store.resolved("6.1")
    assert locked is not None
    assert locked["version"] == "6.1.10-1"
    assert locked["digest"] == image.digest
    assert locked["verified"] == "signature"
    (row,) = locked["packages"]
    assert row["name"] == NEW.name
    assert row["size"] == len(NEW.deb)
    assert len(row["sha256"]) == 64


def test_the_lock_of_an_alias_ends_when_the_alias_moves_on(config: ImageConfig) -> None:
    (image,) = fetch(["6.1"], config=config)
    entry = config.store.entry(image.vmlinux.parent)
    assert entry is not None
    config.store.resolve("newest", entry=entry)  # as if 6.1 had been the newest series of the catalogue then
    with pytest.raises(ImageError, match="kernel newest is not in the cache"):
        resolve("newest", config=config)


@pytest.mark.parametrize("unsigned", [False, True])
def test_a_kernel_in_three_packages(mirror: Mirror, config: ImageConfig, unsigned: bool) -> None:
    mirror.add_suite("sid", split("7.2.6+deb13-amd64", "7.2.6-1", unsigned=unsigned), key=KEY)
    (image,) = fetch(["7.2"], config=config)
    assert image.release == "7.2.6+deb13-amd64"
    assert image.vmlinux.is_file()
    assert image.kconfig is not None
    assert image.modules is not None
    assert (image.modules / "modules.builtin").is_file()


def test_several_at_once_in_the_order_asked_for(mirror: Mirror, config: ImageConfig) -> None:
    mirror.add_suite("bullseye-security", [single("5.10.0-4-amd64", "5.10.4-1")], key=KEY)
    mirror.add_suite("sid", split("7.2.6+deb13-amd64", "7.2.6-1"), key=KEY)
    images = fetch(["host", "7.2", "oldest", "6.1", "6.1.9", "5.10"], config=config)
    assert [one.spec for one in images] == ["7.2", "oldest", "6.1", "6.1.9", "5.10"]
    assert [one.version for one in images] == ["7.2.6-1", "5.10.4-1", "6.1.10-1", "6.1.9-1", "5.10.4-1"]
    assert mirror.asked("linux-image-5.10") == 1
    assert len(list(config.store.images.iterdir())) == 4


def test_nothing_is_fetched_twice(mirror: Mirror, config: ImageConfig) -> None:
    first = fetch(["6.1"], config=config)
    mirror.requests.clear()
    assert fetch(["6.1"], config=config) == first
    assert mirror.requests == []


def test_ensure_is_content_with_what_is_cached(mirror: Mirror, config: ImageConfig) -> None:
    mirror.add_suite("bookworm-security", [], key=KEY)
    fetch(["6.1"], config=config)
    mirror.add_suite("bookworm-security", [NEW], key=KEY)
    mirror.requests.clear()
    eager = ImageConfig(config.mirror, config.cache, config.keyring, max_age=0)
    assert [one.version for one in ensure(["host", "6.1"], config=eager)] == ["6.1.9-1"]
    assert mirror.requests == []
    mirror.add_suite("sid", split("7.2.6+deb13-amd64", "7.2.6-1"), key=KEY)
    assert [one.version for one in ensure(["6.1", "7.2"], config=eager)] == ["6.1.9-1", "7.2.6-1"]


def test_host_alone_needs_no_mirror(tmp_path: Path) -> None:
    assert fetch(["host"], config=ImageConfig("nonsense", tmp_path / "none")) == []
    assert not (tmp_path / "none").exists()


def test_resolve_fetches_nothing(mirror: Mirror, config: ImageConfig) -> None:
    with pytest.raises(ImageError, match=r"kernel 6\.1 is not in the cache\nrun: pytest-ebpf kernels fetch 6\.1"):
        resolve("6.1", config=config)
    with pytest.raises(ImageError, match="host is the running kernel"):
        resolve("host", config=config)
    assert mirror.requests == []
    assert not config.store.root.exists()


def test_a_newer_version_is_fetched_and_the_older_stays_until_pruned(mirror: Mirror, config: ImageConfig) -> None:
    mirror.add_suite("bookworm-security", [], key=KEY)
    (old,) = fetch(["6.1"], config=config)
    mirror.add_suite("bookworm-security", [NEW], key=KEY)
    fresh = ImageConfig(config.mirror, config.cache, config.keyring, max_age=0)
    (new,) = fetch(["6.1"], config=fresh)
    assert (old.version, new.version) == ("6.1.9-1", "6.1.10-1")
    assert resolve("6.1", config=config).version == "6.1.10-1"
    assert resolve("6.1.9", config=config).version == "6.1.9-1"
    with in_use(old, config=config):
        assert prune(config.store).kept_in_use == (old.vmlinux.parent.name,)
    result = prune(config.store)
    assert result.removed == (old.vmlinux.parent.name,)
    assert result.freed > 0
    assert resolve("6.1", config=config).version == "6.1.10-1"
    with pytest.raises(ImageError, match="not in the cache"):
        resolve("6.1.9", config=config)
    with pytest.raises(ImageError, match="is missing"), in_use(old, config=config):
        pass


@pytest.mark.parametrize("name", ["vmlinux", "vmlinux.btf", "config", "bzImage"])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "other"])
def test_a_damaged_image_is_fetched_again(config: ImageConfig, name: str, damage: str) -> None:
    (image,) = fetch(["6.1"], config=config)
    file = image.vmlinux.parent / name
    before = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "other":
        file.write_bytes(bytes(reversed(before)))
        os.utime(file, (0, 0))
    else:
        file.write_bytes(before[: len(before) // 2] if damage == "cut" else b"")
    assert config.store.entries() == []
    with pytest.raises(ImageError, match="not in the cache"):
        resolve("6.1", config=config)
    (again,) = fetch(["6.1"], config=config)
    assert again == image
    assert file.read_bytes() == before


def test_prune_all_leaves_nothing(config: ImageConfig) -> None:
    fetch(["6.1"], config=config)
    (config.store.tmp / "half").mkdir()
    (config.store.downloads / "x.part").write_bytes(b"partial")
    assert len(prune_all(config.store).removed) == 1
    assert not leftovers(config)
    assert not list(config.store.images.iterdir())
    assert not list((config.store.root / "resolved").iterdir())
    assert prune_all(config.store).removed == ()


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_b5_an_archive_that_is_not_of_debian_is_named_as_such(tmp_path: Path) -> None:
    with (
        serve() as other,
        pytest.raises(ImageError, match="is not a Debian archive: it has none of the suites") as caught,
    ):
        fetch(["6.1"], config=ImageConfig(other.url, tmp_path))
    assert other.url in caught.value.message
    assert "--bpf-mirror" in caught.value.hint


def test_a_file_mirror(mirror: Mirror, config: ImageConfig, tmp_path: Path) -> None:
    for path, body in mirror.files.items():
        file = tmp_path / "archive" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    local = ImageConfig(f"file://{tmp_path}/archive/debian", tmp_path / "other", config.keyring)
    assert fetch(["6.1"], config=local)[0].version == "6.1.10-1"


# --- several at the same time, and death half-way --------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from pytest_ebpf.vm.images.fetch import fetch
from pytest_ebpf.vm.images.image import ImageConfig
from pytest_ebpf.vm.images.progress import PlainReporter
config = ImageConfig(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
print(fetch(["6.1"], config=config, reporter=PlainReporter(sys.stdout))[0].vmlinux, flush=True)
"""


def start(config: ImageConfig) -> subprocess.Popen[str]:
    root = ROOT
    arguments = [config.mirror, str(config.cache), str(config.keyring)]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def wait_for(condition: object, *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_two_processes_fetch_once(mirror: Mirror, config: ImageConfig) -> None:
    mirror.faults.go_on = threading.Event()
    first = start(config)
    wait_for(lambda: mirror.asked(".deb"))
    second = start(config)
    assert second.stdout is not None
    said = next((line for line in second.stdout if "waiting for another process" in line), "")
    mirror.faults.go_on.set()
    outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert said
    assert "waiting for another process" not in outputs[0][0]
    assert mirror.asked(".deb") == 1
    assert outputs[0][0].splitlines()[-1] == outputs[1][0].splitlines()[-1]
    assert not leftovers(config)


def test_threads_of_one_process_fetch_once(mirror: Mirror, config: ImageConfig) -> None:
    mirror.faults.slow = 0.01
    images = fetch(["6.1", "6.1.10", "6.1.0-10-amd64"], config=config)
    assert len({image.vmlinux for image in images}) == 1
    assert mirror.asked(".deb") == 1


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGINT])
def test_killed_while_downloading_the_next_run_continues(
    mirror: Mirror, config: ImageConfig, deadly: signal.Signals
) -> None:
    mirror.faults.slow = 0.2
    process = start(config)
    part = config.store.downloads / f"{sha(NEW.deb)}.deb.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 0)
    process.send_signal(deadly)
    process.communicate(timeout=30)
    assert process.returncode != 0
    with pytest.raises(ImageError, match="not in the cache"):
        resolve("6.1", config=config)
    kept = part.stat().st_size
    assert 0 < kept < len(NEW.deb)
    mirror.faults.slow = 0
    (image,) = fetch(["6.1"], config=config)
    assert mirror.ranges == [f"bytes={kept}-"]
    assert image.vmlinux.read_bytes() == make_vmlinux(image.release)
    assert not leftovers(config)


def test_killed_while_unpacking_leaves_nothing_that_looks_finished(
    mirror: Mirror, config: ImageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "depmod").write_text(f"#!/bin/sh\ntouch {tmp_path}/reached\nexec sleep 60\n")
    (tools / "depmod").chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        process = start(config)
        wait_for((tmp_path / "reached").exists)
        process.kill()
        process.communicate(timeout=30)
    with pytest.raises(ImageError, match="not in the cache"):
        resolve("6.1", config=config)
    assert list(config.store.tmp.iterdir())  # a killed process cannot clean up: the next run does
    mirror.requests.clear()
    assert fetch(["6.1"], config=config)
    assert mirror.asked(".deb") == 0  # it was complete and is checked again, not fetched again
    assert not leftovers(config)


def test_a_run_that_is_alive_is_not_swept(mirror: Mirror, config: ImageConfig) -> None:
    mirror.add_suite("sid", split("7.2.6+deb13-amd64", "7.2.6-1"), key=KEY)
    config.store.prepare()
    (config.store.tmp / "of-another").mkdir()
    with config.store.share("fetching"):
        fetch(["7.2"], config=config)
        assert prune_all(config.store).removed
    assert (config.store.tmp / "of-another").is_dir()
    fetch(["7.2"], config=config)
    assert not (config.store.tmp / "of-another").exists()


def test_kmod_missing(config: ImageConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_ebpf.vm.images.modules.find_program", lambda name: None)
    with pytest.raises(ImageError, match="depmod is missing") as caught:
        fetch(["6.1"], config=config)
    assert caught.value.hint == "apt-get install kmod"
    assert not list(config.store.tmp.iterdir())
