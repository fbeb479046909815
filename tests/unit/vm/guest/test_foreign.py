"""Guests of another architecture before they are booted: commands, modules, files, and what is missing."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest import foreign, tools
from pytest_ebpf.vm.guest.command import AGENT_PORT, Guest, qemu_argv
from pytest_ebpf.vm.guest.config import BootConfig, architecture_of
from pytest_ebpf.vm.guest.foreign import needed_modules
from pytest_ebpf.vm.guest.launch import prepare
from pytest_ebpf.vm.guest.platforms import PLATFORMS, machine_argv, platform_cmdline
from pytest_ebpf.vm.guest.runtime import Runtime
from pytest_ebpf.vm.guest.tools import find_foreign_tools
from pytest_ebpf.vm.images.architecture import ARCHITECTURES, NATIVE
from pytest_ebpf.vm.images.image import KernelImage
from pytest_ebpf.vm.images.rootfs import Rooted

IMAGE = KernelImage(
    spec="6.12:s390x",
    series="6.12",
    release="6.12.1-s390x",
    version="6.12.1-1",
    vmlinux=Path("/nowhere/vmlinux"),
    bzimage=None,
    modules_root=None,
    btf=None,
    kconfig=None,
    digest="0",
    origin="a test",
    architecture="s390x",
)


def test_each_architecture_has_a_machine() -> None:
    assert PLATFORMS.keys() == ARCHITECTURES.keys() - {NATIVE}
    for platform in PLATFORMS.values():
        argv = machine_argv(platform, qemu="/q", kernel="/k", initramfs="/i", root="/a,b")
        assert argv[:3] == ["/q", "-machine", platform.machine]
        devices = [argv[at + 1] for at, word in enumerate(argv) if word == "-device"]
        assert f"virtio-serial-{platform.bus}" in devices
        assert sum(one.startswith(f"virtio-9p-{platform.bus},") for one in devices) == 2
        assert any("path=/a,,b,security_model=none,readonly=on" in word for word in argv)
        whole = qemu_argv(argv, Guest("tcg", "the words", cpu=platform.cpu, channel=5))
        assert whole[-1].endswith(f"name={AGENT_PORT}")
        assert [whole[at + 1] for at, word in enumerate(whole) if word == "-cpu"] == [platform.cpu] * 2
        assert "-no-reboot" in whole


def test_the_command_line_names_the_console_and_process_1_last() -> None:
    words = platform_cmdline(PLATFORMS["riscv64"], init=["/usr/bin/python3", "-I", "agent"], extra=["nosmt"])
    assert words[0] == "console=ttyS0"
    assert "sysctl.net.core.bpf_jit_enable=1" in words
    assert words[-5:] == ["rdinit=/usr/bin/python3", "nosmt", "--", "-I", "agent"]


@pytest.mark.parametrize(("name", "package"), [("arm64", "qemu-system-arm"), ("ppc64el", "qemu-system-ppc")])
def test_a_missing_qemu_names_its_package(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setattr(tools, "find_program", lambda name: None)
    with pytest.raises(BootFailed, match=f"cannot boot a guest of {name} without {PLATFORMS[name].qemu}") as failed:
        find_foreign_tools(name)
    assert failed.value.hint == f"run: apt-get install {package}"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (BootConfig(require_kvm=True), "kernel 6.12:s390x: KVM runs no kernel of s390x here"),
        (BootConfig(accel="kvm"), "kernel 6.12:s390x: KVM runs no kernel of s390x here"),
        (BootConfig(), r"kernel 6.12:s390x has no root\nrun: pytest-ebpf kernels fetch 6.12:s390x"),
    ],
)
def test_what_cannot_be_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: BootConfig, words: str
) -> None:
    monkeypatch.setattr(tools, "find_program", lambda name: f"/usr/bin/{name}")
    with pytest.raises(BootFailed, match=words):
        prepare(IMAGE, replace(config, cache=tmp_path))


def test_an_image_that_is_not_ours_is_of_this_machine() -> None:
    class Other:
        spec = release = "x"
        vmlinux = Path("x")
        bzimage = modules_root = None

    assert architecture_of(Other()) == NATIVE
    assert architecture_of(IMAGE) == "s390x"


def test_modules_come_behind_what_they_depend_on(tmp_path: Path) -> None:
    folder = tmp_path / "lib/modules" / IMAGE.release
    (folder / "kernel").mkdir(parents=True)
    rows = {
        "kernel/9p.ko.xz": ["kernel/9pnet.ko", "kernel/netfs.ko"],
        "kernel/9pnet.ko": [],
        "kernel/9pnet_virtio.ko": ["kernel/9pnet.ko"],
        "kernel/netfs.ko": [],
        "kernel/unwanted.ko": [],
        "kernel/virtio-rng.ko": [],
    }
    import lzma

    for path in rows:
        data = path.encode()
        (folder / path).write_bytes(lzma.compress(data) if path.endswith(".xz") else data)
    (folder / "modules.dep").write_text("".join(f"{path}: {' '.join(behind)}\n" for path, behind in rows.items()))
    found = needed_modules(replace(IMAGE, modules_root=tmp_path))
    assert [name for name, _ in found] == ["virtio-rng.ko", "9pnet.ko", "9pnet_virtio.ko", "netfs.ko", "9p.ko"]
    assert dict(found)["9p.ko"] == b"kernel/9p.ko.xz"


def elf_with_interpreter(path: str) -> bytes:
    """A big-endian program that asks for a linker."""
    text = path.encode() + b"\0"
    head = struct.pack(">16sHHIQQQIHHHHHH", b"\x7fELF\x02\x02\x01", 2, 22, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    return head + struct.pack(">IIQQQQQQ", 3, 4, 120, 0, 0, len(text), len(text), 1) + text


def test_the_files_of_another_root_do_what_those_of_the_twin_do(tmp_path: Path) -> None:
    """The suites of the two differ: the last number of a library is another, the name of its link is the same."""
    root, twin = tmp_path / "root", tmp_path / "twin"
    libraries = root / "usr/lib/s390x-linux-gnu"
    (root / "usr/bin").mkdir(parents=True)
    libraries.mkdir(parents=True)
    (root / "usr/bin/python3.13").write_bytes(elf_with_interpreter("/lib/ld64.so.1"))
    (root / "lib").symlink_to("usr/lib")
    (root / "usr/lib/ld64.so.1").symlink_to("s390x-linux-gnu/ld64.so.1")
    for name in ("libffi.so.8.5.0", "libc.so.6", "ld64.so.1"):
        (libraries / name).write_bytes(b"x")
    (libraries / "libffi.so.8").symlink_to("libffi.so.8.5.0")
    native = f"{twin}/usr/lib/x86_64-linux-gnu"
    mapped = ("libffi.so.8.1.4", "libc.so.6", "ld-linux-x86-64.so.2", "gconv/gconv-modules.cache")
    files = [(f"{native}/{name}", 1, 1) for name in mapped]
    here = Runtime(
        ((f"{twin}/usr/bin/python3.13", 1, 1), *files),
        {f"{native}/libffi.so.8": f"{native}/libffi.so.8.1.4"},
        {f"{twin}/usr/lib/python3.13/os.py": b"", f"{twin}/usr/lib/python3.13/codecs.pyc": b"code"},
    )
    moved = foreign._moved(here, Rooted(root, twin), triplet="s390x-linux-gnu")
    assert [path for path, _, _ in moved.files] == [
        "/usr/bin/python3.13",
        "/usr/lib/s390x-linux-gnu/libffi.so.8.5.0",
        "/usr/lib/s390x-linux-gnu/libc.so.6",
        "/usr/lib/s390x-linux-gnu/ld64.so.1",
    ]
    assert moved.links["/lib/ld64.so.1"] == "/usr/lib/s390x-linux-gnu/ld64.so.1"
    assert moved.links["/usr/lib/s390x-linux-gnu/libffi.so.8"] == "/usr/lib/s390x-linux-gnu/libffi.so.8.5.0"
    assert moved.startup == {"/usr/lib/python3.13/os.py": b"", "/usr/lib/python3.13/codecs.pyc": b"code"}
    assert moved.current()
    (libraries / "libffi.so.8.5.0").unlink()
    assert not moved.current()
    with pytest.raises(BootFailed, match=r"lacks /usr/lib/s390x-linux-gnu/libffi\.so\.8\.1\.4"):
        foreign._moved(here, Rooted(root, twin), triplet="s390x-linux-gnu")
