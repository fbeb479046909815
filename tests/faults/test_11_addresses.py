"""Line 11: addresses and ports are written and shown as addresses and ports wherever a type can stand."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_ebpf import Bpf, BpfObject, addr
from pytest_ebpf.agent.ops import Handle, Value
from pytest_ebpf.btf.addresses import AddressInt, address_kind
from pytest_ebpf.btf.codec import decode, encode
from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.live.maps.absent_key import describe_absent
from pytest_ebpf.live.maps.codec import MapCodec
from pytest_ebpf.live.run.contexts import CONTEXTS, decode_ctx, encode_ctx
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.obj.read import read_object
from pytest_ebpf.uapi.enums import MapType
from support.btf_writer import BtfWriter

FLOW = {
    "saddr": 0xC0000201,
    "sport": 443,
    "mac": "02:00:00:00:00:01",
    "peer": "192.0.2.1",
    "peer6": "2001:db8::1",
    "seq": 0x01020304,
}
WRITES = pytest.mark.bpf_kernel(">=6.2")  # a record of a ring buffer is the value that its program writes into a map
PLAIN = int.from_bytes(bytes([192, 0, 2, 1]), sys.byteorder)


@pytest.fixture
def obj(bpf: Bpf, built: Path) -> BpfObject:
    loaded = bpf.load(built / "addresses.bpf.o", only="write")
    loaded["write"].run(bytes(64))
    return loaded


@WRITES
def test_values_and_records_show_addresses(obj: BpfObject) -> None:
    assert obj.maps["by_address"].items() == [(0xC0000201, FLOW)]
    assert obj.maps["events"].events(type="event") == [{"flow": FLOW, "plain": 0x01020304}]
    (flow,) = obj.maps["by_address"].values()
    assert flow["saddr"] == "192.0.2.1" == flow["saddr"], "a __be32 equals its text"
    assert flow["seq"] + 1 == 0x01020305, "and is a number"
    assert flow["saddr"] == ipaddress.IPv4Address("192.0.2.1")
    assert flow["saddr"] != "192.0.2.2"
    assert obj.maps["by_address"] == {"192.0.2.1": FLOW | {"saddr": "192.0.2.1"}}


@WRITES
@pytest.mark.parametrize("key", ["192.0.2.1", 0xC0000201, ipaddress.IPv4Address("192.0.2.1"), bytes([192, 0, 2, 1])])
def test_keys_are_taken_as_address_number_or_bytes(obj: BpfObject, key: object) -> None:
    assert obj.maps["by_address"][key] == FLOW
    assert key in obj.maps["by_address"]


@WRITES
def test_an_ipv6_address_as_key_and_a_port_as_value(obj: BpfObject) -> None:
    ports = obj.maps["ports"]
    assert ports["2001:db8::1"] == 443
    assert dict(ports) == {"2001:db8::1": 443}
    ports["::1"] = 80
    assert ports[ipaddress.IPv6Address("::1")] == 80
    with pytest.raises(ValueError, match=r"'192\.0\.2\.1' is not an IPv6 address"):
        ports["192.0.2.1"]


@WRITES
def test_a_plain_number_takes_an_address_when_asked(obj: BpfObject) -> None:
    plain = obj.maps["by_plain_number"]
    assert plain[addr("192.0.2.1")] == "192.0.2.1"
    assert addr("192.0.2.1") == PLAIN
    plain[addr("192.0.2.9")] = "10.0.0.1"
    assert plain[addr("192.0.2.9")] == 0x0A000001
    with pytest.raises(TypeError, match=r"takes a number, not '192.0.2.1': addr\('192.0.2.1'\) is that address"):
        plain["192.0.2.1"]
    assert (str(addr("::1")), repr(addr("2:0:0:0:0:1"))) == ("::1", "addr('02:00:00:00:00:01')")
    with pytest.raises(ValueError, match="example"):
        addr("example")


@WRITES
def test_a_key_error_names_the_swapped_key(obj: BpfObject) -> None:
    plain = obj.maps["by_plain_number"]
    swapped = int.from_bytes(bytes([192, 0, 2, 1]), "big" if sys.byteorder == "little" else "little")
    with pytest.raises(KeyError) as raised:
        plain[swapped]
    assert f"{swapped} is not in map 'by_plain_number'; {PLAIN} (its bytes swapped: 192.0.2.1) is" in str(raised.value)
    with pytest.raises(KeyError, match=r"5 is not in map 'by_plain_number'\"$"):
        plain[5]
    with pytest.raises(KeyError, match="its bytes swapped"):
        del plain[swapped]


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"ip": 0x0A000001, "port": 80}, "in ip"),
        ({"ip": 0x0100000A, "port": 0x5000}, "in port"),
        ({"ip": 0x0A000001, "port": 0x5000}, "in each field"),
        ({"ip": 0x0A000002, "port": 80}, ""),
    ],
)
def test_a_key_error_names_the_field_of_a_struct_that_is_swapped(stored: dict[str, int], words: str) -> None:
    btf = BtfWriter()
    key = btf.struct("key", 8, [("ip", btf.int("__u32", 4), 0), ("port", btf.int("__u16", 2), 32)])
    inside = codec_of(btf.build(), key).raw_key(stored)
    session = SimpleNamespace(run=lambda ops: [Value(b"1" if op.op.key == inside else None) for op in ops])
    asked = {"ip": 0x0100000A, "port": 80}
    text = describe_absent(cast(Any, session), Handle(1, "b"), key=asked, codec=codec_of(btf.build(), key))
    assert text.startswith(f"{asked} is not in map 'flows'")
    assert text.endswith(f"; {stored} (its bytes swapped {words}) is" if words else "'flows'")


def codec_of(btf: bytes, key: int) -> MapCodec:
    session = cast(Any, SimpleNamespace(target=SimpleNamespace(described=SimpleNamespace(byteorder="little"))))
    flows = MapDef("flows", MapType.HASH, key_size=8, value_size=4, max_entries=8, key_type=key)
    return MapCodec(session, definition=flows, btf=parse_btf(btf))


@WRITES
def test_globals(obj: BpfObject) -> None:
    assert {name: obj.globals[name] for name in obj.globals} == {
        "wanted": 0xC0000201,
        "port": 443,
        "gateway": "192.0.2.1",
        "gateway6": "2001:db8::1",
        "mac": "02:00:00:00:00:01",
        "unused": 0,
    }
    given = {"wanted": "10.0.0.1", "port": 80, "gateway": "10.0.0.2", "gateway6": "::2", "mac": "02:00:00:00:00:02"}
    for name, value in given.items():
        obj.globals[name] = value
        assert obj.globals[name] == value
    obj.globals["mac"] = b"\x02\0\0\0\0\x03"
    assert obj.globals["mac"] == "02:00:00:00:00:03"
    obj.globals["gateway"] = {"s_addr": "10.0.0.3"}
    assert obj.globals["gateway"] == "10.0.0.3"
    with pytest.raises(ValueError, match="65536 does not fit 16 bits"):
        obj.globals["port"] = 65536


@WRITES
def test_globals_that_are_set_while_loading(bpf: Bpf, built: Path) -> None:
    given = {"wanted": "10.0.0.1", "port": 8080, "mac": "02-00-00-00-00-0a"}
    obj = bpf.load(built / "addresses.bpf.o", only="write", globals=given)
    assert (obj.globals["wanted"], obj.globals["port"], obj.globals["mac"]) == (0x0A000001, 8080, "02:00:00:00:00:0a")


def test_fields_of_a_context() -> None:
    lookup = CONTEXTS["bpf_sk_lookup"]
    given = {"remote_ip4": "192.0.2.1", "local_ip6": "2001:db8::1", "remote_port": 443}
    raw = encode_ctx(lookup, given, byteorder="little")
    assert raw[16:20] == bytes([192, 0, 2, 1])
    shown = decode_ctx(lookup, raw, byteorder="little")
    assert shown["remote_ip4"] == "192.0.2.1" == shown["remote_ip4"]
    assert shown["remote_ip4"] == 0xC0000201
    assert shown["local_ip6"] == "2001:db8::1"
    assert shown["local_ip6"] == (0x20010DB8, 0, 0, 1)
    assert encode_ctx(lookup, {name: shown[name] for name in given}, byteorder="little") == raw


def test_what_is_decoded_encodes_again(built: Path) -> None:
    btf = read_object(built / "addresses.bpf.o").btf
    assert btf is not None
    (flow,) = btf.find("flow")
    data = bytes(range(btf.size(flow)))
    value = decode(btf, flow, data=data)
    assert isinstance(value["saddr"], AddressInt)
    assert encode(btf, flow, value=value) == data
    assert address_kind(btf, flow) == ""
