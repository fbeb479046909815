"""The seam to virtme-ng and QEMU: from frozen values to command lines. Nothing else knows a flag of either.

``virtme-run`` composes the machine: an initramfs with the modules that this kernel needs to reach its root, the
host's root shared read-only, the devices. It is asked to write the initramfs down and to say its QEMU command
(``--dry-run --show-command --save-initramfs``, virtme-ng 1.42), which is kept; ``qemu_argv`` adds what belongs to one
boot. So a boot costs no Python start of virtme-run (0.45 s), and QEMU is our own child: it dies with us and its exit
status is ours to read.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.vm.guest.turns import size_of_memory

__all__ = [
    "AGENT_PORT",
    "FILES_TAG",
    "AccelKind",
    "Composition",
    "Guest",
    "MemoryFile",
    "Recipe",
    "composed_command",
    "guest_cmdline",
    "joined",
    "probe_cmdline",
    "qemu_argv",
    "supervised",
    "virtme_argv",
]

AccelKind = Literal["kvm", "tcg"]
AGENT_PORT = "org.pytest-ebpf.agent"
FILES_TAG = "host-files"  # of the share over virtiofs

_ALWAYS = (
    "console=ttyS0",
    "loglevel=6",  # warnings, oopses and notices; the kernel raises it by itself when it dies
    "panic=-1",  # with QEMU's -no-reboot: a panic ends QEMU at once
    "oops=panic",  # an oops leaves locks held and wrong state: end the guest, with the oops on the console
    "softlockup_panic=1",
    "unknown_nmi_panic",  # a guest that hangs is sent an NMI before it is ended: the panic shows its stack
    "tsc=reliable",  # QEMU's is the host's; no watchdog, hence no "marking unstable" in a test's log
    "no_timer_check",
    "psmouse.proto=exps",  # PS/2 probing is slow
    "random.trust_cpu=on",
    "lsm=landlock,lockdown,yama,bpf",  # BPF LSM is built in but off unless named here
    "cryptomgr.notests=1",  # 0.4 s of crypto self-tests on 5.10 and 6.1
    # Debian clears all allocated memory. In 5.10 each 9p message allocates two 500 KiB buffers (commit 60ece0833b6c,
    # Linux 6.1, made them fit): clearing those made Python's start take 5 s instead of 1 s under emulation.
    "init_on_alloc=0",
    "rcupdate.rcu_expedited=1",
)
# A lock-up is 2 * watchdog_thresh seconds; a busy host can starve an emulated guest for longer than the default 20 s.
_FOR_KIND = {"tcg": ("watchdog_thresh=30",), "kvm": ()}
# 5-level paging is off under TCG: see docs/guests.md on 6.12.
_CPU = {"tcg": "max,la57=off", "kvm": "host"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """The arguments for virtme-run. ``kernel`` lies in a directory with ``lib/modules`` if ``modules``. ``script`` is
    run by virtme-ng's own process 1; "" for a machine that has another."""

    virtme_run: str
    qemu: str
    busybox: str
    kernel: Path
    modules: bool
    initramfs: Path
    script: str = ""


@dataclass(frozen=True, slots=True)
class Composition:
    """A QEMU command without what belongs to one boot. Its initramfs lies in ``path``."""

    path: Path
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """A file of ``size`` bytes. ``shared``: the guest writes to it; else it is mapped copy-on-write."""

    path: Path
    size: int
    shared: bool


@dataclass(frozen=True, slots=True)
class Guest:
    """What is of one boot. ``channel`` is the inherited descriptor of the agent's socket, None for no agent;
    ``monitor`` that of QMP. Without a ``cmdline``, that of virtme-ng and its processor are kept; with a ``cpu``, that
    is the processor. ``memory_file`` is what the guest's memory is mapped from; ``incoming`` for a machine that waits
    for a saved state. ``firmware``: a path, "" for QEMU's usual one. ``shell`` and ``gdb`` are listening sockets,
    ``files`` is a connection to virtiofsd."""

    accel: AccelKind
    cmdline: str
    memory: str = "1G"
    cpus: int = 1
    channel: int | None = None
    monitor: int | None = None
    memory_file: MemoryFile | None = None
    incoming: bool = False
    shell: int | None = None
    gdb: int | None = None
    extra: tuple[str, ...] = ()
    cpu: str = ""
    firmware: str = ""
    files: int | None = None


