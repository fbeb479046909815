"""A kernel that answers from a script, for tests of what is built on kernels: no root, no system calls.

    kernel = FakeKernel({
        ProgRun: Ran(retval=2, data=b"", ctx=b"", duration=1),          # always the same answer
        MapGet: [Value(b"\\x01"), Value(None)],                          # one after the other, then an error
        MapSet: lambda op: Done() if op.flags == 0 else Failed("MapSet", 22, "flags"),
        lambda op: getattr(op, "path", "") == "/proc/version": Data(b"Linux"),
    })

Keys are op types or predicates, tried in order. Ops that make objects, close them and open or close scopes need no
script: handles, ``Ref``, ``Try``, scopes and stale handles behave as with a real kernel. ``kernel.batches`` holds
every batch as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pytest_ebpf.agent import ops as o
from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Refused, Table
from pytest_ebpf.agent.protocol.scopes import close, scope_close, scope_open
from pytest_ebpf.frozen import fields, is_dataclass

__all__ = ["Answer", "FakeKernel"]

Answer = o.Result | Sequence[o.Result] | Callable[[Any], o.Result]

_MADE_KINDS: dict[type[Any], str] = {
    o.MapCreate: "map",
    o.BtfLoad: "btf",
    o.ProgLoad: "prog",
    o.LinkCreate: "link",
    o.RawTracepointOpen: "link",
    o.PerfEventOpen: "perf_event",
    o.TraceOpen: "trace",
    o.SwitchOn: "switch",
    o.MakeDir: "dir",
    o.OpenFile: "file",
    o.NetNs: "netns",
    o.BtfByName: "btf",
    o.ObjGet: "map",
    o.ObjById: "map",
    o.EnableStats: "stats",
    o.SocketOpen: "socket",
    o.SocketAccept: "socket",
    o.PidFd: "pidfd",
}
_REAL: dict[type[Any], Callable[[Any, Batch], o.Result]] = {
    o.ScopeOpen: scope_open,
    o.ScopeClose: scope_close,
    o.Close: close,
}


class FakeKernel:
    """``answers``: see the module. A script for an op that makes objects may leave the making to the kernel by
    answering ``Done()``."""

    def __init__(self, answers: Mapping[Any, Answer] | None = None) -> None:
        self._rules = [(key, _script(key, answer)) for key, answer in (answers or {}).items()]
        self._table = Table()
        self.batches: list[tuple[o.Op, ...]] = []

    def run(
        self, ops: Sequence[o.Op], *, scope: o.Handle | None = None, timeout: float | None = None
    ) -> list[o.Result]:
        """Run a batch."""
        self.batches.append(tuple(ops))
        batch = Batch(self._table, scope)
        for op in ops:
            tried = isinstance(op, o.Try)
            inner = op.op if isinstance(op, o.Try) else op
            result = self._one(inner, batch)
            batch.results.append(result)
            if isinstance(result, o.Failed | o.ProgRejected) and not tried:
                break
        return batch.results + [o.NotRun()] * (len(ops) - len(batch.results))

    def new_scope(self, name: str) -> o.Handle:
        """A scope, opened at once."""
        opened = self.run([o.ScopeOpen(name)])[0]
        assert isinstance(opened, o.Made), opened
        return opened.handle

    def close(self) -> None:
        """Forget every handle."""
        self._table.close_all()

    def handle(self, kind: str, *, name: str = "") -> o.Handle:
        """A handle as if an op had made it, for scripts that answer ``Made`` or ``ProgLoaded``."""
        return self._table.add(-1, kind, name=name, own=False).handle

    def _one(self, op: Any, batch: Batch) -> o.Result:
        try:
            for obj in _objects(op):
                batch.entry(obj)
            if batch.scope is not None:
                batch.entry(batch.scope)
            result = self._scripted(op)
            if result is None or (isinstance(result, o.Done) and type(op) in _MADE_KINDS):
                result = _unscripted(op, batch)
        except Refused as error:
            return o.Failed(type(op).__name__, 0, str(error))
        return result

    def _scripted(self, op: Any) -> o.Result | None:
        for key, answer in self._rules:
            if isinstance(op, key) if isinstance(key, type) else key(op):
                return answer(op)
        return None


def _script(key: Any, answer: Answer) -> Callable[[Any], o.Result]:
    if is_dataclass(answer):
        return lambda op: answer  # type: ignore[return-value]
    if isinstance(answer, Sequence):
        waiting = iter(answer)
        name = key.__name__ if isinstance(key, type) else "a predicate"
        used_up = f"FakeKernel: the {len(answer)} answers for {name} are used up"
        return lambda op: next(waiting, o.Failed(type(op).__name__, 0, used_up))
    return answer


def _unscripted(op: Any, batch: Batch) -> o.Result:
    if type(op) in _REAL:
        return _REAL[type(op)](op, batch)
    if type(op) not in _MADE_KINDS:
        raise Refused(f"FakeKernel has no answer for {op!r}")
    kind = op.kind if isinstance(op, o.ObjById) else _MADE_KINDS[type(op)]
    name = getattr(op, "name", "") or getattr(op, "path", "")
    handle = batch.own(-1, kind, name=name, site=getattr(op, "site", ""), own=False).handle
    return o.ProgLoaded(handle) if kind == "prog" and isinstance(op, o.ProgLoad) else o.Made(handle)


def _objects(value: Any) -> Iterator[o.Obj]:
    """Every ``Handle`` and ``Ref`` inside an op."""
    if isinstance(value, o.Handle | o.Ref):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _objects(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _objects(getattr(value, field.name))
