"""The host's end of the wire, against scripted streams; then against a real agent that needs no privileges."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf.agent.ops import (
    Data,
    Describe,
    Described,
    Exited,
    Failed,
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
    WriteFile,
)
from pytest_ebpf.agent.protocol.wire import Codec, Decoder, Hello, Reply, Request
from pytest_ebpf.errors import BpfUsageError, GuestLost, HarnessError
from pytest_ebpf.kernels.host import open_agent_kernel
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


@pytest.fixture
def agent() -> Iterator[RemoteKernel]:
    with open_agent_kernel(name="agent") as kernel:
        yield kernel


@pytest.mark.slow
def test_a_real_agent(agent: RemoteKernel, tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    data = bytes(range(256)) * 40_000
    results = agent.run([WriteFile(path, data), ReadFile(path), Describe()])
    assert results[1] == Data(data)
    assert isinstance(results[2], Described)


@pytest.mark.slow
def test_what_ops_print_does_not_disturb_the_protocol(agent: RemoteKernel) -> None:
    results = agent.run([Spawn(("/bin/sh", "-c", "echo noise > /proc/$PPID/fd/1; echo said"))])
    assert isinstance(results[0], Exited)
    assert results[0].stdout == b"said\n"
    assert isinstance(agent.run([Describe()])[0], Described)


@pytest.mark.slow
def test_threads_take_turns(agent: RemoteKernel, tmp_path: Path) -> None:
    wrong: list[object] = []

    def worker(name: str) -> None:
        path = str(tmp_path / name)
        for _ in range(50):
            results = agent.run([WriteFile(path, name.encode()), ReadFile(path)])
            if results[1] != Data(name.encode()):
                wrong.append(results)

    threads = [threading.Thread(target=worker, args=(f"t{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def child_pid(kernel: RemoteKernel) -> int:
    return kernel.hello.pid


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        with suppress(FileNotFoundError, ProcessLookupError):
            if stat.read_text().rsplit(")", 1)[1].split()[0] != "Z":
                time.sleep(0.01)
                continue
        return True
    return False


@pytest.mark.slow
def test_a_killed_agent_is_lost(agent: RemoteKernel) -> None:
    import os

    os.kill(child_pid(agent), signal.SIGKILL)
    with pytest.raises(GuestLost, match="lost during Describe"):
        agent.run([Describe()])


@pytest.mark.slow
def test_a_stopped_agent_is_lost_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from pytest_ebpf.kernels import remote

    with open_agent_kernel(name="agent") as kernel:
        monkeypatch.setattr(remote, "_PATIENCE", 0.3)
        os.kill(child_pid(kernel), signal.SIGSTOP)
        with pytest.raises(GuestLost, match="did not answer within"):
            kernel.run([Describe()])
        assert gone(child_pid(kernel))


@pytest.mark.slow
def test_a_stopped_agent_is_lost_soon_however_long_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from pytest_ebpf.kernels import remote

    with open_agent_kernel(name="agent") as kernel:
        monkeypatch.setattr(remote, "_SILENCE", 0.3)
        os.kill(child_pid(kernel), signal.SIGSTOP)
        with pytest.raises(GuestLost, match="no sign of life"):
            kernel.run([Spawn(("/bin/sleep", "60"), timeout=60)])


@pytest.mark.slow
def test_an_agent_that_works_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_ebpf.kernels import remote

    with open_agent_kernel(name="agent") as kernel:
        monkeypatch.setattr(remote, "_SILENCE", 1.5)
        assert kernel.run([Spawn(("/bin/sleep", "2.5"), timeout=60)]) == [Exited(0, b"", b"")]


@pytest.mark.slow
def test_an_agent_ends_with_the_connection_also_when_it_waits() -> None:
    kernel = open_agent_kernel(name="agent")
    pid = child_pid(kernel)
    waiting = threading.Thread(target=lambda: _ignore(lambda: kernel.run([Spawn(("/bin/sleep", "60"), timeout=60)])))
    waiting.start()
    time.sleep(0.3)
    kernel._stream._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]  # as if this process was killed
    assert gone(pid)
    waiting.join(10)
    assert not waiting.is_alive()
    kernel.close()


def _ignore(call: Callable[[], object]) -> None:
    with suppress(GuestLost):
        call()


def test_an_agent_that_cannot_start_says_why() -> None:
    with pytest.raises(GuestLost) as lost:
        open_agent_kernel(prefix=("/bin/sh", "-c", "echo 'a password is required' >&2; exit 1"), name="host")
    assert lost.value.console == "a password is required"


@pytest.mark.slow
def test_failures_cross_the_wire_as_values(agent: RemoteKernel) -> None:
    (result,) = agent.run([ReadFile("/no/such")])
    assert result == Failed("ReadFile", 2, "/no/such: No such file or directory")
