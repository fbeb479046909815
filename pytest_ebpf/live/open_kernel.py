"""The loader outside pytest: ``with open_kernel("6.1") as bpf`` in a script or a notebook."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from pytest_ebpf.frozen import replace
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import HOST, KernelPool
from pytest_ebpf.kernels.running import RunningKernel
from pytest_ebpf.live.hints import advise
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.machine.machine import BpfVm
from pytest_ebpf.live.session import Session
from pytest_ebpf.vm.images.cache import loads_folder

__all__ = ["open_kernel"]


class _Machine:
    """What ``BpfVm`` shows of a kernel that was opened without pytest."""

    def __init__(self, running: RunningKernel, *, pool: KernelPool) -> None:
        self._running = running
        self._pool = pool

    @property
    def id(self) -> str:
        return self._running.spec

    @property
    def console(self) -> str:
        return self._running.console

    @property
    def accel(self) -> str:
        return self._running.accel

    @property
    def boot_seconds(self) -> float:
        boots = self._pool.boots(self._running.spec)
        return boots[-1] if boots else 0.0

    @property
    def shared(self) -> bool:
        return self._running.spec == HOST


@contextmanager
def open_kernel(
    spec: str = HOST,
    *,
    accel: Literal["auto", "kvm", "tcg"] = "auto",
    memory: str = "1G",
    cpus: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
    mirror: str = "",
    offline: bool = False,
    directories: Sequence[str | os.PathLike[str]] = (),
    keep: Sequence[str | os.PathLike[str]] = (),
) -> Iterator[Bpf]:
    """A loader on the kernel ``spec`` ("host", "6.1", "newest", a path), and its machine as ``bpf.machine``.

    A guest is booted for the block and ended with it; whatever was loaded or attached is removed. ``accel``, ``memory``
    (such as "2G") and ``cpus`` (0: as many as fit) are of the guest. ``cache_dir``: where kernels are kept;
    ``offline``: use only kernels that are in it. ``directories``: where a relative object path is looked for first.
    ``keep``: directories below /tmp that a guest is to see besides the current one; the rest of its /tmp is its own.

    ``BpfUsageError``: an unknown spec, or this process may not call bpf(). ``ImageError``, ``BootFailed``: the kernel
    could not be fetched or booted.
    """
    cache = Path(cache_dir) if cache_dir is not None else None
    config = PoolConfig(accel=accel, memory=memory, cpus=cpus, cache=cache, mirror=mirror, fetch=not offline)
    seen = (Path.cwd(), *(Path(each).absolute() for each in keep))
    with closing(KernelPool(replace(config, keep=seen))) as pool:
        running = pool.get(spec)
        session = Session(running, name="open_kernel: machine", advise=advise)
        machine = BpfVm(_Machine(running, pool=pool), session=session)
        kept = LoadCache(loads_folder(cache))
        places = [Path(each) for each in directories]
        bpf = Bpf(running, name="open_kernel", directories=places, cache=kept, machine=machine)
        try:
            yield bpf
        finally:
            kept.save()
            if not running.lost:
                bpf.close()
                session.close()
