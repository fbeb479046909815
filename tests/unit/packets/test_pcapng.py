"""pcapng files: written by hand for each kind of block, and by dumpcap, tcpdump and mergecap (tests/data/captures)."""

import gzip
import random
import struct
from dataclasses import replace

import pytest

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.packets import (
    IP,
    UDP,
    Capture,
    CaptureError,
    Eth,
    Frame,
    Interface,
    parse_packet,
    parse_pcap,
    render_pcap,
    render_pcapng,
)
from pytest_ebpf.pcap_files import read_pcap, write_pcap
from support.paths import ROOT

PACKET = bytes(Eth() / IP() / UDP() / b"hi!")
FILES = sorted((ROOT / "tests/data/captures").glob("*.pcap*"))


def block(kind, body, *, order="<"):
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def option(code, value, *, order="<"):
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(*, order="<"):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order=order)


def interface(*options, order="<", linktype=1, snaplen=0):
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + b"".join(options), order=order)


def packet(ticks, *, number=0, data=PACKET, order="<", options=b""):
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data + bytes(-len(data) % 4) + options, order=order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_each_interface_has_its_own_clock(order):
    clocks = [b"", option(9, b"\x09", order=order), option(9, b"\x8a", order=order), option(9, b"\x03", order=order)]
    offset = option(14, struct.pack(order + "q", 100), order=order)
    data = section(order=order) + b"".join(interface(clock, order=order) for clock in clocks)
    data += interface(offset, order=order) + b"".join(packet(2048, number=n, order=order) for n in range(5))
    times = [frame.time_ns for frame in parse_pcap(data).frames]
    assert times == [2_048_000, 2048, 2_000_000_000, 2_048_000_000, 100_002_048_000]


def test_every_kind_of_packet_block():
    old = block(2, struct.pack("<HHIIII", 0, 0, 0, 7, len(PACKET), 99) + PACKET + bytes(-len(PACKET) % 4))
    simple = block(3, struct.pack("<I", 60) + PACKET[:20])
    capture = parse_pcap(section() + interface(snaplen=20) + old + simple + packet(5))
    assert capture.frames == (Frame(PACKET, 7000, 99), Frame(PACKET[:20], 0, 60), Frame(PACKET, 5000, len(PACKET)))


def test_sections_become_one():
    first = section() + interface(option(2, b"eth0")) + packet(1)
    second = section(order=">") + interface(option(2, b"eth1", order=">"), order=">", linktype=113)
    capture = parse_pcap(first + second + packet(2, order=">"))
    assert [(frame.interface, frame.time_ns, frame.linktype) for frame in capture.frames] == [
        (0, 1000, 1),
        (1, 2000, 113),
    ]
    assert [one.name for one in capture.interfaces] == ["eth0", "eth1"]


def test_what_is_not_known_is_kept_where_it_was():
    comment = option(1, b"seen") + bytes(4)
    whole = section() + interface() + packet(1, options=comment) + block(0xBAD, b"keepthis") + packet(2)
    whole += block(5, struct.pack("<III", 0, 0, 9))
    capture = parse_pcap(whole)
    assert [(one.type, one.before) for one in capture.blocks] == [(0xBAD, 1), (5, 2)]
    assert capture.frames[0].comment == "seen"
    assert render_pcapng(capture) == whole


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_captures_of_real_traffic(path):
    """Read, taken apart, built again: the same bytes; written again: the same frames."""
    capture = read_pcap(path)
    assert len(capture.frames) > 10
    assert all(bytes(frame.packet) == frame.data for frame in capture.frames)
    for parsed in capture.packets:
        if "ip" in parsed and not parsed["ip"].frag:
            assert bytes(parsed.replace("ip", len=None, ihl=None, chksum=None, proto=None)) == bytes(parsed)
    again = parse_pcap(render_pcapng(capture))
    assert again.frames == capture.frames
    assert again.interfaces == (capture.interfaces or again.interfaces)
    if path.suffix == ".pcapng":
        assert render_pcapng(capture) == path.read_bytes()


