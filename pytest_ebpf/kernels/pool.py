"""Kernel specs -> running kernels, one of each per process.

A guest is booted when it is first asked for, kept for the whole session, and replaced by a fresh one after it was lost.
``close`` ends them all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_ebpf.agent.ops import Data, Describe, Described, Handle, Op, ReadFile, Result, Try
from pytest_ebpf.errors import EbpfError, GuestLost, HarnessError
from pytest_ebpf.kernels.base import Kernel, check

if TYPE_CHECKING:
    from pytest_ebpf.btf.parse import Btf
    from pytest_ebpf.plan.facts import Facts
    from pytest_ebpf.vm.guest.machine import Machine
    from pytest_ebpf.vm.images.image import ImageConfig, KernelImage

__all__ = ["HOST", "KernelPool", "PoolConfig", "RunningKernel", "Waiting", "silent_wait"]

HOST = "host"
_BTF = "/sys/kernel/btf/vmlinux"
_BTF_TIMEOUT = 60.0
_PATIENCE = 1.0  # seconds for QEMU to say how it ended


class Waiting(Protocol):
    """Shown while something takes time: used as ``with wait("booting 6.1") as say: say("kernel is up")``."""

    def __call__(self, what: str) -> AbstractContextManager[Callable[[str], None]]: ...


@contextmanager
def silent_wait(what: str) -> Iterator[Callable[[str], None]]:
    """A ``Waiting`` that shows nothing."""
    yield lambda text: None


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """``accel`` auto, kvm or tcg; ``cache`` None for the user's cache; ``mirror`` "" for the system's own;
    ``boot_timeout`` in seconds on real hardware (emulation gets more); ``fetch``: get missing kernels from the mirror;
    ``keep``: directories that guests see, read-only, although they lie below /tmp, which is a guest's own.
    """

    accel: Literal["auto", "kvm", "tcg"] = "auto"
    require_kvm: bool = False
    cache: Path | None = None
    mirror: str = ""
    boot_timeout: float = 20.0
    fetch: bool = True
    memory: str = "1G"
    cpus: int = 0
    keep: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Boots:
    """What is kept of a spec when its guest is replaced."""

    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Loss:
    """Filled in by the kernel when its guest is gone: the guest may be silent rather than dead."""

    reasons: list[str] = field(default_factory=list)


class _Ahead:
    """A boot in a thread of its own. The thread stays until ``end``, because QEMU is told to die with the thread that
    started it (PR_SET_PDEATHSIG), and it does not hold up the end of the process."""

    def __init__(self, start: Callable[[], RunningKernel], *, name: str) -> None:
        self._start = start
        self._done = threading.Event()
        self._over = threading.Event()
        self._results: list[RunningKernel | BaseException] = []
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._results.append(self._start())
        except BaseException as error:
            self._results.append(error)
        self._done.set()
        self._over.wait()

    @property
    def ready(self) -> bool:
        return self._done.is_set()

    def wait(self) -> None:
        self._done.wait()

    def result(self) -> RunningKernel:
        (result,) = self._results
        if isinstance(result, BaseException):
            raise result
        return result

    def end(self) -> None:
        """Close what came of it. A boot that is under way goes with the process."""
        if self._done.wait(_PATIENCE):
            for result in self._results:
                if isinstance(result, RunningKernel):
                    result.close()
        self._over.set()


class _Guest:
    """A guest's kernel. Its loss is told with the reason: the panic, not only the silence that followed."""

    def __init__(self, kernel: Kernel, *, loss: _Loss) -> None:
        self._kernel = kernel
        self._loss = loss

    def run(self, ops: Sequence[Op], *, scope: Handle | None = None, timeout: float | None = None) -> list[Result]:
        try:
            return self._kernel.run(ops, scope=scope, timeout=timeout)
        except GuestLost as error:
            if self._loss.reasons and self._loss.reasons[0] not in error.message:
                raise GuestLost(f"{error.message}: {self._loss.reasons[0]}", console=error.console) from None
            raise

    def close(self) -> None:
        self._kernel.close()


