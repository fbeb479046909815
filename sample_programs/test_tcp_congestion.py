"""tcp_congestion.bpf.c: a table of functions that the kernel calls for every connection which asks for it by name."""

import socket

import pytest

TCP_CONGESTION = 13


@pytest.fixture
def talk(bpf):
    """Send that much over a new connection with our congestion control."""

    def send(size):
        server = bpf.socket("tcp").bind().listen()
        client = bpf.socket("tcp").setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, value=b"pe_fixed")
        client.connect(server)
        peer = server.accept()
        for _ in range(size // 10_000):
            client.send(bytes(10_000))
            received = 0
            while received < 10_000:
                received += len(peer.recv())
        return client

    return send


@pytest.mark.attach_kind("struct_ops", option="TCP congestion control, link")
@pytest.mark.bpf_kernel(">=6.4")
@pytest.mark.bpf_feature("btf")
def test_the_window_stays_small(bpf, talk):
    obj = bpf.load("tcp_congestion.bpf.o")
    with obj.struct_ops["first"].attach() as link:
        talk(200_000)
        assert obj.globals["acknowledged"] > 0
        assert obj.globals["largest"] == 4
        assert link.way == "struct_ops link"
        obj.globals["limit"] = 8
        talk(200_000)
        assert obj.globals["largest"] == 8


@pytest.mark.attach_kind("struct_ops", option="update")
@pytest.mark.bpf_kernel(">=6.4")
@pytest.mark.bpf_feature("btf")
def test_another_table_takes_its_place(bpf, talk):
    obj = bpf.load("tcp_congestion.bpf.o")
    with obj.struct_ops["first"].attach() as link:
        talk(50_000)
        assert obj.globals["acknowledged_by_second"] == 0
        link.update(obj.struct_ops["second"])
        before = obj.globals["acknowledged"]
        talk(50_000)
        assert obj.globals["acknowledged_by_second"] > 0
        assert obj.globals["acknowledged"] == before


@pytest.mark.bpf_kernel(">=6.4")
@pytest.mark.bpf_feature("btf")
def test_without_it_the_name_is_unknown(bpf, talk):
    bpf.load("tcp_congestion.bpf.o")
    with pytest.raises(Exception, match="ENOENT"):
        talk(10_000)
