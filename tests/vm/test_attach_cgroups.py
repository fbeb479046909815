"""Programs on control groups: each hook sees its event and may forbid it; links, modes, order."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.machine.cgroup import Cgroup
from support.attach_events import BUILT
from support.network_events import arrives

OBJECT = BUILT / "cgroups.bpf.o"
Event = Callable[[Bpf, Cgroup], None]


def send(bpf: Bpf, group: Cgroup, *, family: str = "ipv4") -> None:
    there = bpf.socket("udp", family=family).bind()
    bpf.socket("udp", family=family, cgroup=group).send_to(b"x", there)


def receive(bpf: Bpf, group: Cgroup, *, family: str = "ipv4") -> None:
    there = bpf.socket("udp", family=family, cgroup=group).bind()
    bpf.socket("udp", family=family).send_to(b"x", there)
    there.recv(timeout=0.3)


def open_one(bpf: Bpf, group: Cgroup) -> None:
    bpf.socket("udp", cgroup=group)


def open_and_close(bpf: Bpf, group: Cgroup) -> None:
    bpf.socket("udp", cgroup=group).close()


def bind(bpf: Bpf, group: Cgroup, *, family: str = "ipv4") -> None:
    bpf.socket("udp", family=family, cgroup=group).bind()


def connect(bpf: Bpf, group: Cgroup, *, family: str = "ipv4") -> None:
    server = bpf.socket("tcp", family=family).bind().listen()
    bpf.socket("tcp", family=family, cgroup=group).connect(server)


def names(bpf: Bpf, group: Cgroup, *, family: str = "ipv4") -> None:
    server = bpf.socket("tcp", family=family).bind().listen()
    client = bpf.socket("tcp", family=family, cgroup=group).connect(server)
    assert client.peer == server.address
    assert client.address


def abstract(bpf: Bpf, kind: str, **options: Any) -> Any:
    return bpf.socket(kind, **options).bind(f"@pytest-ebpf-{os.getpid()}-{os.urandom(4).hex()}")


def unix_connect(bpf: Bpf, group: Cgroup) -> None:
    server = abstract(bpf, "stream").listen()
    bpf.socket("stream", cgroup=group).connect(server)


def unix_names(bpf: Bpf, group: Cgroup) -> None:
    """The group of the socket whose name it is counts, the peer's too."""
    there = abstract(bpf, "dgram", cgroup=group)
    assert bpf.socket("dgram").connect(there).peer == there.address


def unix_send(bpf: Bpf, group: Cgroup) -> None:
    bpf.socket("dgram", cgroup=group).send_to(b"x", abstract(bpf, "dgram"))


def unix_receive(bpf: Bpf, group: Cgroup) -> None:
    there = abstract(bpf, "dgram", cgroup=group)
    bpf.socket("dgram").send_to(b"x", there)
    there.recv()


def get_option(bpf: Bpf, group: Cgroup) -> None:
    bpf.socket("udp", cgroup=group).getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY)


def set_option(bpf: Bpf, group: Cgroup) -> None:
    bpf.socket("udp", cgroup=group).setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, value=1)


def read_setting(bpf: Bpf, group: Cgroup) -> None:
    done = group.run(["/bin/cat", "/proc/sys/kernel/ostype"])
    if b"not permitted" in done.stderr:
        raise PermissionError(1, done.stderr)
    assert done.stdout == b"Linux\n"


def open_device(bpf: Bpf, group: Cgroup) -> None:
    done = group.run(["/bin/cat", "/dev/null"])
    if b"not permitted" in done.stderr:
        raise PermissionError(1, done.stderr)
    assert done.returncode == 0


def six(event: Callable[..., None]) -> Event:
    return lambda bpf, group: event(bpf, group, family="ipv6")


