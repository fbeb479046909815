"""Programs on sockets, groups of them, maps of them, and on what looks for one."""

from __future__ import annotations

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.live.net.sockets import Socket
from support.attach_events import BUILT
from support.network_events import LOST, namespace

OBJECT = BUILT / "on_sockets.bpf.o"


def listeners(bpf: Bpf, kind: str, *, count: int = 2) -> list[Socket]:
    """Sockets that share a port."""
    first = bpf.socket(kind, reuse_port=True).bind()
    group = [first, *(bpf.socket(kind, reuse_port=True).bind(port=first.port) for _ in range(count - 1))]
    return [each.listen() for each in group] if kind == "tcp" else group


def connected(bpf: Bpf, netns: Handle | None = None) -> tuple[Socket, Socket]:
    server = bpf.socket("tcp", netns=netns).bind().listen()
    client = bpf.socket("tcp", netns=netns).connect(server)
    return client, server.accept()


@pytest.mark.attach_kind("socket")
def test_a_socket_filter(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT, only=["let_in", "keep_out"])
    there, here = bpf.socket("udp").bind(), bpf.socket("udp")
    with obj["keep_out"].attach(socket=there) as link:
        here.send_to(b"x", there)
        assert there.silent(within=LOST)
        assert obj.maps["counts"][1] == 1
        assert link.mechanism == "socket filter"
        link.update(obj["let_in"])
        here.send_to(b"y", there)
        assert there.recv() == b"y"
        assert obj.maps["counts"][0] == 1
    here.send_to(b"z", there)
    assert there.recv() == b"z"
    assert (obj.maps["counts"][0], obj.maps["counts"][1]) == (1, 1)
    with pytest.raises(BpfUsageError, match="attached by socket filter, which is not a link object"):
        _ = link.info
    with pytest.raises(BpfUsageError, match="socket= expects a socket from"):
        obj["keep_out"].attach(socket=3)
    with pytest.raises(BpfUsageError, match="needs socket="):
        obj["keep_out"].attach()


@pytest.mark.attach_kind("socket", option="reuseport")
@pytest.mark.attach_kind("sk_reuseport")
@pytest.mark.parametrize("name", ["choose", "select_socket"])
def test_the_choice_among_a_group(bpf: Bpf, name: str) -> None:
    obj = bpf.load(OBJECT, only=[name])
    group = listeners(bpf, "udp")
    if name == "select_socket":
        for slot, each in enumerate(group):
            obj.maps["group"][slot] = each
    options = {"reuseport": True} if name == "choose" else {}
    with obj[name].attach(socket=group[0], **options) as link:
        for wanted in (0, 1):
            obj.globals["chosen"] = wanted
            bpf.socket("udp").send_to(b"x", group[0])
            assert group[wanted].recv() == b"x"
            assert group[1 - wanted].silent(within=0)
        assert obj.maps["counts"][{"choose": 2, "select_socket": 3}[name]] == 2
        assert link.mechanism == "reuseport group"
    with pytest.raises(KernelCallError) as error:
        obj[name].attach(socket=bpf.socket("udp"), **options)
    assert "reuse_port=True" in str(error.value.hint)


@pytest.mark.attach_kind("sk_reuseport/migrate")
@pytest.mark.bpf_kernel(">=5.14")
def test_a_connection_moves_to_another_listener(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT, only=["migrate"])
    group = listeners(bpf, "tcp")
    for slot, each in enumerate(group):
        obj.maps["group"][slot] = each
    obj["migrate"].attach(socket=group[0])
    client = bpf.socket("tcp").connect(group[0])
    obj.globals["chosen"] = 1
    group[0].close()
    peer = group[1].accept()
    client.send(b"moved")
    assert peer.recv() == b"moved"
    assert obj.maps["counts"][4] > 0


@pytest.mark.attach_kind("sk_lookup")
def test_a_lookup_finds_what_the_program_says(bpf: Bpf) -> None:
    netns = namespace(bpf)
    obj = bpf.load(OBJECT, only=["steer", "refuse"])
    server = bpf.socket("udp", netns=netns).bind()
    obj.maps["listening"][0] = server
    here = bpf.socket("udp", netns=netns)
    with obj["steer"].attach(netns=netns) as link:
        here.send_to(b"x", "127.0.0.1", port=7)
        assert server.recv() == b"x"
        assert obj.maps["counts"][5] == 1
        assert [each.hook for each in bpf.attached(netns=netns)] == ["sk_lookup"]
        link.update(obj["refuse"])
        bpf.socket("udp", netns=netns).send_to(b"x", server)
        assert server.silent(within=LOST)
        assert obj.maps["counts"][6] > 0
    assert bpf.attached(netns=netns) == ()


@pytest.mark.attach_kind("sk_skb/stream_parser")
@pytest.mark.attach_kind("sk_skb/stream_verdict")
def test_a_parser_and_a_verdict(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT, only=["parse", "judge"])
    client, server = connected(bpf)
    table = obj.maps["listening"]
    with obj["parse"].attach(map=table), obj["judge"].attach(map=table) as link:
        table[0] = server
        client.send(b"hello")
        assert server.recv() == b"hello"
        assert obj.maps["counts"][7] > 0
        assert obj.maps["counts"][0] > 0
        assert link.mechanism == ("sockmap link" if bpf.has("attach:sockmap_link") else "sockmap")


