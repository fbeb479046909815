"""Guests that die, hang or never come up; parents that are killed. Nothing may be left, and the reason is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import Spawn, WriteFile
from pytest_ebpf.errors import BootFailed, GuestLost
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.outcome import Outcome
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.guest.machine import boot
from pytest_ebpf.vm.guest.process import End
from pytest_ebpf.vm.images.image import KernelImage
from support.guests import Boot

pytestmark = pytest.mark.slow


def guests(config: BootConfig) -> list[str]:
    """Command lines of the programs that run from our cache: QEMU and whoever is about to become it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "qemu-system" in line and f"{config.cache}/machines" in line:
                found.append(f"{entry.name} {line}")
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_panic_is_seen_at_once_with_its_lines(fresh: Boot) -> None:
    machine, kernel = fresh()
    with pytest.raises(GuestLost, match="during WriteFile") as lost:
        kernel.run([WriteFile("/proc/sysrq-trigger", b"c")])
    assert "it hangs" not in str(lost.value)  # seen, not concluded from silence
    assert "Kernel panic - not syncing: sysrq triggered crash" in lost.value.console
    assert machine.ended() == End("kernel panic: sysrq triggered crash", Outcome.PANIC)
    assert not machine.alive()
    with pytest.raises(GuestLost, match="was lost; earlier"):
        kernel.run([Spawn(("/bin/true",))])
    again, kernel = fresh()
    assert kernel.run([Spawn(("/bin/echo", "back"))])
    directory = machine.console_path.parent
    machine.close()
    again.close()
    assert is_gone(machine.pid)
    assert is_gone(again.pid)
    assert not directory.exists()


def test_qemu_killed_from_outside(fresh: Boot) -> None:
    machine, kernel = fresh()
    os.kill(machine.pid, signal.SIGKILL)
    with pytest.raises(GuestLost) as lost:
        kernel.run([Spawn(("/bin/true",))])
    assert "it hangs" not in str(lost.value)
    assert machine.ended(1) == End("QEMU was killed by SIGKILL", Outcome.INFRASTRUCTURE)


def test_a5_qemu_that_somebody_ended_did_not_turn_itself_off(fresh: Boot) -> None:
    machine, kernel = fresh()
    os.kill(machine.pid, signal.SIGTERM)
    with pytest.raises(GuestLost, match="QEMU was ended from outside, by SIGTERM from process") as lost:
        kernel.run([Spawn(("/bin/true",))])
    assert lost.value.outcome is Outcome.INFRASTRUCTURE


def test_a3_text_of_a_panic_is_no_panic(fresh: Boot) -> None:
    """Any process may write it to /dev/kmsg. What ends this guest is the test's command."""
    machine, kernel = fresh()
    fake = "echo '<0>Kernel panic - not syncing: by a test' >/dev/kmsg"
    kernel.run([Spawn(("/bin/sh", "-c", fake))])
    time.sleep(1.0)
    assert machine.alive()
    with pytest.raises(GuestLost, match="the guest turned itself off") as lost:
        kernel.run([Spawn(("/bin/sh", "-c", "echo o >/proc/sysrq-trigger; sleep 5"), timeout=9)])
    assert lost.value.outcome is Outcome.FAILED


def test_a_guest_that_stands_still_is_a_deadline(any_image: KernelImage, config: BootConfig) -> None:
    """The agent is stopped, which looks like a kernel that does not schedule any more: only time tells."""
    machine = boot(any_image, config=config)
    kernel = RemoteKernel(machine.stream, name="6.1", scale=0.5)
    with pytest.raises(GuestLost, match="during Spawn: it hangs: no sign of life"):
        kernel.run([Spawn(("/bin/sh", "-c", f"kill -STOP {kernel.hello.pid}"), timeout=1.0)])
    assert machine.alive()
    machine.close()
    assert machine.ended() == End("it was stopped", Outcome.INFRASTRUCTURE)
    assert is_gone(machine.pid)


