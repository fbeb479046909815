"""Values to command lines: what virtme-run and QEMU are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest.command import (
    AGENT_PORT,
    Guest,
    MemoryFile,
    Recipe,
    composed_command,
    guest_cmdline,
    probe_cmdline,
    qemu_argv,
    supervised,
    virtme_argv,
)
from pytest_ebpf.vm.guest.tools import _qboot

RECIPE = Recipe(
    virtme_run="/venv/bin/virtme-run",
    qemu="/usr/bin/qemu-system-x86_64",
    busybox="/bin/busybox",
    kernel=Path("/cache/root/vmlinux"),
    modules=True,
    initramfs=Path("/cache/initramfs"),
)
COMPOSED = ("/usr/bin/qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-append", "init=/virtme/init")


def after(argv: list[str], flag: str) -> list[str]:
    """What follows each occurrence of a flag."""
    return [argv[i + 1] for i, word in enumerate(argv) if word == flag]


def test_virtme_run_composes_and_starts_nothing() -> None:
    argv = virtme_argv(RECIPE)
    assert argv[0] == "/venv/bin/virtme-run"
    assert {"--dry-run", "--show-command", "--force-9p"} <= set(argv)
    assert after(argv, "--kimg") == ["/cache/root/vmlinux"]
    assert after(argv, "--mods") == ["auto"]
    assert after(argv, "--save-initramfs") == ["/cache/initramfs"]


def test_the_qemu_command_is_found_in_what_virtme_run_prints() -> None:
    output = "kernel version = 6.1\n/usr/bin/qemu-system-x86_64 -m 1G -append 'a b' -kernel /x\n"
    assert composed_command(output, qemu=RECIPE.qemu) == [RECIPE.qemu, "-m", "1G", "-append", "a b", "-kernel", "/x"]


def test_no_qemu_command_is_an_error_with_what_was_printed_instead() -> None:
    with pytest.raises(BootFailed, match="did not say a QEMU command") as failed:
        composed_command("virtme-run: no busybox\n", qemu=RECIPE.qemu)
    assert "no busybox" in failed.value.hint


@pytest.mark.parametrize("kind", ["tcg", "kvm"])
def test_what_is_ours_comes_last_and_so_counts(kind: str) -> None:
    guest = Guest("kvm" if kind == "kvm" else "tcg", "init=/agent", memory="2G", cpus=3, channel=7, extra=("-gdb", "x"))
    argv = qemu_argv(COMPOSED, guest)
    assert tuple(argv[: len(COMPOSED)]) == COMPOSED
    assert after(argv, "-append")[-1] == "init=/agent"
    assert after(argv, "-machine")[-1] == f"accel={kind}"
    assert after(argv, "-cpu")[-1].startswith("host" if kind == "kvm" else "max,la57=off")
    assert after(argv, "-m") == ["2G"]
    assert after(argv, "-smp") == ["3"]
    assert "-no-reboot" in argv
    assert any("fd=7" in word for word in after(argv, "-chardev"))
    assert any(word.endswith(f"name={AGENT_PORT}") for word in after(argv, "-device"))
    assert argv[-2:] == ["-gdb", "x"]


def test_firmware_is_named_where_there_is_one() -> None:
    assert "-bios" not in qemu_argv(["qemu"], Guest("tcg", ""))
    argv = qemu_argv(["qemu"], Guest("tcg", "", firmware="/usr/share/qemu/qboot.rom", extra=("-bios", "mine")))
    assert after(argv, "-bios") == ["/usr/share/qemu/qboot.rom", "mine"]  # QEMU takes the last, which people gave


def test_qboot_is_looked_for_beside_its_qemu(tmp_path: Path) -> None:
    qemu = tmp_path / "bin/qemu-system-x86_64"
    assert _qboot(str(qemu)) == ""
    rom = tmp_path / "share/qemu/qboot.rom"
    rom.parent.mkdir(parents=True)
    rom.write_bytes(b"")
    assert _qboot(str(qemu)) == str(rom.resolve())


def test_a_machine_without_agent_has_no_port() -> None:
    assert after(qemu_argv(COMPOSED, Guest("tcg", probe_cmdline())), "-device") == []


def test_a_panic_ends_the_guest_and_bpf_is_among_the_security_modules() -> None:
    words = guest_cmdline("tcg", init=["/usr/bin/python3"]).split()
    assert {"panic=-1", "oops=panic", "console=ttyS0"} <= set(words)
    assert next(word for word in words if word.startswith("lsm=")).endswith(",bpf")


def test_init_comes_last_and_its_arguments_behind_it() -> None:
    line = guest_cmdline("tcg", init=["/my tools/python3", "-I", "/a b/agent.pyc", "port"], extra=("debug", "x=1"))
    assert line.endswith('"rdinit=/my tools/python3" debug x=1 -- -I "/a b/agent.pyc" port')


def test_a_saved_machine_has_its_memory_in_a_file_and_a_monitor() -> None:
    memory = MemoryFile(Path("/a,b/memory"), 1 << 30, shared=False)
    argv = qemu_argv(COMPOSED, Guest("tcg", "x", monitor=9, memory_file=memory, incoming=True))
    assert after(argv, "-object") == ["memory-backend-file,id=ram,mem-path=/a,,b/memory,size=1073741824,share=off"]
    assert after(argv, "-machine")[-1] == "memory-backend=ram"
    assert any("fd=9" in word for word in after(argv, "-chardev"))
    assert after(argv, "-mon") == ["chardev=monitor,mode=control"]
    assert after(argv, "-incoming") == ["defer"]


def test_lock_ups_are_given_time_under_emulation_only() -> None:
    assert "watchdog_thresh=30" in guest_cmdline("tcg", init=["/p"])
    assert "watchdog_thresh" not in guest_cmdline("kvm", init=["/p"])


def test_the_kernel_kills_what_is_supervised() -> None:
    assert supervised(["qemu", "-m"], setpriv="/bin/setpriv") == [
        "/bin/setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        "qemu",
        "-m",
    ]
