"""A kernel without 9p (issue 16, 2): Debian's cloud flavour, from this machine's own apt. The host's files come over
virtiofs, and stay as they are."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_ebpf
from support.paths import ROOT

pytestmark = pytest.mark.slow

SAMPLE = ROOT / "sample_programs/built/xdp_decap.bpf.o"


def apt(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cloud")
    shown = apt("apt-cache", "depends", "linux-image-cloud-amd64", cwd=folder)
    package = re.search(r"Depends: (linux-image-\S+-cloud-amd64)$", shown.stdout, re.MULTILINE)
    if package is None:
        pytest.skip(f"apt knows no cloud kernel: {shown.stdout}{shown.stderr}")
    got = apt("apt-get", "download", package[1], cwd=folder)
    if got.returncode:
        pytest.skip(f"apt cannot get {package[1]}: {got.stderr}")
    (deb,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", deb, folder / "unpacked"], check=True)
    (image,) = folder.glob("unpacked/boot/vmlinuz-*")
    return image


@pytest.fixture(scope="module")
def bpf(kernel: Path) -> Iterator[pytest_ebpf.Bpf]:
    with pytest_ebpf.open_kernel(str(kernel), cache_dir=kernel.parent / "cache") as bpf:
        yield bpf


def servers() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"virtiofsd") and (entry / "stat").read_text().split()[3] == str(os.getpid()):
                found.append(entry.name)
    return found


def test_it_boots_loads_and_runs(bpf: pytest_ebpf.Bpf) -> None:
    assert bpf.machine is not None
    assert "cloud" in bpf.machine.run(["uname", "-r"]).stdout.decode()
    assert bpf.load(SAMPLE)["decap"].run(bytes(64)).retval == 2


def test_it_boots_cold_and_says_why(bpf: pytest_ebpf.Bpf) -> None:
    way = bpf.session.target.machine.way  # type: ignore[attr-defined]  # a RunningKernel
    assert (way.name, way.reason) == ("cold", "its kernel has no 9p, and a machine with virtiofs cannot be saved")


def test_the_files_of_the_host_are_there_and_stay_as_they_are(bpf: pytest_ebpf.Bpf, kernel: Path) -> None:
    """Even for a root that mounts them anew, to be written to."""
    assert bpf.machine is not None
    mine = kernel.parent / "file"
    mine.write_text("before")
    assert bpf.machine.read_file(str(ROOT / "README.md")) == (ROOT / "README.md").read_bytes()
    tried = f"mount -t virtiofs host-files /mnt && cat /mnt{mine} && echo after >/mnt{mine}; echo $?; umount /mnt"
    done = bpf.machine.run(["sh", "-c", tried], check=False)
    assert done.stdout.decode().startswith("before"), done
    assert b"Read-only file system" in done.stderr
    assert mine.read_text() == "before"


def test_nothing_is_left(kernel: Path) -> None:
    before = servers()
    with pytest_ebpf.open_kernel(str(kernel), cache_dir=kernel.parent / "cache"):
        assert len(servers()) == len(before) + 1
    assert servers() == before