def virtme_argv(recipe: Recipe) -> list[str]:
    """The virtme-run command that composes a machine and starts nothing."""
    argv = [recipe.virtme_run, "--dry-run", "--show-command", "--disable-kvm", "--disable-monitor"]
    argv += ["--force-9p"]  # otherwise it waits 3 s for a virtiofsd that Debian 12 does not have
    argv += ["--kimg", str(recipe.kernel), "--mods", "auto" if recipe.modules else "none"]
    argv += ["--qemu-bin", recipe.qemu, "--busybox", recipe.busybox]
    if recipe.script:
        argv += ["--show-boot-console", "--script-sh", recipe.script]
    return [*argv, "--force-initramfs", "--save-initramfs", str(recipe.initramfs)]


def composed_command(output: str, *, qemu: str) -> list[str]:
    """The QEMU command in what virtme-run printed."""
    lines = [line for line in output.splitlines() if line.startswith(shlex.quote(qemu) + " ")]
    if not lines:
        raise BootFailed("virtme-run did not say a QEMU command", hint=output.strip()[-500:])
    return shlex.split(lines[-1])


def qemu_argv(composed: Sequence[str], guest: Guest) -> list[str]:
    """The whole QEMU command. Of ``-append``, ``-cpu`` and ``-machine`` properties QEMU takes the last."""
    argv = [*composed, "-nodefaults", "-no-user-config", "-no-reboot", "-m", guest.memory, "-smp", str(guest.cpus)]
    argv += ["-machine", f"accel={guest.accel}"]
    if guest.cmdline:
        argv += ["-cpu", guest.cpu or _CPU[guest.accel], "-append", guest.cmdline]
    if guest.channel is not None:
        argv += ["-chardev", f"socket,id=pytest-ebpf,fd={guest.channel}"]
        argv += ["-device", f"virtserialport,chardev=pytest-ebpf,name={AGENT_PORT}"]
    if guest.monitor is not None:
        argv += ["-chardev", f"socket,id=monitor,fd={guest.monitor}", "-mon", "chardev=monitor,mode=control"]
    if guest.memory_file is not None:
        argv += ["-object", _memory(guest.memory_file), "-machine", "memory-backend=ram"]
    if guest.files is not None:
        argv += ["-chardev", f"socket,id=files,fd={guest.files}"]
        argv += ["-device", f"vhost-user-fs-pci,chardev=files,tag={FILES_TAG}"]
        argv += ["-object", f"memory-backend-memfd,id=ram,size={size_of_memory(guest.memory)},share=on"]
        argv += ["-machine", "memory-backend=ram"]
    if guest.shell is not None:
        argv += ["-chardev", f"socket,id=shell,fd={guest.shell},server=on,wait=off"]
        argv += ["-device", "virtconsole,chardev=shell"]
    if guest.gdb is not None:
        argv += ["-chardev", f"socket,id=gdb,fd={guest.gdb},server=on,wait=off", "-gdb", "chardev:gdb"]
    if guest.firmware:
        argv += ["-bios", guest.firmware]
    if guest.incoming:
        argv += ["-incoming", "defer"]
    return [*argv, *guest.extra]


def _memory(file: MemoryFile) -> str:
    path = str(file.path).replace(",", ",,")  # QEMU's way to write a comma
    return f"memory-backend-file,id=ram,mem-path={path},size={file.size},share={'on' if file.shared else 'off'}"


def guest_cmdline(kind: AccelKind, *, init: Sequence[str], extra: Sequence[str] = ()) -> str:
    """The kernel command line of a guest whose process 1 is ``init``, a program of its initramfs."""
    program, *arguments = init
    return joined([*_ALWAYS, *_FOR_KIND[kind], f"rdinit={program}", *extra, "--", *arguments])


def joined(words: Sequence[str]) -> str:
    """A kernel's command line of its words."""
    return " ".join(_quoted(word) for word in words)


def probe_cmdline() -> str:
    """A kernel that starts, finds no root, panics, and so ends QEMU: what it takes to see that KVM runs kernels."""
    return "console=ttyS0 panic=-1 loglevel=6 tsc=reliable cryptomgr.notests=1 root=none rdinit=/pytest-ebpf-probe"


def supervised(argv: Sequence[str], *, setpriv: str) -> list[str]:
    """``argv`` as a process that the kernel kills when the thread that started it ends."""
    return [setpriv, "--pdeathsig", "KILL", "--", *argv]


def _quoted(word: str) -> str:
    return f'"{word}"' if any(c.isspace() for c in word) else word