class RunningKernel:
    """A kernel that answers. ``accel`` is KVM or TCG, or for the host how it is reached; ``accel_reason`` says why
    that; ``lost``: a guest is gone, and what it held with it. ``cache``: where the index of its types is kept."""

    def __init__(
        self,
        spec: str,
        *,
        kernel: Kernel,
        accel: str,
        loss: _Loss,
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
        self._loss = loss
        self._cache = cache
        self.described = check(kernel.run([Describe()])[0], Described)
        self._facts: Facts | None = None

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
        return bool(self._loss.reasons) or (self.machine is not None and not self.machine.alive())

    @property
    def local(self) -> bool:
        """Whether ops run in this process."""
        from pytest_ebpf.kernels.local import LocalKernel

        return isinstance(self.kernel, LocalKernel)

    @property
    def console(self) -> str:
        """The tail of the guest's console, "" for the host."""
        return self.machine.console_tail() if self.machine is not None else ""

    def facts(self) -> Facts:
        """What planning needs: probed once, and the kernel's BTF parsed once."""
        if self._facts is None:
            from pytest_ebpf.plan.facts import facts_ops, read_facts

            results = self.kernel.run(facts_ops(byteorder=self.described.byteorder))
            self._facts = replace(read_facts(results, btf=self._btf()), kconfig=self._kconfig())
        return self._facts

    def _kconfig(self) -> str | None:
        """A guest does not show its configuration; its image does. None: to be asked for."""
        path = self.image.kconfig if self.image is not None else None
        return path.read_text() if path is not None else None

    def _btf(self) -> Btf | None:
        if not self.described.has_btf:
            return None
        from pytest_ebpf.kernels.btf_cache import indexed_btf

        data = self._btf_bytes()
        return indexed_btf(data, folder=self._cache / "types") if data else None

    def _btf_bytes(self) -> bytes:
        """From the image where there is one: 5 MB less to carry out of a guest."""
        if self.image is not None and self.image.btf is not None:
            return self.image.btf.read_bytes()
        read = self.kernel.run([Try(ReadFile(_BTF))], timeout=_BTF_TIMEOUT)[0]
        return read.data if isinstance(read, Data) else b""

    def close(self) -> None:
        """Let go of the kernel and end its guest. Idempotent."""
        try:
            self.kernel.close()
        except HarnessError:
            pass  # it was lost: there is nothing left to close
        finally:
            if self.machine is not None:
                self.machine.close()


class KernelPool:
    """Starts kernels on demand. ``wait`` shows that something takes time."""

    def __init__(self, config: PoolConfig, *, wait: Waiting = silent_wait) -> None:
        self._config = config
        self._wait = wait
        self._running: dict[str, RunningKernel] = {}
        self._boots: dict[str, _Boots] = {}
        self._failed: dict[str, EbpfError] = {}
        self._ahead: dict[str, _Ahead] = {}
        self._threads: list[_Ahead] = []
        self._stack = ExitStack()

    def get(self, spec: str) -> RunningKernel:
        """The running kernel of a spec, booted if need be; after a loss, a fresh guest.

        An error (an image that cannot be had, a boot that failed) is remembered: the next test that asks gets
        it at once instead of waiting for the same failure.
        """
        running = self._running.get(spec)
        if running is not None and not running.lost:
            return running
        if spec in self._failed:
            raise self._failed[spec]
        if running is not None:
            running.close()
            del self._running[spec]
        try:
            started = self._started_ahead(spec) or self._start(spec, wait=self._wait)
        except EbpfError as error:
            self._failed[spec] = error
            raise
        self._running[spec] = started
        return started

    def prefetch(self, spec: str) -> None:
        """Begin to boot a guest that will be asked for soon, in the background. What fails is told by ``get``."""
        if spec == HOST or spec in self._ahead or spec in self._running or spec in self._failed:
            return
        ahead = self._ahead[spec] = _Ahead(lambda: self._start(spec, wait=silent_wait), name=f"boot {spec}")
        self._threads.append(ahead)

    def retire(self, spec: str) -> None:
        """End the guest of a spec that is not needed any more; ``get`` would boot another."""
        running = self._running.get(spec)
        if running is not None and running.machine is not None:
            del self._running[spec]
            running.close()

    def peek(self, spec: str) -> RunningKernel | None:
        """The running kernel of a spec if there is one; boots nothing."""
        return self._running.get(spec)

    def boots(self, spec: str) -> Sequence[float]:
        """Seconds of each boot of a spec so far."""
        kept = self._boots.get(spec)
        return tuple(kept.seconds) if kept is not None else ()

    def interrupt(self) -> None:
        """End whatever runs elsewhere, without asking: an agent that is busy could not answer. The host stays."""
        for spec, running in list(self._running.items()):
            if not running.local:
                del self._running[spec]
                running.close()

    def close(self) -> None:
        """End every guest. Idempotent."""
        while self._running:
            _, running = self._running.popitem()
            running.close()
        while self._threads:
            self._threads.pop().end()
        self._ahead.clear()
        self._stack.close()

    def _started_ahead(self, spec: str) -> RunningKernel | None:
        """The guest that was begun in the background, waited for."""
        ahead = self._ahead.pop(spec, None)
        if ahead is None:
            return None
        if not ahead.ready:
            with self._wait(f"booting {spec}"):
                ahead.wait()
        running = ahead.result()
        return None if running.lost else running

    def _start(self, spec: str, *, wait: Waiting) -> RunningKernel:
        return self._open_host() if spec == HOST else self._boot(spec, wait=wait)

    def _open_host(self) -> RunningKernel:
        from pytest_ebpf.kernels.host import open_host_kernel
        from pytest_ebpf.vm.images.cache import default_cache

        cache = self._config.cache or default_cache()
        running = RunningKernel(HOST, kernel=open_host_kernel(), accel="this machine", loss=_Loss(), cache=cache)
        running.accel += "" if running.local else ", through sudo"
        return running

    def _boot(self, spec: str, *, wait: Waiting) -> RunningKernel:
        from pytest_ebpf.vm.guest.config import BootConfig
        from pytest_ebpf.vm.guest.machine import boot
        from pytest_ebpf.vm.images.image import ImageConfig, in_use

        images = ImageConfig(mirror=self._config.mirror, cache=self._config.cache)
        image = self._image(spec, config=images, wait=wait)
        self._stack.enter_context(in_use(image, config=images))
        with wait(f"booting {spec}") as say:
            config = BootConfig(
                accel=self._config.accel,
                require_kvm=self._config.require_kvm,
                cpus=self._config.cpus,
                memory=self._config.memory,
                boot_timeout=self._config.boot_timeout,
                cache=images.store.root,
                on_progress=say,
                keep=self._config.keep,
            )
            began = time.monotonic()
            machine = boot(image, config=config)
            try:
                running = self._connect(spec, machine, image=image, cache=images.store.root)
            except BaseException:
                machine.close()
                raise
        self._boots.setdefault(spec, _Boots()).seconds.append(time.monotonic() - began)
        return running

    def _connect(self, spec: str, machine: Machine, *, image: KernelImage, cache: Path) -> RunningKernel:
        from pytest_ebpf.kernels.remote import RemoteKernel

        loss = _Loss()

        def lost(reason: str) -> str:
            loss.reasons.append(machine.exit_reason(_PATIENCE) or reason)
            return machine.console_tail()

        remote = RemoteKernel(machine.stream, name=spec, scale=machine.accel.factor, on_lost=lost)
        kernel = _Guest(remote, loss=loss)
        accel = machine.accel.kind.upper()
        return RunningKernel(spec, kernel=kernel, machine=machine, image=image, accel=accel, loss=loss, cache=cache)

    def _image(self, spec: str, *, config: ImageConfig, wait: Waiting) -> KernelImage:
        """From the cache; from the mirror the first time."""
        from pytest_ebpf.vm.images.image import cached_entry, resolve
        from pytest_ebpf.vm.images.spec import SeriesSpec, parse_spec

        parsed = parse_spec(spec)
        if not self._config.fetch or not isinstance(parsed, SeriesSpec):
            return resolve(spec, config=config)
        if cached_entry(parsed, store=config.store) is not None:
            return resolve(spec, config=config)
        from pytest_ebpf.vm.images.fetch import fetch

        with wait(f"fetching kernel {spec}"):
            return fetch([spec], config=config)[0]
