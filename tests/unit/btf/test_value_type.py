from __future__ import annotations

import pytest

from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.value_type import TypeTable, find_types, python_type
from pytest_ebpf.errors import ObjectError
from support.btf_writer import BtfWriter


def sample() -> Btf:
    w = BtfWriter()
    char, u32, u16 = w.int("char", 1, signed=True), w.int("unsigned int", 4), w.int("unsigned short", 2)
    addr = w.struct("addr", 8, [("ip", u32, 0), ("port", u16, 32)])
    w.typedef("addr_t", addr)
    anonymous = w.struct("", 8, [("all", w.int("unsigned long", 8), 0), ("low", u32, 0)], kind="union")
    rows = [("comm", w.array(char, 8), 0, 0), ("addrs", w.array(addr, 3), 64, 0), ("", anonymous, 256, 0)]
    w.bitfields("event", 48, [*rows, ("flag", u32, 320, 1), ("level", u32, 326, 7), ("next", w.ptr(0), 0, 0)][:5])
    w.enum("event", [("A", 1)])
    w.func("f", w.func_proto(0, []))
    return parse_btf(w.build())


def test_sizes_and_places() -> None:
    event = TypeTable(sample(), name="x.o")["event"]
    assert (event.name, event.size) == ("struct event", 48)
    places = {name: (place.offset, place.size, place.bits, place.type) for name, place in event.fields.items()}
    assert places == {
        "comm": (0, 8, 0, "char[8]"),
        "addrs": (8, 24, 0, "struct addr[3]"),
        "all": (32, 8, 0, "unsigned long"),
        "low": (32, 4, 0, "unsigned int"),
        "flag": (40, 1, 1, "unsigned int"),
        "level": (40, 2, 7, "unsigned int"),
    }
    assert event.fields["level"].bit_offset == 326


def test_bytes_and_back() -> None:
    event = TypeTable(sample(), name="x.o")["struct event"]
    data = event.pack(comm="true", level=100, addrs=[{"port": 80}])
    assert len(data) == 48
    value = event.unpack(data)
    assert (value["comm"], value["level"], value["flag"], value["addrs"][0]["port"]) == ("true", 100, 0, 80)
    assert event.pack(value) == data
    assert event.pack() == bytes(48)
    with pytest.raises(ValueError, match="struct event takes 48 bytes, there are 3"):
        event.unpack(b"abc")
    with pytest.raises(TypeError, match="not both"):
        event.pack({}, level=1)
    with pytest.raises((TypeError, ValueError), match="nope"):
        event.pack(nope=1)


def test_numbers_have_no_fields() -> None:
    number = TypeTable(sample(), name="x.o")["unsigned int"]
    assert (number.size, dict(number.fields), number.pack(7), number.unpack(b"\7\0\0\0")) == (4, {}, b"\7\0\0\0", 7)


def test_paths() -> None:
    event = TypeTable(sample(), name="x.o")["event"]
    assert event.offset("addrs[2].port") == 8 + 16 + 4
    assert event.offset("low") == 32
    with pytest.raises(KeyError, match=r"struct event has no field 'adrs'; did you mean 'addrs'\?"):
        event.offset("adrs[1]")
    with pytest.raises(KeyError, match=r"char\[8\] has no field 'x'; it has: none"):
        event.offset("comm.x")
    with pytest.raises(KeyError, match="is no array"):
        event.offset("low[1]")
    for bad in ("", "addrs[", "addrs[1]..port", "a b"):
        with pytest.raises(KeyError, match=r"not a path of fields|no field"):
            event.offset(bad)


def test_names() -> None:
    btf = sample()
    types = TypeTable(btf, name="x.o")
    assert set(types) == {"addr", "addr_t", "event"}
    assert len(types) == 3
    assert types["addr_t"].size == 8
    assert types["enum event"].unpack(bytes((1, 0, 0, 0))).name == "A"
    assert len(find_types(btf, "event")) == 2
    assert find_types(btf, "union event") == ()
    assert find_types(btf, "const event") == ()
    with pytest.raises(KeyError, match=r"x.o has no type 'evnt'; did you mean 'event'\?"):
        types["evnt"]
    with pytest.raises(KeyError, match=r"x\.o has no BTF: was it compiled with -g"):
        TypeTable(None, name="x.o")["event"]
    assert list(TypeTable(None, name="x.o")) == []


def test_what_has_no_size_is_no_type() -> None:
    btf = sample()
    with pytest.raises(ObjectError, match="has no size"):
        python_type(btf, btf.find("f")[0])
