"""Packet sockets: frames out of one interface, into another."""

from __future__ import annotations

import time

import pytest

from pytest_ebpf.agent.ops import (
    Close,
    Done,
    Failed,
    Handle,
    Netlink,
    NetNs,
    PacketDrain,
    PacketOpen,
    PacketSend,
    Records,
    Spawn,
    Start,
)
from pytest_ebpf.kernels.base import check, made
from pytest_ebpf.live.net.netlink import netlink_op
from pytest_ebpf.live.net.requests import Device, add_veth, set_link
from support.contract_kernels import Run

MARK = 0x12345678
FRAME = bytes.fromhex("02aaaaaaaa02 02aaaaaaaa01 88b5") + b"hello"
TAGGED = FRAME[:12] + bytes.fromhex("81006007") + FRAME[12:]


@pytest.fixture
def spaces(run: Run) -> tuple[Handle, Handle]:
    """Two namespaces with a pair of interfaces: "one" in the first, "two" in the second, both with index 2."""
    near, far = (made(result) for result in run(NetNs(), NetNs()))
    pair = add_veth(Device("one", FRAME[6:12]), Device("two", FRAME[:6]), namespace=MARK)
    run(netlink_op(pair, netns=near, fds={MARK: far}))
    for space in (far, near):  # whichever comes last sends at once
        run(Netlink(set_link(2, quiet=True) + set_link(2, up=True), netns=space))
    return near, far


def test_frames_arrive_as_they_were_sent(run: Run, spaces: tuple[Handle, Handle]) -> None:
    near, far = spaces
    receiver, sender = (made(r) for r in run(PacketOpen("two", netns=far), PacketOpen("one", netns=near)))
    assert run(PacketSend(sender, (FRAME, TAGGED, bytes(1514)))) == [Done()]
    assert run(PacketDrain(receiver, at_least=3, timeout_ms=5000)) == [Records((FRAME, TAGGED, bytes(1514)))]
    assert run(PacketDrain(sender)) == [Records(())]  # what it sent itself is no news
    assert run(Close(receiver)) == [Done()]
    assert "was closed" in check(run(PacketDrain(receiver))[0], Failed).text


def test_waiting_for_frames(run: Run, spaces: tuple[Handle, Handle]) -> None:
    near, far = spaces
    receiver, sender = (made(r) for r in run(PacketOpen("two", netns=far), PacketOpen("one", netns=near)))
    began = time.monotonic()
    assert run(PacketDrain(receiver, timeout_ms=300)) == [Records(())]
    assert time.monotonic() - began > 0.25
    run(PacketSend(sender, (FRAME,) * 5))
    assert run(PacketDrain(receiver, at_least=9, limit=2, timeout_ms=5000)) == [Records((FRAME,) * 2)]
    assert run(PacketDrain(receiver, at_least=3, timeout_ms=5000)) == [Records((FRAME,) * 3)]


def test_c14_that_nothing_comes_is_sure_before_the_time_is_up(run: Run, spaces: tuple[Handle, Handle]) -> None:
    """Of an hour: markers behind the frames tell that all have arrived."""
    near, far = spaces
    receiver, sender = (made(r) for r in run(PacketOpen("two", netns=far), PacketOpen("one", netns=near)))
    for count in (0, 3, 900):
        run(PacketSend(sender, (FRAME,) * count))
        assert run(PacketDrain(receiver, 1 << 30, timeout_ms=3_600_000, quiet_ms=0)) == [Records((FRAME,) * count)]


def test_c14_a_process_of_the_test_may_still_send(run: Run, spaces: tuple[Handle, Handle]) -> None:
    near, far = spaces
    receiver, sender = (made(r) for r in run(PacketOpen("two", netns=far), PacketOpen("one", netns=near)))
    run(Start(Spawn(("/bin/sleep", "100"))))
    began = time.monotonic()
    assert run(PacketDrain(receiver, timeout_ms=300, quiet_ms=0)) == [Records(())]
    assert time.monotonic() - began > 0.25
    run(PacketSend(sender, (FRAME,)))
    assert run(PacketDrain(receiver, timeout_ms=5000, quiet_ms=0)) == [Records((FRAME,))]


def test_only_some_protocols(run: Run, spaces: tuple[Handle, Handle]) -> None:
    near, far = spaces
    other = FRAME[:12] + b"\x88\xb6" + FRAME[14:]
    results = run(PacketOpen("two", netns=far, protocols=(0x88B5,)), PacketOpen("one", netns=near))
    run(PacketSend(made(results[1]), (other, FRAME)))
    assert run(PacketDrain(made(results[0]), timeout_ms=5000)) == [Records((FRAME,))]


def test_what_cannot_be_sent(run: Run, spaces: tuple[Handle, Handle]) -> None:
    near, _ = spaces
    sender = made(run(PacketOpen("one", netns=near))[0])
    long = check(run(PacketSend(sender, (FRAME, bytes(3000))))[0], Failed)
    assert (long.errno, long.text) == (90, "frame 2 of 2 (3000 bytes): Message too long")
    run(Netlink(set_link(2, up=False), netns=near))
    assert check(run(PacketSend(sender, (FRAME,)))[0], Failed).errno == 100
    assert check(run(PacketOpen("none", netns=near))[0], Failed).text == "none: No such device"
    assert "is not a packet socket" in check(run(PacketSend(near, (FRAME,)))[0], Failed).text


def test_frames_beyond_the_room_are_counted(run: Run, spaces: tuple[Handle, Handle]) -> None:
    near, far = spaces
    receiver, sender = (made(r) for r in run(PacketOpen("two", netns=far), PacketOpen("one", netns=near)))
    sent = 0
    for _ in range(30):
        run(PacketSend(sender, (FRAME,) * 5000))
        sent += 5000
    drained = check(run(PacketDrain(receiver, timeout_ms=5000))[0], Records)
    assert drained.lost > 0
    assert len(drained.records) + drained.lost == sent
