"""tc_port_map.bpf.c: TCP connections over a live pair of interfaces, while two tc programs swap a port."""

import pytest

from pytest_ebpf import IP, TC, TCP, Attachments, Bpf, Eth, KernelCallError, Socket, Veth, assert_packet


@pytest.fixture
def server(bpf_veth: Veth) -> Socket:
    """Listens on port 8080 of the far end."""
    return bpf_veth.b.netns.listen(bpf_veth.b.ip, 8080)


@pytest.fixture
def mapping(bpf: Bpf, bpf_veth: Veth) -> Attachments:
    """Both programs at the server's interface; their section names say the direction."""
    return bpf.load("tc_port_map.bpf.o").attach(interface=bpf_veth.b)


def test_without_the_programs_nobody_listens_on_port_80(server: Socket, bpf_veth: Veth) -> None:
    with pytest.raises(KernelCallError, match="ECONNREFUSED"):
        bpf_veth.a.netns.connect(bpf_veth.b.ip, 80)


def test_a_conversation_with_port_80(mapping: Attachments, server: Socket, bpf_veth: Veth) -> None:
    client = bpf_veth.a.netns.connect(bpf_veth.b.ip, 80)
    connection = server.accept()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert connection.recv() == b"GET / HTTP/1.0\r\n\r\n"
    connection.send(b"HTTP/1.0 200 OK\r\n\r\n")
    assert client.recv() == b"HTTP/1.0 200 OK\r\n\r\n"
    assert (client.peer.port, connection.address.port) == (80, 8080)
    assert mapping.globals["mapped_in"] >= 3
    assert mapping.globals["mapped_out"] >= 2


def test_on_the_wire_there_is_only_port_80(mapping: Attachments, server: Socket, bpf_veth: Veth) -> None:
    bpf_veth.a.netns.connect(bpf_veth.b.ip, 80)
    (answer, *_) = bpf_veth.a.sniff(filter="tcp", count=1)
    assert (answer["tcp"]["sport"], answer["tcp"]["flags"]) == (80, "SA")


def test_other_ports_are_left_alone(mapping: Attachments, bpf_veth: Veth) -> None:
    assert bpf_veth.echo(b"hello", port=81) == b"hello"
    assert mapping.globals["mapped_in"] == 0


@pytest.mark.parametrize(
    ("program", "before", "after"),
    [("map_in", {"dport": 80}, {"dport": 8080}), ("map_out", {"sport": 8080}, {"sport": 80})],
)
def test_the_port_and_its_checksum(bpf: Bpf, program: str, before: dict[str, int], after: dict[str, int]) -> None:
    """A segment without a byte to spare."""
    prog = bpf.load("tc_port_map.bpf.o")[program]
    sent, expected = (Eth() / IP() / TCP(**{"sport": 5, "dport": 6, **ports}) for ports in (before, after))
    assert len(bytes(sent)) == 54
    assert_packet(prog.run(sent), expected)


@pytest.mark.parametrize("function", ["bpf_l4_csum_replace", "bpf_skb_store_bytes"])
def test_a_segment_that_cannot_be_changed_is_dropped(bpf: Bpf, function: str) -> None:
    obj = bpf.load("tc_port_map.bpf.o")
    for program, ports in (("map_in", {"dport": 80}), ("map_out", {"sport": 8080})):
        packet = Eth() / IP() / TCP(**ports)
        with obj.faults(function):
            assert obj[program].run(packet).retval == TC.SHOT
        assert obj[program].run(packet).retval == TC.OK
    assert (obj.globals["mapped_in"], obj.globals["mapped_out"]) == (2, 2)
