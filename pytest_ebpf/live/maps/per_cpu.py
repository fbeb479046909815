"""The values of one processor in a per-CPU map."""

from __future__ import annotations

import errno
from typing import Any

from pytest_ebpf.agent.ops import Done, Failed, Handle, MapGet, MapSet, Try, Value
from pytest_ebpf.live.maps.codec import MapCodec
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.flags import MapFlag

__all__ = ["CpuValues"]


class CpuValues:
    """``m.on_cpu(1)[key]`` and ``m.on_cpu(1)[key] = value``.

    Kernels that have BPF_F_CPU touch that value alone. Before, all are read, and all are written back: what programs
    on other processors count in that instant is lost.
    """

    def __init__(self, session: Session, *, handle: Handle, codec: MapCodec, cpu: int) -> None:
        cpus = session.target.described.cpus
        if not 0 <= cpu < cpus:
            raise IndexError(f"processor {cpu}: the kernel has 0 to {cpus - 1}")
        self._session = session
        self._handle = handle
        self._codec = codec
        self._cpu = cpu
        self._flags = MapFlag.CPU | cpu << 32

    def __getitem__(self, key: object) -> Any:
        raw = self._codec.key(key)
        quick, whole = MapGet(self._handle, raw, self._flags), MapGet(self._handle, raw)
        first, second = self._session.run([Try(quick), Try(whole)])
        if isinstance(first, Value):
            data = first.data
        else:
            data = self._session.checked(whole, second, kind=Value).data
        if data is None:
            raise KeyError(f"{key!r} is not in map {self._codec.name!r}")
        return self._codec.plain.decode(data) if isinstance(first, Value) else self._codec.one_of(data, self._cpu)

    def __setitem__(self, key: object, value: object) -> None:
        raw, one = self._codec.key(key), self._codec.plain.encode(value)
        op = MapSet(self._handle, raw, one, flags=self._flags)
        answer = self._session.attempt(op, Done)
        if isinstance(answer, Failed) and answer.errno == errno.EINVAL:
            self._set_all(raw, value)
        else:
            self._session.checked(op, answer, kind=Done)

    def _set_all(self, raw: Any, value: object) -> None:
        codec, handle = self._codec, self._handle
        data = self._session.one(MapGet(handle, raw), Value).data or codec.bytes_of(bytes(codec.plain.size))
        self._session.one(MapSet(handle, raw, codec.put_one(data, value, cpu=self._cpu)), Done)

    def __repr__(self) -> str:
        return f"<map {self._codec.name} on CPU {self._cpu}>"