@pytest.mark.attach_kind("sk_skb")
@pytest.mark.parametrize("way", ["attach", pytest.param("link", marks=pytest.mark.bpf_kernel(">=6.10"))])
def test_a_role_given_when_attached(bpf: Bpf, way: str) -> None:
    obj = bpf.load(OBJECT, only=["any_role"])
    client, server = connected(bpf)
    table = obj.maps["listening"]
    with obj["any_role"].attach(map=table, role="stream_verdict", mechanism=way) as link:
        table[0] = server
        client.send(b"hello")
        assert server.silent(within=LOST)
        assert obj.maps["counts"][1] > 0
        assert link.is_object == (way == "link")
        if bpf.session.target.described.release.startswith("5."):
            with pytest.raises(PlanError, match="cannot be listed"):
                bpf.attached(map=table)
        else:
            assert [each.hook for each in bpf.attached(map=table)] == ["sk_skb_stream_verdict"]
    with pytest.raises(BpfUsageError, match="role= must be one of stream_parser"):
        obj["any_role"].attach(map=table, role="parser")


@pytest.mark.bpf_kernel("<6.10")
def test_a_link_asked_for_where_there_is_none(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT, only=["any_role"])
    with pytest.raises(KernelCallError) as error:
        obj["any_role"].attach(map=obj.maps["listening"], mechanism="link")
    assert "Links on socket maps came with Linux 6.10; this kernel is" in error.value.hint


@pytest.mark.attach_kind("sk_msg", option="link and update")
@pytest.mark.parametrize("way", ["attach", pytest.param("link", marks=pytest.mark.bpf_kernel(">=6.10"))])
def test_what_is_sent_is_judged(bpf: Bpf, way: str) -> None:
    """A socket is judged by the program that the map had when it came in."""
    obj = bpf.load(BUILT / "sockets.bpf.o", only=["sending", "refusing"])
    table = obj.maps["sockets"]
    client, server = connected(bpf)
    with obj["sending"].attach(map=table, mechanism=way) as link:
        table[0] = client
        client.send(b"x")
        assert server.recv() == b"x"
        link.update(obj["refusing"])
        del table[0]
        table[0] = client
        with pytest.raises(KernelCallError, match="EACCES"):
            client.send(b"y")
        del table[0]
    table[0] = client
    client.send(b"z")
    assert server.recv() == b"z"
    assert (obj.maps["counts"][0], obj.maps["counts"][2]) == (1, 1)


@pytest.mark.attach_kind("freplace")
@pytest.mark.bpf_feature("fentry")
def test_a_function_is_replaced(bpf: Bpf) -> None:
    target = bpf.load(BUILT / "replaced.bpf.o")
    packet = bytes(64)
    assert target["replaceable"].run(packet).retval == 2
    other = bpf.load(
        BUILT / "replacement.bpf.o",
        programs={"drop_instead": {"extends": (target["replaceable"], "decide")}, "abort_instead": False},
    )
    with other["drop_instead"].attach() as link:
        assert target["replaceable"].run(packet).retval == 1
        assert other.maps["counts"][2] == 1
        assert link.mechanism == "freplace link"
        assert link.info.type == "tracing"
        with pytest.raises(KernelCallError):
            other["drop_instead"].attach()
    assert target["replaceable"].run(packet).retval == 2
    with other["drop_instead"].attach(target=target["replaceable_too"], function="decide_otherwise"):
        assert target["replaceable_too"].run(packet).retval == 1
    assert target["replaceable_too"].run(packet).retval == 3
    with pytest.raises(BpfUsageError, match="there is no function 'decid'"):
        other["drop_instead"].attach(target=target["replaceable"], function="decid")
    with pytest.raises(BpfUsageError, match="function= needs target="):
        other["drop_instead"].attach(function="decide")


def test_sockets_say_what_they_are(bpf: Bpf) -> None:
    with pytest.raises(BpfUsageError, match=r"the kind of a socket must be one of tcp, udp(.|\n)*did you mean tcp"):
        bpf.socket("tcpp")
    with pytest.raises(BpfUsageError, match=r"family= must be one of ipv4(.|\n)*did you mean ipv6"):
        bpf.socket("tcp", family="ipv66")
    with pytest.raises(BpfUsageError, match="cgroup= expects a cgroup"):
        bpf.socket("tcp", cgroup=3)
    client, server = connected(bpf)
    assert client.peer == server.address
    assert client.cookie != server.cookie
    with pytest.raises(KernelCallError, match="nothing arrived within") as error:
        client.recv(timeout=0.01)
    assert error.value.errno == 110
    assert client.setsockopt(1, 12, value=3).getsockopt(1, 12) == (3).to_bytes(4, "little")  # SO_PRIORITY
    client.close()
    client.close()
    assert server.recv() == b""


def test_a_process_is_a_key(bpf: Bpf) -> None:
    assert bpf.process().handle.kind == "pidfd"
