"""Guests of kernels without 9p: how they are told, and what their machine is made of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest.command import Guest, qemu_argv
from pytest_ebpf.vm.guest.read_only_host import mount_points
from pytest_ebpf.vm.guest.virtiofs import find_daemon, lacks_9p, server_argv


def image(root: Path | None, **lists: str) -> Any:
    if root is not None:
        folder = root / "lib/modules/6.1.0-cloud"
        folder.mkdir(parents=True)
        for name, text in lists.items():
            (folder / f"modules.{name}").write_text(text)
    return SimpleNamespace(modules_root=root, release="6.1.0-cloud")


@pytest.mark.parametrize(
    ("lists", "lacks"),
    [
        ({"dep": "kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko\n", "builtin": ""}, False),
        ({"dep": "kernel/fs/9p/9p.ko.xz:\n", "builtin": ""}, False),
        ({"dep": "", "builtin": "kernel/fs/9p/9p.ko\n"}, False),
        ({"dep": "kernel/fs/fuse/fuse.ko:\n", "builtin": "kernel/fs/ext4/ext4.ko\n"}, True),
        ({"dep": "kernel/drivers/x9p.ko:\n", "builtin": ""}, True),
        ({"dep": ""}, False),  # half of what tells it
        ({}, False),
    ],
)
def test_a_kernel_without_9p_is_known_by_its_lists(tmp_path: Path, lists: dict[str, str], lacks: bool) -> None:
    assert lacks_9p(image(tmp_path, **lists)) is lacks


def test_nothing_is_known_without_modules() -> None:
    assert not lacks_9p(image(None))


def test_its_memory_is_shared_with_the_program_that_serves_files() -> None:
    argv = qemu_argv(["qemu"], Guest("tcg", "", memory="512M", files=9))
    assert "socket,id=files,fd=9" in argv
    assert "vhost-user-fs-pci,chardev=files,tag=host-files" in argv
    assert f"memory-backend-memfd,id=ram,size={512 << 20},share=on" in argv
    assert "memory-backend=ram" in argv
    assert not any("files" in word for word in qemu_argv(["qemu"], Guest("tcg", "")))


def test_that_program_runs_where_everything_is_read_only() -> None:
    argv = server_argv("/usr/lib/qemu/virtiofsd", listening=7)
    assert argv[:5] == ["unshare", "--mount", "--propagation", "private", "--"]
    assert argv.index("/usr/lib/qemu/virtiofsd") > next(at for at, word in enumerate(argv) if "read_only_host" in word)
    assert "--fd=7" in argv


def test_mount_points_are_told_apart_from_their_escapes() -> None:
    text = (
        "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        r"30 22 0:26 / /mnt/two\040words rw shared:1 - tmpfs tmpfs rw"
        "\n30 22 0:26 / / rw - tmpfs tmpfs rw\nnot a mount\n"
    )
    assert mount_points(text) == ["/", "/mnt/two words"]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pytest_ebpf.vm.guest.virtiofs.find_program", lambda name: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(BootFailed, match=r"kernel 6\.1 has no 9p.* virtiofs, and unshare is missing") as caught:
        find_daemon("6.1", places=[])
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(BootFailed, match="virtiofsd is missing") as caught:
        find_daemon("6.1", places=[str(tmp_path / "virtiofsd")])
    assert "apt-get install virtiofsd" in caught.value.hint
    there = tmp_path / "virtiofsd"
    there.write_text("")
    there.chmod(0o755)
    assert find_daemon("6.1", places=[str(there)]) == str(there)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BootFailed, match="it needs root"):
        find_daemon("6.1", places=[str(there)])
