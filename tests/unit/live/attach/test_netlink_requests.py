"""The netlink requests that attach without link objects: the bytes of each, fixed before pyroute2 built them."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_ebpf.agent.ops import Data, Handle, Netlink
from pytest_ebpf.live.attach.clsact import Filter, add_filter, filters_on
from pytest_ebpf.live.attach.lwt import attach_lwt
from pytest_ebpf.live.attach.xdp import attach_xdp, xdp_on
from pytest_ebpf.live.net.resolve import Interface, all_interfaces
from support.netlink_bytes import without_marks
from support.paths import TESTS

GOLDEN = json.loads((TESTS / "data/netlink/requests.json").read_text())
PLACE = Interface("lo", 7, None)
OTHER = Handle(6, "b", "prog", "q")


class Recorder:
    """A session whose kernel accepts everything."""

    def __init__(self) -> None:
        self.ops: list[Netlink] = []

    def attempt(self, op: Netlink, kind: type[Any]) -> Data:
        self.ops.append(op)
        return Data(b"")

    one = attempt

    def checked(self, op: Netlink, result: Any, *, kind: type[Any]) -> Any:
        return result

    def later(self, undo: Callable[[], None]) -> None:
        pass


def program(prefix: str, number: int = 0) -> Any:
    definition = SimpleNamespace(spec=SimpleNamespace(prefix=prefix), section=prefix)
    handle = Handle(5, "b", "prog", "p")
    return SimpleNamespace(name="p", handle=handle, type="x", type_number=number, definition=definition)


def classifier(session: Any) -> None:
    wanted = Filter(PLACE, "ingress", classid=0x10001, protocol=0x800, handle=3)
    placed = add_filter(session, program("tc", 3), wanted=wanted)
    placed.attachment.replace(OTHER)
    placed.attachment.remove()


def action(session: Any) -> None:
    add_filter(session, program("action", 4), wanted=Filter(PLACE, "egress", priority=9)).attachment.remove()


def on_xdp(session: Any) -> None:
    xdp_on(session, PLACE)
    on = SimpleNamespace(index=7, name="lo")
    changed(attach_xdp(session, program("xdp", 6), interface=on, mode="skb", mechanism="netlink"))


def route(prefix: str, destination: str, **options: Any) -> Callable[[Any], None]:
    def attach(session: Any) -> None:
        on = SimpleNamespace(index=7, name="lo")
        changed(attach_lwt(session, program(prefix), route=destination, interface=on, **options))

    return attach


def changed(link: Any) -> None:
    link.update(SimpleNamespace(name="q", handle=OTHER))
    link.detach()


CASES: dict[str, Callable[[Any], object]] = {
    "classifier": classifier,
    "action": action,
    "filters": lambda session: filters_on(session, PLACE, direction="egress"),
    "xdp": on_xdp,
    "lwt_in": route("lwt_in", "192.0.2.0/24"),
    "lwt_xmit": route("lwt_xmit", "192.0.2.0/24", headroom=14, via="10.0.0.1"),
    "lwt_seg6local": route("lwt_seg6local", "fd00:9::/64"),
    "links": lambda session: all_interfaces(session, netns=None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_of_a_request(name: str) -> None:
    session = Recorder()
    CASES[name](session)
    golden = [GOLDEN[key] for key in GOLDEN if key.rpartition(" ")[0] == name]
    assert len(session.ops) == len(golden)
    for op, marked in zip(session.ops, golden, strict=True):
        expected, made = without_marks(marked, op.request)
        assert made.hex() == expected.hex()
        for place in op.fds:  # what stands there is replaced by an fd
            assert made[place.offset : place.offset + 4] in (b"\xbf\x5e\xbf\x5e", b"\xc0\x5e\xbf\x5e")