UNIX = pytest.mark.bpf_kernel(">=6.7")
# section, program, the event, whether the program may forbid it
HOOKS = [
    ("cgroup_skb/ingress", "ingress", receive, True),
    ("cgroup_skb/egress", "egress", send, True),
    ("cgroup/sock_create", "sock_create", open_one, True),
    ("cgroup/sock_release", "sock_release", open_and_close, False),
    ("cgroup/post_bind4", "post_bind4", bind, True),
    ("cgroup/post_bind6", "post_bind6", six(bind), True),
    ("cgroup/bind4", "bind4", bind, True),
    ("cgroup/bind6", "bind6", six(bind), True),
    ("cgroup/connect4", "connect4", connect, True),
    ("cgroup/connect6", "connect6", six(connect), True),
    ("cgroup/connect_unix", "connect_unix", unix_connect, True),
    ("cgroup/sendmsg4", "sendmsg4", send, True),
    ("cgroup/sendmsg6", "sendmsg6", six(send), True),
    ("cgroup/sendmsg_unix", "sendmsg_unix", unix_send, True),
    ("cgroup/recvmsg4", "recvmsg4", receive, False),
    ("cgroup/recvmsg6", "recvmsg6", six(receive), False),
    ("cgroup/recvmsg_unix", "recvmsg_unix", unix_receive, False),
    ("cgroup/getpeername4", "getpeername4", names, False),
    ("cgroup/getpeername6", "getpeername6", six(names), False),
    ("cgroup/getpeername_unix", "getpeername_unix", unix_names, False),
    ("cgroup/getsockname4", "getsockname4", names, False),
    ("cgroup/getsockname6", "getsockname6", six(names), False),
    ("cgroup/getsockname_unix", "getsockname_unix", unix_names, False),
    ("sockops", "sock_ops", connect, False),
    ("cgroup/getsockopt", "getsockopt", get_option, True),
    ("cgroup/setsockopt", "setsockopt", set_option, True),
    ("cgroup/sysctl", "sysctl", read_setting, True),
    ("cgroup/dev", "device", open_device, True),
]


def marked(section: str, *row: object) -> Any:
    marks = [pytest.mark.attach_kind(section), *([UNIX] if section.endswith("_unix") else [])]
    return pytest.param(*row, marks=marks, id=section)


@pytest.mark.parametrize(("name", "event", "forbids"), [marked(*row) for row in HOOKS])
@pytest.mark.parametrize("way", ["link", "attach"])
def test_hook(bpf: Bpf, name: str, event: Event, forbids: bool, way: str) -> None:
    group = bpf.cgroup()
    obj = bpf.load(OBJECT, only=[name])
    with obj[name].attach(cgroup=group, mechanism=way) as link:
        event(bpf, group)
        assert obj.globals[f"{name}_seen"] > 0
        assert link.mechanism == {"link": "cgroup link", "attach": "cgroup without link"}[way]
        (found,) = bpf.attached(cgroup=group)
        assert (found.prog_id, found.detail) == (obj[name].id, "multi")
    assert bpf.attached(cgroup=group) == ()
    if forbids:
        forbidding = bpf.load(OBJECT, only=[name], globals={"verdict": 0})
        with (
            forbidding[name].attach(cgroup=group, mechanism=way),
            pytest.raises((KernelCallError, PermissionError)) as error,
        ):
            event(bpf, group)
        # what is dropped on its way in is missed, not refused
        assert error.value.errno == (110 if name == "ingress" else 1)
        event(bpf, group)


@pytest.mark.attach_kind("cgroup/skb")
def test_a_direction_given_when_attached(bpf: Bpf) -> None:
    group = bpf.cgroup()
    obj = bpf.load(OBJECT, only=["either"])
    with obj["either"].attach(cgroup=group, direction="egress"):
        send(bpf, group)
        assert obj.globals["either_seen"] == 1
        assert [each.hook for each in bpf.attached(cgroup=group)] == ["cgroup_inet_egress"]
    with pytest.raises(BpfUsageError, match="needs direction="):
        obj["either"].attach(cgroup=group)


