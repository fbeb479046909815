"""xdp_lb.bpf.c: a map in a map, subprograms, and a packet that goes back out rewritten."""

import ipaddress

import pytest

from pytest_ebpf import IP, TCP, UDP, XDP, Bpf, BpfObject, Eth, Packet, assert_packet

VIP = "203.0.113.1"
BACKENDS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")


def backend(address: str, *, last_octet: int = 0) -> dict[str, object]:
    packed = ipaddress.ip_address(address).packed
    return {"address": packed, "mac": bytes([2, 0, 0, 0, 0, last_octet or packed[3]]), "weight": 1}


@pytest.fixture
def balancer(bpf: Bpf) -> BpfObject:
    obj = bpf.load("xdp_lb.bpf.o")
    for slot, address in enumerate(BACKENDS):
        obj.maps["dns"][slot] = backend(address)
    obj.maps["services"][53] = obj.maps["dns"]
    return obj


def query(*, client: int = 1) -> Packet:
    return Eth() / IP(src="192.0.2.9", dst=VIP) / UDP(sport=1024 + client, dport=53) / b"question"


def test_query_goes_to_a_backend(balancer: BpfObject) -> None:
    result = balancer["balance"].run(query())
    assert result.retval == XDP.TX
    assert_packet(result, query().replace("udp", chksum=0), ignore=["eth.dst", "eth.src", "ip.dst", "ip.chksum"])


def test_checksum_of_the_new_header_is_right(bpf: Bpf) -> None:
    obj = bpf.load("xdp_lb.bpf.o")
    for slot in range(4):
        obj.maps["web"][slot] = backend("10.9.8.7", last_octet=0x77)
    obj.maps["services"][53] = obj.maps["web"]
    expected = (
        Eth(src=query()["eth"]["dst"], dst="02:00:00:00:00:77")
        / IP(src="192.0.2.9", dst="10.9.8.7")
        / UDP(sport=1025, dport=53, chksum=0)
        / b"question"
    )
    assert_packet(obj["balance"].run(query()), expected)


def test_a_flow_stays_with_its_backend(balancer: BpfObject) -> None:
    answers = {bytes(result) for result in balancer["balance"].run_many([query()] * 10)}
    assert len(answers) == 1


def test_clients_are_spread_over_all_backends(balancer: BpfObject) -> None:
    balancer["balance"].run_many([query(client=number) for number in range(200)])
    forwarded = balancer.maps["forwarded"].values()
    assert sum(forwarded) == 200
    assert min(forwarded) > 20


@pytest.mark.parametrize(
    "packet",
    [Eth() / IP(dst=VIP) / UDP(dport=80), Eth() / IP(dst=VIP) / TCP(dport=53), Eth() / b"something else"],
    ids=["other port", "tcp", "not ip"],
)
def test_what_is_no_service_passes(balancer: BpfObject, packet: Packet) -> None:
    result = balancer["balance"].run(packet)
    assert result.retval == XDP.PASS
    assert_packet(result, packet)


def test_without_backends_the_fallback_answers(bpf: Bpf) -> None:
    obj = bpf.load("xdp_lb.bpf.o")
    obj.maps["services"][53] = obj.maps["web"]
    assert obj["balance"].run(query()).retval == XDP.DROP
    obj.globals["fallback"] = backend("10.0.0.99")
    assert_packet(obj["balance"].run(query()), query().replace("ip", dst="10.0.0.99"), ignore=["eth", "udp.chksum"])


def test_the_link_header_says_from_whom_to_whom(balancer: BpfObject) -> None:
    result = balancer["balance"].run(query().replace("eth", src="02:11:12:13:14:15", dst="06:21:22:23:24:25"))
    to = ipaddress.ip_address(result.data[30:34])
    assert result.data[:12] == bytes([2, 0, 0, 0, 0, to.packed[3]]) + bytes.fromhex("062122232425")
    for slot in range(4):
        balancer.maps["dns"][slot] = {"address": bytes([10, 0, 0, 9]), "mac": bytes(range(1, 7)), "weight": 1}
    assert balancer["balance"].run(query()).data[:6] == bytes(range(1, 7))


def test_a_query_without_a_byte_to_spare(balancer: BpfObject) -> None:
    shortest = Eth() / IP(src="192.0.2.9", dst=VIP) / UDP(sport=1025, dport=53)
    assert len(bytes(shortest)) == 42
    assert balancer["balance"].run(shortest).retval == XDP.TX
    assert balancer["balance"].run(bytes(shortest)[:41]).retval == XDP.PASS


@pytest.mark.parametrize("carry", range(8))
def test_checksums_that_carry(balancer: BpfObject, carry: int) -> None:
    """Sums that do not fit into 16 bits: of every address, whatever the difference is."""
    for slot in range(4):
        balancer.maps["dns"][slot] = {
            "address": bytes([255, 255 - carry, 254, 31 * carry]),
            "mac": bytes(6),
            "weight": 1,
        }
    packet = query().replace("ip", src=f"255.{carry}.255.{7 * carry}", id=0xFFFF - carry)
    result = balancer["balance"].run(packet)
    expected = packet.replace("ip", dst=f"255.{255 - carry}.254.{31 * carry}").replace("udp", chksum=0)
    assert_packet(result, expected, ignore=["eth.dst", "eth.src"])


def test_a_difference_of_more_than_16_bits(bpf: Bpf) -> None:
    """bpf_csum_diff() returns 32 bits before Linux 6.13: each of the two additions carries."""
    obj = bpf.load("xdp_lb.bpf.o", doubles={"bpf_csum_diff": 0x2FFFE})
    obj.maps["services"][53] = obj.maps["dns"]
    obj.globals["fallback"] = backend("10.0.0.99")
    assert obj["balance"].run(query()).data[24:26] == b"\xfe\xff"