def test_headers_of_real_traffic():
    frames = {path.name: read_pcap(path).packets for path in FILES}
    mixed = {"/".join(layer.name for layer in one.layers) for one in frames["mixed.pcapng"]}
    for names in (
        "eth/ip/tcp",
        "eth/ip/udp/raw",
        "eth/ip/udp/vxlan/eth/ipv6",
        "eth/vlan/ipv6",
        "eth/ipv6/fragment/raw",
    ):
        assert any(one.startswith(names) for one in mixed), names
    assert {one.layers[0].name for one in frames["sll.pcap"]} == {"sll"}
    assert {one.layers[0].name for one in frames["sll2.pcap"]} == {"sll2"}
    assert any("tcp" in one for one in frames["sll2.pcap"])


def test_two_interfaces_of_dumpcap():
    capture = read_pcap(ROOT / "tests/data/captures/two.pcapng")
    assert [one.name for one in capture.interfaces] == ["left", "lo"]
    assert {one.units for one in capture.interfaces} == {10**9}


@pytest.mark.parametrize("render", [render_pcap, render_pcapng])
def test_compressed(render):
    frames = [Frame(PACKET, 1_700_000_000_123_456_789, 99)]
    data = render(frames, compress=True)
    assert data[:2] == b"\x1f\x8b"
    assert parse_pcap(data).frames == tuple(frames)
    two = gzip.compress(render_pcap(frames)[:30]) + gzip.compress(render_pcap(frames)[30:])
    assert parse_pcap(two).frames == tuple(frames)


def test_a_compressed_file_that_is_cut_off_has_the_frames_before():
    whole = gzip.compress(render_pcap([random.Random(n).randbytes(2000) for n in range(9)]))
    with pytest.raises(CaptureError, match="gzip: the file is cut off") as failure:
        parse_pcap(whole[:-3000])
    assert 5 <= len(failure.value.frames) < 9


def test_changed_frames_are_written_with_what_was_around_them():
    capture = parse_pcap(section() + interface(option(9, b"\x09")) + packet(1) + block(0xBAD, b"keep"))
    changed = replace(capture, frames=(Frame(b"other", 77), Frame(b"more", 78)))
    again = parse_pcap(render_pcapng(changed))
    assert [(frame.data, frame.time_ns) for frame in again.frames] == [(b"other", 77), (b"more", 78)]
    assert again.blocks == capture.blocks


def test_files_are_written_as_they_are_called(tmp_path):
    for name, start in (
        ("a.pcap", b"\x4d\x3c\xb2\xa1"),
        ("a.pcapng", b"\x0a\x0d\x0d\x0a"),
        ("a.pcapng.gz", b"\x1f\x8b"),
    ):
        path = write_pcap(tmp_path / name, [Eth() / IP() / UDP() / b"hi!"])
        assert path.read_bytes().startswith(start)
        assert read_pcap(path).frames[0].data == PACKET


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (section()[:20], "block at 0x0 wants 28 bytes, the file has 20 more"),
        (section() + packet(1), "block at 0x1c names interface 0, which the file does not describe"),
        (section() + interface(option(9, b"\x40")), r"has a clock of 1/10\*\*64 seconds"),
        (section() + block(1, b""), "block at 0x1c is too short for its fields"),
        (section() + struct.pack("<II", 6, 13) + bytes(9), "says that it has 13 bytes"),
        (section()[:-4] + bytes(4), "two different lengths"),
        (section() + interface() + packet(1)[:-40], "block at 0x30 wants"),
        (
            section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 1 << 31, 9)),
            "has a packet of 2147483648 bytes",
        ),
        (section() + interface(struct.pack("<HH", 2, 999)), "option 2 of 999 bytes and room for 0"),
    ],
)
def test_damaged_files(data, words):
    with pytest.raises(CaptureError, match=words):
        parse_pcap(data)


def test_frames_before_the_damage():
    with pytest.raises(CaptureError) as failure:
        parse_pcap(section() + interface() + packet(1) + packet(2) + packet(3)[:-1])
    assert [frame.time_ns for frame in failure.value.frames] == [1000, 2000]


def test_errors_of_files(tmp_path):
    with pytest.raises(BpfUsageError, match=r"none\.pcap: No such file"):
        read_pcap(tmp_path / "none.pcap")
    (tmp_path / "cut.pcap").write_bytes(render_pcap([PACKET, PACKET])[:-1])
    with pytest.raises(BpfUsageError, match="The 1 packets before that"):
        read_pcap(tmp_path / "cut.pcap")


def test_a_capture_is_a_value():
    assert Capture((Frame(PACKET),)) == Capture((Frame(PACKET),))
    assert Interface().units == 10**6
    assert parse_packet(Frame(PACKET)) == parse_packet(PACKET)
