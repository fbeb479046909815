"""A kernel behind a stream: frames to an agent in a guest, or in a process with more privileges."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from pytest_ebpf.agent.ops import (
    Handle,
    In,
    Op,
    ProgLoad,
    Result,
    Try,
    new_scope,
)
from pytest_ebpf.agent.protocol.wire import Alive, Codec, Decoder, Hello, Message, Reply, Request, WireError
from pytest_ebpf.errors import BpfUsageError, GuestLost, HarnessError
from pytest_ebpf.kernels.loss import Loss
from pytest_ebpf.outcome import Outcome

__all__ = ["RemoteKernel", "Stream", "needed_seconds"]

_CHUNK = 1 << 20
_PATIENCE = 100.0  # seconds for a batch beyond what its ops name themselves: the verifier may take many
_SILENCE = 5.0  # seconds without a sign of life, which an agent that works gives every second
_STALL = 5.0  # seconds between two pieces of one answer
_BYTES_PER_SECOND = 20e6  # what a virtio port under emulation carries, with room to spare
_NAMED = 4  # ops named in a message


class Stream(Protocol):
    """Bytes to and from an agent. ``timeout`` in seconds covers the call; a silent other end is ``TimeoutError``."""

    def read(self, n: int, timeout: float | None = None) -> bytes:
        """One to ``n`` bytes, none at end of file."""
        ...

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """All of ``data``. ``OSError`` when the agent is not there."""
        ...

    def close(self) -> None:
        """Hang up. Idempotent."""
        ...


def needed_seconds(ops: Sequence[Op]) -> float:
    """The waiting that ops ask for themselves."""
    total = 0.0
    for op in ops:
        inner = op
        while isinstance(inner, Try | In):
            inner = inner.op
        total += getattr(inner, "timeout", 0.0) + getattr(inner, "timeout_ms", 0) / 1000
    return total


class _Sent(NamedTuple):
    """A batch that the agent has."""

    id: int
    ops: Sequence[Op]
    allowed: float  # seconds for it


class RemoteKernel:
    """``name`` is for messages; ``scale`` multiplies deadlines (an emulated guest is slow); ``on_lost(loss)`` is
    called once when the agent is lost, with what the connection knows; it returns what is known about the machine."""

    def __init__(
        self, stream: Stream, *, name: str, scale: float = 1.0, on_lost: Callable[[Loss], Loss] | None = None
    ) -> None:
        self.name = name
        self._stream = stream
        self._scale = scale
        self._on_lost = on_lost
        self._codec = Codec()
        self._decoder = Decoder(self._codec)
        self._inbox: list[Message] = []
        self._id = 0
        self._lock = threading.Lock()
        self._lost: GuestLost | None = None
        self._owner = os.getpid()
        self._closed = False
        self._answered = 0
        self._started = 0
        self._early: Reply | None = None  # the answer to what was started, when something else was run before it came
        self._scopes = 0
        self.heard, self.logged = 0.0, -1  # monotonic seconds of the last answer, and its ``Reply.logged``
        self.hello = self._greet()

    def run(self, ops: Sequence[Op], *, scope: Handle | None = None, timeout: float | None = None) -> list[Result]:
        """Run a batch. Raises ``GuestLost`` when the agent ends or does not answer, and at once from then on."""
        with self._entered():
            sent = self._begin(ops, scope, timeout=timeout)
            return self._finish(sent)

    def start(self, ops: Sequence[Op], *, scope: Handle | None = None) -> Callable[[], list[Result]]:
        """Send a batch, and go on while the agent runs it: the result waits for the answer, and raises as ``run`` does.
        One at a time: the answer to the batch that was started before is lost. What is run meanwhile waits in line."""
        with self._entered():
            sent = self._begin(ops, scope, timeout=None)
            self._started, self._early = sent.id, None

        def finish() -> list[Result]:
            with self._entered():
                return self._finish(sent)

        return finish

    def new_scope(self, name: str) -> Handle:
        """A scope that is opened by the first batch in it. Raises ``GuestLost`` if the agent is known to be lost."""
        if self._lost is not None:
            raise self._gone_before()
        self._scopes += 1
        return new_scope(self.hello.boot, self._scopes, name=name)

    @property
    def busy(self) -> bool:
        """Whether the agent owes the answer to a batch that was interrupted here."""
        return self._lost is None and self._answered != self._id

    def close(self) -> None:
        """Hang up; the agent closes what is left. In a child of this process: nothing, the agent is the parent's."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._closed = True
            self._stream.close()

    def __enter__(self) -> RemoteKernel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Nobody else uses the connection, and it can be used."""
        if os.getpid() != self._owner:
            raise self._forked()
        with self._lock:
            if self._lost is not None:
                raise self._gone_before()
            if self._closed:
                raise HarnessError(f"kernel {self.name} was closed")
            yield

    def _begin(self, ops: Sequence[Op], scope: Handle | None, *, timeout: float | None) -> _Sent:
        self._id += 1
        frame = self._encode(Request(self._id, tuple(ops), scope))
        allowed = (needed_seconds(ops) + (timeout or 0.0) + _PATIENCE) * self._scale
        sent = _Sent(self._id, ops, allowed + len(frame) / _BYTES_PER_SECOND)
        self._send(frame, ops, deadline=time.monotonic() + sent.allowed)
        return sent

    def _finish(self, sent: _Sent) -> list[Result]:
        ops, reply = sent.ops, self._reply(sent)
        if reply.error:
            raise HarnessError(f"kernel {self.name}: the agent could not answer {_names(ops)}: {reply.error}")
        if len(reply.results) != len(ops):
            raise HarnessError(f"kernel {self.name}: {len(reply.results)} results for {len(ops)} operations")
        return list(reply.results)

    def _encode(self, request: Request) -> bytes:
        try:
            return self._codec.encode(request)
        except WireError as error:
            raise HarnessError(f"kernel {self.name}: {error}") from error

    def _greet(self) -> Hello:
        message = self._receive((), deadline=time.monotonic() + _PATIENCE * self._scale, what="to say hello")
        if not isinstance(message, Hello):
            raise self._lose(f"the agent began with {type(message).__name__}", ())
        return message

    def _send(self, frame: bytes, ops: Sequence[Op], *, deadline: float) -> None:
        try:
            self._stream.write(frame, max(0.001, deadline - time.monotonic()))
        except TimeoutError:
            raise self._lose("it hangs: it stopped reading", ops, outcome=Outcome.HANG) from None
        except OSError as error:
            raise self._lose(f"the connection broke ({error.strerror or error})", ops) from error
        except BaseException:
            self._lose("sending was interrupted", ops)  # half a frame is out: nothing can follow it
            raise

    def _reply(self, sent: _Sent) -> Reply:
        early, deadline = self._early, time.monotonic() + sent.allowed
        if early is not None and early.id == sent.id:
            return early
        while True:
            message = self._receive(sent.ops, deadline=deadline, what=f"within {sent.allowed:.0f} s")
            if not isinstance(message, Reply) or message.id > self._id:
                raise self._lose(f"the agent sent {type(message).__name__} out of turn", sent.ops)
            self._answered = message.id
            if message.id not in (sent.id, self._started):
                continue  # it answers a batch that was interrupted
            self.heard, self.logged = time.monotonic(), message.logged
            if message.id == sent.id:
                return message
            self._early = message

    def _receive(self, ops: Sequence[Op], *, deadline: float, what: str) -> Message:
        silence = _SILENCE * self._scale if ops else _PATIENCE * self._scale
        while not self._inbox:
            wanted = min(max(self._decoder.missing, 1 << 16), _CHUNK)
            left = deadline - time.monotonic()
            try:
                data = self._stream.read(wanted, max(0.001, min(left, silence)))
                if not data:
                    raise self._lose("it died (its end of the connection is closed)", ops)
                messages = self._decoder.feed(data)
                self._inbox = [message for message in messages if not isinstance(message, Alive)]
                if self._inbox or not messages:  # an answer is on its way
                    deadline = max(deadline, time.monotonic() + _STALL * self._scale)
            except TimeoutError:
                late = (
                    f"it did not answer {what}" if left <= silence else f"it hangs: no sign of life for {silence:.0f} s"
                )
                raise self._lose(late, ops, outcome=Outcome.HANG) from None
            except WireError as error:
                raise self._lose(f"it sent garbage: {error}", ops) from error
            except OSError as error:
                raise self._lose(f"the connection broke ({error.strerror or error})", ops) from error
        return self._inbox.pop(0)

    def _lose(self, reason: str, ops: Sequence[Op], *, outcome: Outcome = Outcome.FAILED) -> GuestLost:
        loss = Loss(reason, outcome)
        if self._on_lost is not None:
            loss = self._on_lost(loss)
        self._lost = loss.error(self.name, during=_names(ops))
        self._stream.close()
        return self._lost

    def _gone_before(self) -> GuestLost:
        assert self._lost is not None
        lost = self._lost
        return GuestLost(
            f"kernel {self.name} was lost; earlier: {lost.message}", console=lost.console, outcome=lost.outcome
        )

    def _forked(self) -> BpfUsageError:
        return BpfUsageError(
            f"process {os.getpid()} is a fork of the one that uses kernel {self.name} ({self._owner}): they would read "
            "each other's answers",
            hint="Use the kernel in the parent, and let the child do what needs none.",
        )


def _names(ops: Sequence[Op]) -> str:
    names = [_name(op.op if isinstance(op, Try) else op) for op in ops]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _name(op: Op) -> str:
    """The operation, with the program that it is about."""
    prog = getattr(op, "prog", None)
    program = op.name if isinstance(op, ProgLoad) else prog.name if isinstance(prog, Handle) else ""
    return f"{type(op).__name__} of program {program!r}" if program else type(op).__name__
