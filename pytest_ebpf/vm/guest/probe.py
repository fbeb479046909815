"""Whether kernels run under KVM here: found out by running one, and remembered."""

from __future__ import annotations

import time
from pathlib import Path

from pytest_ebpf.vm.guest.accel import device_problem, recall, remember
from pytest_ebpf.vm.guest.command import AccelKind, Composition, Guest, probe_cmdline, qemu_argv, supervised
from pytest_ebpf.vm.guest.config import Progress
from pytest_ebpf.vm.guest.console import read_from
from pytest_ebpf.vm.guest.process import QemuProcess
from pytest_ebpf.vm.guest.rundir import close_rundir, open_rundir
from pytest_ebpf.vm.guest.tools import Tools

__all__ = ["kvm_problem", "probe"]

_FIRST_BYTE = 8.0
_WHOLE = 30.0
_PROOF = "Kernel panic - not syncing: VFS"  # no root to mount: the kernel did all the rest of its start


def kvm_problem(composition: Composition, tools: Tools, *, cache: Path, on_progress: Progress) -> str:
    """What is wrong with KVM here; empty if nothing. Runs a kernel to find out, once per boot of the host."""
    if problem := device_problem():
        return problem
    known = recall(cache, qemu=tools.qemu)
    if known is not None:
        return known
    on_progress("finding out whether KVM runs kernels here")
    problem = probe(composition, tools, kind="kvm", cache=cache)
    remember(cache, problem, qemu=tools.qemu)
    return problem


def probe(composition: Composition, tools: Tools, *, kind: AccelKind, cache: Path, patience: float = 1.0) -> str:
    """Why a kernel does not get through its start; empty if it does. ``patience`` multiplies the deadlines."""
    argv = supervised(qemu_argv(composition.argv, Guest(kind, probe_cmdline())), setpriv=tools.setpriv)
    rundir = open_rundir(cache / "running", "probe")
    qemu = QemuProcess(argv, rundir=rundir, on_end=lambda: None)
    try:
        began = time.monotonic()
        while not qemu.wait(0.1):
            spent = time.monotonic() - began
            silent = not read_from(rundir.console, 0)
            if spent > patience * _WHOLE or (silent and spent > patience * _FIRST_BYTE):
                return f"a kernel {'printed nothing' if silent else 'did not boot'} in {spent:.0f} s under it"
        end = qemu.end()
        return "" if end is None or _PROOF in read_from(rundir.console, 0) else end.reason
    finally:
        qemu.kill()
        close_rundir(rundir)
