"""The host's end of the wire, against scripted streams. A real agent: tests/slow/kernels/test_remote.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pytest_ebpf.agent.ops import (
    Data,
    Describe,
    Exited,
    Handle,
    KmsgSince,
    PerfDrain,
    ProgRun,
    ReadFile,
    Ref,
    Result,
    RingDrain,
    Spawn,
    TraceDrain,
    Try,
)
from pytest_ebpf.agent.protocol.wire import Codec, Decoder, Hello, Reply, Request
from pytest_ebpf.errors import BpfUsageError, GuestLost, HarnessError
from pytest_ebpf.kernels.loss import Loss
from pytest_ebpf.kernels.remote import RemoteKernel, needed_seconds
from pytest_ebpf.outcome import Outcome

HELLO = Hello("boot", "3.11.2", 1)
Answer = Callable[[Request], list[Any]]


class ScriptedStream:
    """A stream whose other end is a function: request -> messages (or raw bytes, or exceptions to raise on read)."""

    def __init__(self, answer: Answer, *, hello: Any = HELLO) -> None:
        self._answer = answer
        self._codec = Codec()
        self._decoder = Decoder(self._codec)
        self._out: list[Any] = [hello]
        self.timeouts: list[float] = []
        self.closed = 0

    def read(self, n: int, timeout: float | None = None) -> bytes:
        assert timeout is not None
        self.timeouts.append(timeout)
        if not self._out:
            raise TimeoutError
        item = self._out.pop(0)
        if isinstance(item, BaseException):
            raise item
        return item if isinstance(item, bytes) else self._codec.encode(item)

    def write(self, data: bytes, timeout: float | None = None) -> None:
        for request in self._decoder.feed(data):
            assert isinstance(request, Request)
            self._out += self._answer(request)

    def close(self) -> None:
        self.closed += 1


def silent(request: Request) -> list[Any]:
    return []


def answering(*results: Result) -> Answer:
    return lambda request: [Reply(request.id, results)]


def test_results_come_back() -> None:
    stream = ScriptedStream(answering(Data(b"x")))
    kernel = RemoteKernel(stream, name="6.1")
    assert kernel.hello == HELLO
    assert kernel.run([ReadFile("/x")]) == [Data(b"x")]
    kernel.close()
    assert stream.closed == 1
    with pytest.raises(HarnessError, match="was closed"):
        kernel.run([Describe()])


def test_silence_is_a_lost_guest_that_stays_lost() -> None:
    asked: list[Loss] = []

    def console(loss: Loss) -> Loss:
        asked.append(loss)
        return replace(loss, console="Kernel panic - not syncing")

    kernel = RemoteKernel(ScriptedStream(silent), name="6.1", on_lost=console)
    with pytest.raises(
        GuestLost, match=r"kernel 6\.1 was lost during ReadFile, Describe: it hangs: no sign of life"
    ) as lost:
        kernel.run([ReadFile("/x"), Try(Describe())])
    assert lost.value.console == "Kernel panic - not syncing"
    with pytest.raises(GuestLost, match=r"kernel 6\.1 was lost; earlier: kernel 6\.1 was lost during") as again:
        kernel.run([Describe()])
    assert again.value.console == "Kernel panic - not syncing"
    assert again.value.outcome is lost.value.outcome is Outcome.HANG
    assert len(asked) == 1


def test_a5_a_hang_names_operation_and_program() -> None:
    kernel = RemoteKernel(ScriptedStream(silent), name="6.1")
    with pytest.raises(GuestLost, match=r"lost during ProgRun of program 'police': it hangs"):
        kernel.run([ProgRun(Handle(1, "boot", name="police"), b"")])


def test_a6_a_forked_child_is_refused_and_leaves_the_connection_alone() -> None:
    stream = ScriptedStream(answering(Data(b"x")))
    kernel = RemoteKernel(stream, name="6.1")
    child = os.fork()
    if child == 0:
        refused = False
        try:
            kernel.run([Describe()])
        except BpfUsageError as error:
            refused = "is a fork of the one that uses kernel 6.1" in str(error)
        kernel.close()
        os._exit(0 if refused and stream.closed == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert kernel.run([ReadFile("/x")]) == [Data(b"x")]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([b""], "it died"),
        ([b"\xff" * 8], "garbage"),
        ([ConnectionResetError(104, "Connection reset by peer")], "connection broke"),
        ([Hello("other", "3", 1)], "out of turn"),
        ([Reply(99)], "out of turn"),
    ],
)
def test_every_way_to_go(items: list[Any], words: str) -> None:
    kernel = RemoteKernel(ScriptedStream(lambda request: items), name="k")
    with pytest.raises(GuestLost, match=words):
        kernel.run([Describe()])


def test_a_guest_that_never_says_hello() -> None:
    with pytest.raises(GuestLost, match="to say hello"):
        RemoteKernel(ScriptedStream(silent, hello=TimeoutError()), name="k")
    with pytest.raises(GuestLost, match="began with Reply"):
        RemoteKernel(ScriptedStream(silent, hello=Reply(1)), name="k")


def test_a_pipe_nobody_reads() -> None:
    stream = ScriptedStream(silent)
    kernel = RemoteKernel(stream, name="k")

    def full(data: bytes, timeout: float | None = None) -> None:
        raise TimeoutError

    stream.write = full  # type: ignore[method-assign]
    with pytest.raises(GuestLost, match="stopped reading"):
        kernel.run([Describe()])


def test_answers_to_an_interrupted_batch_are_dropped() -> None:
    interrupted = [KeyboardInterrupt()]

    def answer(request: Request) -> list[Any]:
        return [*(interrupted.pop() for _ in list(interrupted)), Reply(request.id, (Data(b"%d" % request.id),))]

    kernel = RemoteKernel(ScriptedStream(answer), name="k")
    with pytest.raises(KeyboardInterrupt):
        kernel.run([ReadFile("/1")])
    assert kernel.run([ReadFile("/2")]) == [Data(b"2")]


def numbered(request: Request) -> list[Any]:
    return [Reply(request.id, (Data(b"%d" % request.id),))]


def test_15_a_batch_is_started_and_its_answer_waited_for_later() -> None:
    stream = ScriptedStream(numbered)
    kernel = RemoteKernel(stream, name="k")
    reads = len(stream.timeouts)
    finish = kernel.start([ReadFile("/1")])
    assert (len(stream.timeouts), kernel.busy) == (reads, True)
    assert finish() == [Data(b"1")]
    assert not kernel.busy


def test_15_what_runs_meanwhile_waits_in_line() -> None:
    kernel = RemoteKernel(ScriptedStream(numbered), name="k")
    finish = kernel.start([ReadFile("/1")])
    assert kernel.run([ReadFile("/2")]) == [Data(b"2")]
    assert finish() == [Data(b"1")]
    assert kernel.run([ReadFile("/3")]) == [Data(b"3")]


def test_15_a_batch_that_nobody_waits_for_disturbs_nobody() -> None:
    kernel = RemoteKernel(ScriptedStream(numbered), name="k")
    kernel.start([ReadFile("/1")])
    finish = kernel.start([ReadFile("/2")])
    assert kernel.run([ReadFile("/3")]) == [Data(b"3")]
    assert finish() == [Data(b"2")]


def test_15_a_guest_that_is_lost_in_a_started_batch_says_in_which() -> None:
    kernel = RemoteKernel(ScriptedStream(silent), name="6.1")
    finish = kernel.start([ReadFile("/1")])
    with pytest.raises(GuestLost, match=r"lost during ReadFile: it hangs"):
        finish()
    with pytest.raises(GuestLost, match="earlier"):
        kernel.start([Describe()])


def test_an_interrupt_in_the_middle_of_sending_ends_the_kernel() -> None:
    stream = ScriptedStream(silent)
    kernel = RemoteKernel(stream, name="k")

    def interrupted(data: bytes, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    stream.write = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        kernel.run([Describe()])
    with pytest.raises(GuestLost, match="sending was interrupted"):
        kernel.run([Describe()])


def test_an_agent_that_cannot_answer_lives_on() -> None:
    replies = [Reply(1, error="MemoryError: "), Reply(2, (Data(b""),))]
    kernel = RemoteKernel(ScriptedStream(lambda request: [replies.pop(0)]), name="k")
    with pytest.raises(HarnessError, match=r"could not answer ReadFile: MemoryError") as error:
        kernel.run([ReadFile("/x")])
    assert not isinstance(error.value, GuestLost)
    assert kernel.run([ReadFile("/x")]) == [Data(b"")]


def test_results_are_counted() -> None:
    kernel = RemoteKernel(ScriptedStream(answering(Data(b""))), name="k")
    with pytest.raises(HarnessError, match="1 results for 2 operations"):
        kernel.run([ReadFile("/a"), ReadFile("/b")])


def test_what_cannot_be_sent_hurts_nobody() -> None:
    kernel = RemoteKernel(ScriptedStream(answering(Data(b""))), name="k")
    with pytest.raises(HarnessError, match="cannot send"):
        kernel.run([ReadFile(object())])  # type: ignore[arg-type]
    assert kernel.run([ReadFile("/x")]) == [Data(b"")]


def test_deadlines_follow_the_ops_and_the_scale() -> None:
    assert needed_seconds([Spawn(("a",), timeout=7), Try(RingDrain(Ref(0), timeout_ms=500)), Describe()]) == 7.5
    assert needed_seconds([PerfDrain(Ref(0), timeout_ms=250), TraceDrain(Ref(0), timeout_ms=250)]) == 0.5
    assert needed_seconds([KmsgSince()]) == 0
    stream = ScriptedStream(answering(Exited(0, b"", b"")))
    RemoteKernel(stream, name="k", scale=5).run([Spawn(("a",), timeout=60)], timeout=10)
    assert stream.timeouts[-1] == 5 * 5, "the agent gives a sign of life well before the deadline"


def test_long_lists_of_ops_are_cut_in_messages() -> None:
    kernel = RemoteKernel(ScriptedStream(silent), name="k")
    with pytest.raises(GuestLost, match="Describe, Describe, Describe, Describe and 6 more"):
        kernel.run([Describe()] * 10)
