"""One running kernel: its facts, its machine, and whether it was lost."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Data, Describe, Described, ReadFile, Try
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import GuestLost, HarnessError
from pytest_ebpf.frozen import replace
from pytest_ebpf.kernels.base import Kernel, check
from pytest_ebpf.kernels.btf_cache import indexed_btf
from pytest_ebpf.kernels.local import LocalKernel
from pytest_ebpf.kernels.loss import Loss
from pytest_ebpf.kernels.probe_file import ProbeFile
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.outcome import Outcome
from pytest_ebpf.plan.facts import FACTS_PROBES, Facts, facts_of, facts_ops, probes_worked, read_facts
from pytest_ebpf.vm.guest.console import find_death

if TYPE_CHECKING:
    from pytest_ebpf.vm.guest.machine import Machine
    from pytest_ebpf.vm.images.image import KernelImage

__all__ = ["GuestState", "RunningKernel", "machine_loss"]

_BTF = "/sys/kernel/btf/vmlinux"
_BTF_TIMEOUT = 60.0
_PATIENCE = 1.0  # seconds for QEMU to report how it ended


class GuestState:
    """What is known about a guest besides its answers: its ``loss``, None while it is not lost. It is set by the
    connection to the guest, which may be silent rather than dead."""

    def __init__(self) -> None:
        self.loss: Loss | None = None


def machine_loss(machine: Machine, found: Loss) -> Loss:
    """What became of a guest that was lost: how QEMU ended, or what was found if it still runs."""
    end = machine.ended(_PATIENCE)
    if end is not None:
        found = Loss(end.reason, end.outcome)
    console = machine.console_tail()
    if found.outcome is Outcome.HANG:
        if death := find_death(console):  # it panicked, and did not get to its end
            return Loss(death, Outcome.PANIC, console)
        machine.show_stack()
        console = machine.console_tail()
    return replace(found, console=console)


class RunningKernel:
    """A kernel that runs ops. ``accel`` is KVM or TCG, or for the host how it is reached; ``accel_reason`` is why.
    ``cache`` is the directory for the index of its types."""

    def __init__(
        self,
        spec: str,
        *,
        kernel: Kernel,
        accel: str,
        state: GuestState,
        cache: Path,
        machine: Machine | None = None,
        image: KernelImage | None = None,
    ) -> None:
        self.spec = spec
        self.kernel: Kernel = kernel
        self.machine = machine
        self.image = image
        self.accel = accel
        self.accel_reason = machine.accel.reason if machine is not None else ""
        self._state = state
        self._cache = cache
        self.described = check(kernel.run([Describe()])[0], Described)
        self._facts: Facts | None = None
        self._held: ExitStack | None = None

    def hold(self, held: ExitStack) -> None:
        """What is to be let go of when the kernel is closed."""
        self._held = held

    @property
    def name(self) -> str:
        """The spec it was started for."""
        return self.spec

    @property
    def time_scale(self) -> float:
        """How much longer things may take here than on real hardware."""
        return self.machine.accel.factor if self.machine is not None else 1.0

    @property
    def lost(self) -> bool:
        """Whether the guest died since."""
        return self._state.loss is not None or (self.machine is not None and not self.machine.alive())

    @property
    def loss(self) -> GuestLost | None:
        """Why it was lost, None while it is not known to be."""
        if self._state.loss is None and self.machine is not None and not self.machine.alive():
            self._state.loss = machine_loss(self.machine, Loss("", Outcome.FAILED))
        return self._state.loss.error(self.spec) if self._state.loss is not None else None

    @property
    def busy(self) -> bool:
        """Whether it still works for a call that was cut off."""
        return isinstance(self.kernel, RemoteKernel) and self.kernel.busy

    def quiet(self, mark: int, *, since: float) -> bool:
        """Whether it lives and its log has nothing from ``mark`` on, as of an answer of a time after ``since``."""
        kernel = self.kernel
        return (
            isinstance(kernel, RemoteKernel)
            and kernel.logged == mark >= 0
            and kernel.heard > since
            and self.loss is None
        )

    def mark_console(self) -> None:
        """A test begins: the console before it is not that test's."""
        if self.machine is not None:
            self.machine.mark_console()

    @property
    def local(self) -> bool:
        """Whether ops run in this process."""
        return isinstance(self.kernel, LocalKernel)

    @property
    def console(self) -> str:
        """The tail of the guest's console, "" for the host."""
        return self.machine.console_tail() if self.machine is not None else ""

    def facts(self) -> Facts:
        """What planning needs: probed once, and the kernel's BTF parsed once."""
        if self._facts is None:
            self._facts = replace(self._probed(), kconfig=self._kconfig())
        return self._facts

    def _probed(self) -> Facts:
        """Guests of one image are asked once: what they answer is kept, but for one that a test has changed before."""
        ops = facts_ops(byteorder=self.described.byteorder)
        if self.image is None:
            return read_facts(self.kernel.run(ops), btf=self._btf())
        identity = (self.image.digest, self.accel, replace(self.described, boot=""), ops)
        kept = ProbeFile(self._cache / "facts", identity)
        worked = kept.read(FACTS_PROBES)
        if worked is None:
            results = self.kernel.run(ops)
            worked = probes_worked(results)
            if results[0] == self.described:
                kept.write(worked)
        return facts_of(self.described, worked, btf=self._btf())

    def _kconfig(self) -> str | None:
        """A guest does not show its configuration; its image does. None: ask the kernel."""
        path = self.image.kconfig if self.image is not None else None
        return path.read_text() if path is not None else None

    def _btf(self) -> Btf | None:
        if not self.described.has_btf:
            return None
        data = self._btf_bytes()
        return indexed_btf(data, folder=self._cache / "types") if data else None

    def _btf_bytes(self) -> bytes:
        """From the image where there is one: 5 MB less to carry out of a guest."""
        if self.image is not None and self.image.btf is not None:
            return self.image.btf.read_bytes()
        read = self.kernel.run([Try(ReadFile(_BTF))], timeout=_BTF_TIMEOUT)[0]
        return read.data if isinstance(read, Data) else b""

    def let_stay(self) -> str:
        """Hang up and leave the guest as it is, also when this process ends: the command to enter it, "" for the
        host."""
        if self.machine is None:
            return ""
        self.machine.let_stay()
        self.kernel.close()
        return (
            f"pytest-ebpf shell --enter {shlex.quote(str(self.machine.shell_path))} (kill {self.machine.pid} ends it)"
        )

    def close(self) -> None:
        """Let go of the kernel and end its guest. Idempotent."""
        try:
            self.kernel.close()
        except HarnessError:
            pass  # the guest was lost: there is nothing left to close
        finally:
            if self.machine is not None:
                self.machine.close()
            if self._held is not None:
                self._held.close()
