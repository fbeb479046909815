"""The buffer of a program's log is used for the next one's, and shows nothing of it."""

from __future__ import annotations

import ctypes

import pytest

from pytest_ebpf.agent.base.syscalls import Memory, address_of_buffer
from pytest_ebpf.agent.bpf import progs
from pytest_ebpf.agent.bpf.progs import _buffer, _load
from pytest_ebpf.uapi.enums import Cmd
from pytest_ebpf.uapi.layouts import ATTR_PROG_LOAD

ROOM = 64 << 10


def attempts(
    texts: list[bytes], monkeypatch: pytest.MonkeyPatch, *, room: int = ROOM
) -> tuple[list[bytes], dict[str, object]]:
    """The logs of loads of which the kernel writes these."""
    kept: dict[str, object] = {}
    left = list(texts)
    made: list[Memory] = []

    class Recorded(Memory):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            made.append(self)

    def kernel(cmd: Cmd, attr: bytearray) -> int:
        text = left.pop(0)
        made[-1].view[: len(text)] = text
        return 7

    monkeypatch.setattr(progs, "Memory", Recorded)
    monkeypatch.setattr(progs, "bpf_errno", kernel)
    found = [
        _load(Cmd.PROG_LOAD, ATTR_PROG_LOAD, fields={}, level=4, room=room, kept=kept).log for _ in range(len(texts))
    ]
    return found, kept


def test_a_log_shows_nothing_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [b"processed 100 insns, stack depth 8\n", b"processed 2\n", b"", b"x" * 1000]
    found, kept = attempts(texts, monkeypatch)
    assert found == texts
    (log,) = kept.values()
    assert isinstance(log, Memory)
    assert bytes(log.view) == bytes(ROOM)


def test_a_buffer_that_is_full_or_of_another_size_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    found, kept = attempts([b"y" * ROOM, b"z"], monkeypatch)
    assert found == [b"y" * ROOM, b"z"]
    assert attempts([b"small"], monkeypatch, room=100)[1] == {}
    assert _buffer(100, kept).size == 100


def test_one_load_at_a_time_has_the_buffer() -> None:
    kept: dict[str, object] = {}
    first = _buffer(ROOM, kept)
    kept[progs._LOG] = first
    assert _buffer(ROOM, kept) is first
    assert _buffer(ROOM, kept) is not first


def test_the_address_of_a_buffer_is_where_its_bytes_are() -> None:

    data = bytearray(b"abc")
    assert ctypes.string_at(address_of_buffer(data), 3) == b"abc"
    assert address_of_buffer(bytearray()) == 0
