"""The host's end of the wire, against a real agent that needs no privileges."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import (
    Data,
    Describe,
    Described,
    Exited,
    Failed,
    ReadFile,
    Spawn,
    WriteFile,
)
from pytest_ebpf.errors import GuestLost
from pytest_ebpf.kernels.host import open_agent_kernel
from pytest_ebpf.kernels.remote import RemoteKernel


@pytest.fixture
def agent() -> Iterator[RemoteKernel]:
    with open_agent_kernel(name="agent") as kernel:
        yield kernel


def test_a_real_agent(agent: RemoteKernel, tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    data = bytes(range(256)) * 40_000
    results = agent.run([WriteFile(path, data), ReadFile(path), Describe()])
    assert results[1] == Data(data)
    assert isinstance(results[2], Described)


def test_what_ops_print_does_not_disturb_the_protocol(agent: RemoteKernel) -> None:
    results = agent.run([Spawn(("/bin/sh", "-c", "echo noise > /proc/$PPID/fd/1; echo said"))])
    assert isinstance(results[0], Exited)
    assert results[0].stdout == b"said\n"
    assert isinstance(agent.run([Describe()])[0], Described)


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


def test_a_killed_agent_is_lost(agent: RemoteKernel) -> None:
    import os

    os.kill(child_pid(agent), signal.SIGKILL)
    with pytest.raises(GuestLost, match="lost during Describe"):
        agent.run([Describe()])


def test_a_stopped_agent_is_lost_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from pytest_ebpf.kernels import remote

    with open_agent_kernel(name="agent") as kernel:
        monkeypatch.setattr(remote, "_PATIENCE", 0.3)
        os.kill(child_pid(kernel), signal.SIGSTOP)
        with pytest.raises(GuestLost, match="did not answer within"):
            kernel.run([Describe()])
        assert gone(child_pid(kernel))


def test_a_stopped_agent_is_lost_soon_however_long_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from pytest_ebpf.kernels import remote

    with open_agent_kernel(name="agent") as kernel:
        monkeypatch.setattr(remote, "_SILENCE", 0.3)
        os.kill(child_pid(kernel), signal.SIGSTOP)
        with pytest.raises(GuestLost, match="no sign of life"):
            kernel.run([Spawn(("/bin/sleep", "60"), timeout=60)])


def test_an_agent_that_works_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_ebpf.kernels import remote

    with open_agent_kernel(name="agent") as kernel:
        monkeypatch.setattr(remote, "_SILENCE", 1.5)
        assert kernel.run([Spawn(("/bin/sleep", "2.5"), timeout=60)]) == [Exited(0, b"", b"")]


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


def test_failures_cross_the_wire_as_values(agent: RemoteKernel) -> None:
    (result,) = agent.run([ReadFile("/no/such")])
    assert result == Failed("ReadFile", 2, "/no/such: No such file or directory")
