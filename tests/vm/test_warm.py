"""Guests from saved states: alike in nothing that has to differ, and a state that does not do costs a cold boot."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import Exited, ScopeClose, ScopeClosed, ScopeOpen, Spawn, WatchAround
from pytest_ebpf.kernels.base import check, made
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.guest.launch import prepare
from pytest_ebpf.vm.guest.machine import Machine
from pytest_ebpf.vm.guest.snapshot import snapshot_path
from pytest_ebpf.vm.images.image import KernelImage
from support.guests import start

pytestmark = pytest.mark.slow


def run(kernel: RemoteKernel, command: str) -> str:
    result = check(kernel.run([Spawn(("/bin/sh", "-c", command))])[0], Exited)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode().strip()


@pytest.fixture(scope="module")
def warm(config: BootConfig) -> BootConfig:
    """A cache of this module's own, in which the state of one kernel is made once."""
    return replace(config, cache=config.cache / "warm 'quoted, cache'", boot="warm", accel="tcg")


@pytest.fixture(scope="module")
def state(any_image: KernelImage, warm: BootConfig) -> Path:
    """The directory of the saved state."""
    machine, _ = start(any_image, warm)
    machine.close()
    assert machine.way.name == "warm", machine.way
    return snapshot_path(prepare(any_image, warm))


@pytest.fixture
def four(any_image: KernelImage, warm: BootConfig, state: Path) -> Iterator[list[tuple[Machine, RemoteKernel]]]:
    """Guests restored from one state, at once."""
    guests = [start(any_image, warm) for _ in range(4)]
    yield guests
    for machine, _ in guests:
        machine.close()


def test_four_guests_from_one_file_differ_in_what_must_and_leave_it_as_it_was(
    four: list[tuple[Machine, RemoteKernel]], state: Path
) -> None:
    before = hashlib.sha256((state / "memory").read_bytes()).hexdigest()
    assert {machine.way.name for machine, _ in four} == {"warm"}
    for command in ("cat /proc/sys/kernel/random/boot_id", "head -c 16 /dev/urandom | od -x"):
        assert len({run(kernel, command) for _, kernel in four}) == 4, command
    for machine, kernel in four:
        assert abs(float(run(kernel, "date +%s.%N")) - time.time()) < 2
        assert run(kernel, "dmesg | grep -c 'pytest-ebpf: restored from a saved state'") == "1"
        assert machine.hello["problems"] == []
        run(kernel, "head -c 30000000 /dev/zero > /tmp/much")
    assert hashlib.sha256((state / "memory").read_bytes()).hexdigest() == before


def test_what_fills_memory_or_disk_costs_a_command_and_not_the_guest(
    any_image: KernelImage, warm: BootConfig, state: Path
) -> None:
    machine, kernel = start(any_image, warm)
    hog = "kept = []\nwhile True: kept.append(b'x' * (16 << 20))"
    filled = check(kernel.run([Spawn(("/bin/sh", "-c", "head -c 2000M /dev/zero > /tmp/full"), timeout=60)])[0], Exited)
    assert b"No space left" in filled.stderr
    killed = check(kernel.run([Spawn(("/usr/bin/python3", "-c", hog), timeout=120)])[0], Exited)
    assert killed.returncode == -9
    assert run(kernel, "rm /tmp/full; uname -r") == any_image.release
    machine.close()


def test_host_name_and_clock_that_a_test_left_are_told_and_put_back(
    any_image: KernelImage, warm: BootConfig, state: Path
) -> None:
    machine, kernel = start(any_image, warm)
    scope = made(kernel.run([ScopeOpen("a test")])[0])
    change = "echo another > /proc/sys/kernel/hostname; date -s @1000000000 > /dev/null"
    kernel.run([WatchAround(), Spawn(("/bin/sh", "-c", change))], scope=scope)
    assert run(kernel, "hostname") == "another"
    leaks = check(kernel.run([ScopeClose(scope)])[0], ScopeClosed).leaks
    assert [leak.kind for leak in leaks] == ["host name", "clock"]
    assert run(kernel, "hostname").startswith("guest-5-10")
    assert abs(float(run(kernel, "date +%s")) - time.time()) < 3
    machine.close()


DAMAGE = {
    "no memory": lambda home: (home / "memory").unlink(),
    "a shorter memory": lambda home: (home / "memory").open("r+b").truncate(1 << 20),
    "no state": lambda home: (home / "state").unlink(),
    "a shorter state": lambda home: (home / "state").open("r+b").truncate(100_000),
    "no JSON": lambda home: (home / "entry.json").write_text("{"),
    "an older entry": lambda home: (home / "entry.json").write_text(json.dumps({"memory": [1, 2]})),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_state_whose_files_changed_is_not_read(damage: str, state: Path, tmp_path: Path) -> None:
    """Cheaply: sizes and dates. It would be made again."""
    from pytest_ebpf.vm.guest.snapshot import read_entry

    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("memory", "state", "entry.json"):
        (copy / name).symlink_to(state / name)
    assert read_entry(copy) is not None
    for name in ("state", "entry.json", "memory"):
        (copy / name).unlink()
    entry = json.loads((state / "entry.json").read_text())
    for name in ("memory", "state"):
        with (copy / name).open("wb") as file:
            file.truncate(entry[name][0])
    (copy / "entry.json").write_text(json.dumps(entry))
    DAMAGE[damage](copy)
    assert read_entry(copy) is None


def test_a_state_that_does_not_run_costs_a_cold_boot_and_is_gone(
    any_image: KernelImage, warm: BootConfig, state: Path
) -> None:
    """Damage that the files do not show: QEMU takes it, or hangs, or refuses."""
    entry = json.loads((state / "entry.json").read_text())
    content = bytearray((state / "state").read_bytes())
    content[1000:200_000] = bytes(199_000)
    (state / "state").write_bytes(content)
    status = (state / "state").stat()
    entry |= {"state": [status.st_size, status.st_mtime_ns], "seconds": 0}
    (state / "entry.json").write_text(json.dumps(entry))
    machine, kernel = start(any_image, warm)
    assert run(kernel, "uname -r") == any_image.release
    assert machine.way.name == "cold"
    assert machine.way.reason.startswith("its saved state could not be used and was thrown away (")
    machine.close()
    assert not state.exists()


def test_no_room_for_a_state_is_a_cold_boot(any_image: KernelImage, warm: BootConfig, tmp_path: Path) -> None:
    config = replace(warm, cache=tmp_path / "cache")
    config.cache.mkdir()
    (config.cache / "warm").write_text("in the way")
    machine, kernel = start(any_image, config)
    assert run(kernel, "uname -r") == any_image.release
    assert machine.way.name == "cold"
    assert machine.way.reason.startswith("there is no place for its saved state (")
    machine.close()
