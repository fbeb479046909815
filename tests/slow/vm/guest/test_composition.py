"""A machine is composed once for its image, and made again when it is damaged; without QEMU."""

from __future__ import annotations

import errno
import lzma
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest import launch as launch_module
from pytest_ebpf.vm.guest.bundle import Agent
from pytest_ebpf.vm.guest.compose import compose
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.guest.cpio import Member, read_cpio, write_cpio
from pytest_ebpf.vm.guest.launch import prepare
from pytest_ebpf.vm.guest.runtime import Runtime
from pytest_ebpf.vm.guest.tools import Tools


@dataclass(frozen=True, slots=True)
class FakeImage:
    spec: str
    release: str
    vmlinux: Path
    bzimage: Path | None
    modules_root: Path | None


def agent(folder: Path) -> Agent:
    """One whose Python has no files."""
    bundle = folder / "agent-x.pyc"
    bundle.write_bytes(b"agent")
    return Agent("/usr/bin/python3", bundle, Runtime((), {}, {}))


FAKE_VIRTME_RUN = """#!/bin/sh
echo called >> "{log}"
while [ $# -gt 0 ]; do
    case $1 in --save-initramfs) cp "{initramfs}" "$2" ;; --kimg) kernel=$2 ;; --qemu-bin) qemu=$2 ;; esac
    shift
done
[ -e "$kernel" ] || {{ echo "no kernel" >&2; exit 1; }}
echo "$qemu -kernel $kernel -append 'a b'"
"""


@pytest.fixture
def workshop(tmp_path: Path) -> tuple[FakeImage, Tools, Path]:
    """A kernel, a virtme-run that writes down how often it was called, and that file."""
    log, program = tmp_path / "calls", tmp_path / "virtme-run"
    program.write_text(FAKE_VIRTME_RUN.format(log=log, initramfs=tmp_path / "theirs"))
    load = Member("modules/load_all.sh", 0o100644, b"log 'loading one'; insmod modules/one.ko.xz")
    module = Member("modules/one.ko.xz", 0o100644, lzma.compress(b"module one"))
    (tmp_path / "theirs").write_bytes(write_cpio([load, module]))
    program.chmod(0o755)
    root = tmp_path / "image"
    (root / "lib/modules/6.1-x").mkdir(parents=True)
    (root / "lib/modules/6.1-x/modules.dep").touch()
    (root / "vmlinux").write_text("kernel")
    image = FakeImage("6.1", "6.1-x", root / "vmlinux", None, root)
    return image, Tools(str(program), "/bin/true", "/bin/true", "/bin/true"), log


def test_a_machine_is_composed_once(workshop: tuple[FakeImage, Tools, Path], tmp_path: Path) -> None:
    image, tools, log = workshop
    first = compose(image, tools=tools, agent=agent(tmp_path), cache=tmp_path / "cache")
    assert first.argv[0] == "/bin/true"
    assert "a b" in first.argv
    made = {member.name: member.data for member in read_cpio(Path(first.argv[-1]).read_bytes())}
    assert made["pytest-ebpf/agent.pyc"] == b"agent"
    assert made["pytest-ebpf/modules/00-one.ko"] == b"module one"
    assert (first.path / "root/vmlinux").read_text() == "kernel"
    assert (first.path / "root/lib/modules/6.1-x/modules.dep").exists()
    assert compose(image, tools=tools, agent=agent(tmp_path), cache=tmp_path / "cache") == first
    assert log.read_text() == "called\n"


DAMAGE = {
    "no command": lambda home: (home / "command.json").unlink(),
    "half a command": lambda home: (home / "command.json").write_text('{"argv": ["/bin/tr'),
    "a command of another time": lambda home: (home / "command.json").write_text('["/bin/true"]'),
    "no initramfs": lambda home: (home / "initramfs").unlink(),
    "an empty initramfs": lambda home: (home / "initramfs").write_bytes(b""),
    "another initramfs": lambda home: os.utime(home / "initramfs", (0, 0)),
    "no kernel": lambda home: (home / "root/vmlinux").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_machine_is_composed_again(
    workshop: tuple[FakeImage, Tools, Path], tmp_path: Path, damage: str
) -> None:
    image, tools, log = workshop
    first = compose(image, tools=tools, agent=agent(tmp_path), cache=tmp_path / "cache")
    DAMAGE[damage](first.path)
    assert compose(image, tools=tools, agent=agent(tmp_path), cache=tmp_path / "cache") == first
    assert (first.path / "initramfs").stat().st_size > 100
    assert log.read_text() == "called\n" * 2


def test_a_cache_that_cannot_be_written_to_is_one_message(
    workshop: tuple[FakeImage, Tools, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BootFailed, match=r"cannot use the cache .*/file: Not a directory") as failed:
        prepare(workshop[0], BootConfig(cache=tmp_path / "file"))
    assert "--bpf-cache-dir" in failed.value.hint


@pytest.mark.parametrize("problem", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_cache_that_is_read_only_foreign_or_full_costs_a_cold_boot(
    workshop: tuple[FakeImage, Tools, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: int
) -> None:
    """The run goes on without it, and the reason is told."""
    image, tools, _ = workshop
    cache, spare = tmp_path / "cache", tmp_path / "spare"
    spare.mkdir()

    def make_agent(where: Path, *, python: str) -> Agent:
        if where == cache.resolve():
            raise OSError(problem, os.strerror(problem))
        return agent(tmp_path)

    monkeypatch.setattr(launch_module, "make_agent", make_agent)
    monkeypatch.setattr(launch_module, "find_tools", lambda: tools)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(spare))
    made = prepare(image, BootConfig(cache=cache, accel="tcg"))
    assert made.config.cache.parent == spare
    assert made.config.boot == "cold"
    assert os.strerror(problem) in made.problem
    assert made.composition.path.is_relative_to(spare)


def test_another_kernel_is_another_machine(workshop: tuple[FakeImage, Tools, Path], tmp_path: Path) -> None:
    image, tools, log = workshop
    first = compose(image, tools=tools, agent=agent(tmp_path), cache=tmp_path / "cache")
    image.vmlinux.write_text("another kernel")
    assert compose(image, tools=tools, agent=agent(tmp_path), cache=tmp_path / "cache").path != first.path
    assert log.read_text() == "called\n" * 2


def test_a_kernel_that_is_gone_is_named(workshop: tuple[FakeImage, Tools, Path], tmp_path: Path) -> None:
    image, tools, _ = workshop
    image.vmlinux.unlink()
    with pytest.raises(BootFailed, match="vmlinux: No such file"):
        compose(image, tools=tools, agent=agent(tmp_path), cache=tmp_path / "cache")


def test_virtme_runs_own_words_when_it_fails(workshop: tuple[FakeImage, Tools, Path], tmp_path: Path) -> None:
    image, tools, _ = workshop
    Path(tools.virtme_run).write_text("#!/bin/sh\necho 'no suitable kernel' >&2\nexit 3\n")
    with pytest.raises(BootFailed, match="no suitable kernel"):
        compose(image, tools=tools, agent=agent(tmp_path), cache=tmp_path / "cache")
    assert list((tmp_path / "cache" / "machines").iterdir()) == []