def test_a_kernel_that_panics_while_it_starts(any_image: KernelImage, config: BootConfig) -> None:
    """Without its modules it cannot reach its root."""
    with pytest.raises(BootFailed) as failed:
        boot(any_image, config=replace(config, kernel_args=("rdinit=/nowhere", "root=none")))
    assert "kernel panic: VFS: Unable to mount root" in failed.value.message
    assert "Kernel panic" in failed.value.console
    assert guests(config) == []


def test_a_kernel_that_does_not_get_there_in_time(any_image: KernelImage, config: BootConfig, tmp_path: Path) -> None:
    """In a cache of its own: how long guests took before on this machine would make the deadline longer."""
    alone = replace(config, cache=tmp_path, accel="tcg", boot_timeout=0.2)
    with pytest.raises(BootFailed, match="its agent did not answer within 1 s"):
        boot(any_image, config=alone)
    assert guests(alone) == []


def test_a_file_that_is_no_kernel(any_image: KernelImage, config: BootConfig, tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_text("no kernel\n")
    with pytest.raises(BootFailed) as failed:
        boot(replace(any_image, vmlinux=tmp_path / "vmlinux"), config=config)
    assert "did not come up: QEMU ended with status 1: " in failed.value.message
    assert guests(config) == []


def test_progress_is_told(any_image: KernelImage, config: BootConfig) -> None:
    said: list[str] = []
    boot(any_image, config=replace(config, on_progress=said.append)).close()
    assert said[0].startswith(f"booting {any_image.spec} under ")
    assert any(f"booting {any_image.spec}: " in text for text in said)


PARENT = """
import sys, time
from pathlib import Path
from pytest_ebpf.vm.images.cache import Store, default_cache
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.images.image import image_of
from pytest_ebpf.vm.guest.machine import boot
entry = next(one for one in Store(default_cache()).entries() if one.release == sys.argv[1])
machine = boot(image_of(entry, spec=entry.series), config=BootConfig(cache=Path(sys.argv[2])))
print(machine.pid, machine.console_path.parent, flush=True)
{then}
"""


def parent(image: KernelImage, config: BootConfig, *, then: str) -> tuple[subprocess.Popen[str], int, Path]:
    """Another process that boots a guest; that guest's QEMU and directory."""
    argv = [sys.executable, "-c", PARENT.replace("{then}", then), image.release, str(config.cache)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline().split()
    assert len(line) == 2, process.communicate()[1]
    return process, int(line[0]), Path(line[1])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_takes_its_guest_along(any_image: KernelImage, config: BootConfig, how: signal.Signals) -> None:
    process, qemu, directory = parent(any_image, config, then="time.sleep(600)")
    assert not is_gone(qemu)
    process.send_signal(how)
    process.communicate(timeout=10)
    assert eventually(lambda: is_gone(qemu), 2)
    if directory.exists():  # left by SIGKILL; the next boot clears it away
        boot(any_image, config=config).close()
    assert not directory.exists()
    assert guests(config) == []


def test_ctrl_c_leaves_nothing(any_image: KernelImage, config: BootConfig) -> None:
    process, qemu, directory = parent(any_image, config, then="time.sleep(600)")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)
    assert is_gone(qemu)
    assert not directory.exists()


def test_a_parent_that_forgets_to_close_leaves_nothing(any_image: KernelImage, config: BootConfig) -> None:
    process, qemu, directory = parent(any_image, config, then="pass")
    process.communicate(timeout=15)
    assert process.returncode == 0
    assert is_gone(qemu)
    assert not directory.exists()


def test_a_parent_killed_while_booting(any_image: KernelImage, config: BootConfig) -> None:
    script = PARENT.replace("{then}", "")
    process = subprocess.Popen([sys.executable, "-c", script, any_image.release, str(config.cache)])
    assert eventually(lambda: bool(guests(config)), 20)
    process.kill()
    process.wait(10)
    assert eventually(lambda: guests(config) == [], 2)