@pytest.mark.attach_kind("cgroup_skb/egress", option="mode")
@pytest.mark.parametrize(("mode", "below"), [("single", None), ("override", "step2"), ("multi", "both")])
def test_modes(bpf: Bpf, mode: str, below: str | None) -> None:
    group = bpf.cgroup()
    child = group.child("below")
    obj = bpf.load(OBJECT, only=["step1", "step2"])
    link = obj["step1"].attach(cgroup=group, mode=mode)
    assert [each.detail for each in bpf.attached(cgroup=group)] == [mode]
    if below is None:
        with pytest.raises(KernelCallError) as error:
            obj["step2"].attach(cgroup=child, mode=mode)
        assert "mode='single'" in str(error.value.hint)
    else:
        obj["step2"].attach(cgroup=child, mode=mode)
    assert arrives(bpf, cgroup=child)
    assert obj.globals["trail"] == {None: 1, "step2": 2, "both": 21}[below]
    ids = [each.prog_id for each in bpf.attached(cgroup=child, effective=True)]
    assert ids == {None: [obj["step1"].id], "step2": [obj["step2"].id]}.get(below, [obj["step2"].id, obj["step1"].id])
    link.detach()


@pytest.mark.attach_kind("cgroup_skb/egress", option="update")
@pytest.mark.parametrize("options", [{}, {"mode": "multi"}, {"mode": "override"}], ids=["link", "multi", "override"])
def test_update(bpf: Bpf, options: dict[str, Any]) -> None:
    group = bpf.cgroup()
    obj = bpf.load(OBJECT, only=["step1", "step2"])
    with obj["step1"].attach(cgroup=group, **options) as link:
        assert arrives(bpf, cgroup=group)
        link.update(obj["step2"])
        assert arrives(bpf, cgroup=group)
        assert obj.globals["trail"] == 12
        assert [each.prog_id for each in bpf.attached(cgroup=group)] == [obj["step2"].id]
    assert bpf.attached(cgroup=group) == ()


@pytest.mark.attach_kind("cgroup_skb/egress", option="before and after")
@pytest.mark.bpf_kernel(">=6.17")
@pytest.mark.parametrize("way", ["link", "attach"])
def test_programs_of_a_group_in_the_order_asked_for(bpf: Bpf, way: str) -> None:
    group = bpf.cgroup()
    obj = bpf.load(OBJECT, only=["step1", "step2", "step3"])
    one = obj["step1"].attach(cgroup=group, mechanism=way)
    obj["step2"].attach(cgroup=group, mechanism=way, before=one)
    obj["step3"].attach(cgroup=group, mechanism=way, after=obj["step2"] if way == "attach" else one)
    assert arrives(bpf, cgroup=group)
    assert obj.globals["trail"] == {"attach": 231, "link": 213}[way]


@pytest.mark.bpf_kernel("<6.17")
def test_order_on_an_older_kernel_says_since_when(bpf: Bpf) -> None:
    group = bpf.cgroup()
    obj = bpf.load(OBJECT, only=["step1"])
    for way in ("link", "attach"):
        with pytest.raises(PlanError, match=r"came with Linux 6\.17"):
            obj["step1"].attach(cgroup=group, mechanism=way, before="all")


def test_what_makes_no_sense_is_named(bpf: Bpf) -> None:
    group = bpf.cgroup()
    obj = bpf.load(OBJECT, only=["step1"])
    with pytest.raises(BpfUsageError, match="a link on a control group has no mode"):
        obj["step1"].attach(cgroup=group, mechanism="link", mode="single")
    with pytest.raises(BpfUsageError, match=r"mode= must be one of single, override, multi(.|\n)*did you mean multi"):
        obj["step1"].attach(cgroup=group, mode="mutli")
    with pytest.raises(BpfUsageError, match="needs cgroup="):
        obj["step1"].attach()
    with pytest.raises(KernelCallError) as error:
        obj["step1"].attach(cgroup=group.path + "-not")
    assert group.path in str(error.value.hint)
    with pytest.raises(BpfUsageError, match=r"attach\(\) takes no interface"):
        obj["step1"].attach(interface="lo")
