"""The machines of other architectures, as QEMU emulates them, and what their kernels are told.

virtme-run composes the machine of this architecture. Its machines of others have a processor without what BPF uses
(arm64: a Cortex-A57), or a bus that carries no further device, and it reads a kernel's release with programs that know
x86 images; so these are composed here, of the same parts: the root and the host's files over 9p, a virtio port for the
agent, a serial console.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from pytest_ebpf.frozen import dataclass

__all__ = ["PLATFORMS", "ROOT_TAG", "SHARE_TAG", "Platform", "machine_argv", "platform_cmdline"]

ROOT_TAG = "/dev/root"  # of the 9p share that is the guest's root; virtme-ng's name
SHARE_TAG = "/dev/host"  # of the one that holds this machine's files

_ALWAYS = (
    "loglevel=6",
    "panic=-1",
    "oops=panic",
    "softlockup_panic=1",
    "random.trust_cpu=on",
    "lsm=landlock,lockdown,yama,bpf",
    "cryptomgr.notests=1",
    "init_on_alloc=0",
    "rcupdate.rcu_expedited=1",
    "watchdog_thresh=60",
    "net.ifnames=0",
)


@dataclass(frozen=True, slots=True)
class Platform:
    """``qemu`` is the program, ``package`` Debian's that has it. ``bus`` ends the names of virtio devices.
    ``slowness``: how much longer a boot takes than on real hardware. ``words``: more for the kernel's command line."""

    qemu: str
    package: str
    machine: str
    cpu: str
    console: str
    bus: str = "pci"
    serial: tuple[str, ...] = ("-serial", "chardev:console")
    words: tuple[str, ...] = ()
    slowness: float = 12.0


PLATFORMS: MappingProxyType[str, Platform] = MappingProxyType(
    {
        # The architected pointer authentication is very slow to emulate: pauth-impdef (QEMU, docs/system/arm).
        "arm64": Platform(
            "qemu-system-aarch64", "qemu-system-arm", "virt,gic-version=3", "max,pauth-impdef=on", "ttyAMA0"
        ),
        # Debian's kernel has the JIT and leaves it off, and kfuncs and bpf_loop() are refused without it. With the
        # timer of Sstc about one in three guests that QEMU 7.2 restored did not wake from sleep; without it none of 9.
        "riscv64": Platform(
            *("qemu-system-riscv64", "qemu-system-misc", "virt", "rv64,sstc=off", "ttyS0"),
            words=("sysctl.net.core.bpf_jit_enable=1",),
        ),
        "s390x": Platform(
            *("qemu-system-s390x", "qemu-system-misc", "s390-ccw-virtio", "max", "ttysclp0"),
            bus="ccw",
            serial=("-device", "sclpconsole,chardev=console"),
        ),
        # TCG has no countermeasures against side channels: pseries must be told not to promise any.
        "ppc64el": Platform(
            *("qemu-system-ppc64", "qemu-system-ppc"),
            "pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off",
            *("power10", "hvc0"),
        ),
    }
)


def machine_argv(platform: Platform, *, qemu: str, kernel: str, initramfs: str, root: str) -> list[str]:
    """The QEMU command without what belongs to one boot, as ``composed_command`` gives it for virtme-ng's machines."""
    argv = [qemu, "-machine", platform.machine, "-cpu", platform.cpu, "-display", "none"]
    argv += ["-chardev", "stdio,id=console,signal=off", *platform.serial]
    argv += ["-device", f"virtio-serial-{platform.bus}", "-device", f"virtio-rng-{platform.bus}"]
    for name, path, tag in (("root", root, ROOT_TAG), ("host", "/", SHARE_TAG)):
        where = path.replace(",", ",,")  # QEMU's way to write a comma
        argv += ["-fsdev", f"local,id={name},path={where},security_model=none,readonly=on,multidevs=remap"]
        argv += ["-device", f"virtio-9p-{platform.bus},fsdev={name},mount_tag={tag}"]
    return [*argv, "-kernel", kernel, "-initrd", initramfs]


def platform_cmdline(platform: Platform, *, init: Sequence[str], extra: Sequence[str] = ()) -> list[str]:
    """The words of the kernel's command line. Process 1 is ``init``, a program of the initramfs."""
    program, *arguments = init
    words = (f"console={platform.console}", *_ALWAYS, *platform.words, f"rdinit={program}", *extra)
    return [*words, "--", *arguments]
