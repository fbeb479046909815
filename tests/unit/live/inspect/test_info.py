"""Info structs to values. The offsets are held against the C header of this machine."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pytest_ebpf.live.inspect import info as kernel_info
from pytest_ebpf.live.inspect.info import (
    LINK_ARRAYS,
    fdinfo_fields,
    link_kind,
    read_btf_info,
    read_link_info,
    read_map_info,
    read_prog_info,
)

CONNECT4 = "cgroup_inet4_connect"


def pack(length: int, **places: tuple[int, str, Any]) -> bytes:
    data = bytearray(length)
    for offset, code, value in places.values():
        struct.pack_into("=" + code, data, offset, value)
    return bytes(data)


def test_a_program() -> None:
    data = pack(
        232,
        type=(0, "I", 6),
        id=(4, "I", 7),
        tag=(8, "8s", bytes(range(8))),
        name=(64, "16s", b"balance"),
        gpl=(84, "I", 1),
        runs=(200, "Q", 3),
    )
    info = read_prog_info(data, map_ids=(4, 5), fdinfo={"memlock": "4096"})
    assert (info.type, info.id, info.name, info.tag) == ("xdp", 7, "balance", "0001020304050607")
    assert (info.gpl_compatible, info.map_ids, info.run_count, info.memlock) == (True, (4, 5), 3, 4096)
    old = read_prog_info(data[:200], fdinfo={})
    assert (old.run_time_ns, old.run_count, old.verified_insns, old.memlock) == (0, None, None, None)


def test_a_map() -> None:
    data = pack(
        104, type=(0, "I", 1), id=(4, "I", 9), key=(8, "I", 4), flags=(20, "I", 0x401), name=(24, "16s", b"m" * 16)
    )
    info = read_map_info(data, fdinfo=fdinfo_fields(b"memlock:\t8192\nfrozen:\t1\n"))
    assert (info.type, info.id, info.key_size, info.name) == ("hash", 9, 4, "m" * 16)
    assert info.flags == ("NO_PREALLOC", "MMAPABLE")
    assert (info.memlock, info.frozen) == (8192, True)
    assert read_map_info(data[:40], fdinfo={}).map_extra is None
    assert read_map_info(data, fdinfo={}).frozen is None


def test_a_btf_object() -> None:
    data = pack(32, size=(8, "I", 100), id=(12, "I", 1), kernel=(28, "I", 1))
    assert read_btf_info(data, name=b"vmlinux\0\0\0") == kernel_info.BtfInfo(1, 100, "vmlinux", True)
    assert read_btf_info(data[:16]).is_kernel is None


def test_every_type_of_the_headers_has_a_name() -> None:
    names = [read_link_info(pack(64, type=(0, "I", number))).type for number in range(16)]
    assert names == [
        "unspec", "raw_tracepoint", "tracing", "cgroup", "iter", "netns", "xdp", "perf_event", "kprobe_multi",
        "struct_ops", "netfilter", "tcx", "uprobe_multi", "netkit", "sockmap", "tracing_multi",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "name", "fields", "details"),
    [
        (6, "xdp", {"ifindex": (16, "I", 3)}, {"ifindex": 3}),
        (3, "cgroup", {"group": (16, "Q", 1 << 40), "at": (24, "I", 10)},
         {"cgroup_id": 1 << 40, "attach_type": CONNECT4}),
        (10, "netfilter", {"h": (20, "I", 1), "p": (24, "i", -5)}, {"pf": 0, "hooknum": 1, "priority": -5, "flags": 0}),
        (13, "netkit", {"ifindex": (16, "I", 3), "at": (20, "I", 54)}, {"ifindex": 3, "attach_type": "netkit_primary"}),
        (14, "sockmap", {"map": (16, "I", 7), "at": (20, "I", 7)}, {"map_id": 7, "attach_type": "sk_msg_verdict"}),
        (15, "tracing_multi", {"at": (16, "I", 59), "count": (20, "I", 2), "btf": (24, "I", 1)},
         {"attach_type": "trace_fentry_multi", "count": 2, "btf_obj_id": 1}),
        (99, "99", {}, {}),
    ],
)  # fmt: skip
def test_links_by_type(number: int, name: str, fields: dict[str, Any], details: dict[str, Any]) -> None:
    info = read_link_info(pack(64, type=(0, "I", number), id=(4, "I", 2), prog=(8, "I", 5), **fields))
    assert (info.id, info.prog_id, dict(info.details)) == (2, 5, details)
    assert info.type == name


def test_links_with_arrays() -> None:
    data = pack(64, type=(0, "I", 8), count=(24, "I", 2), missed=(32, "Q", 1))
    arrays = {"addresses": struct.pack("=2Q", 10, 20), "cookies": b""}
    assert dict(read_link_info(data, arrays=arrays).details) == {
        "count": 2, "flags": 0, "missed": 1, "addresses": (10, 20), "cookies": (),
    }  # fmt: skip
    multi = pack(64, type=(0, "I", 15), at=(16, "I", 60), count=(20, "I", 2), btf=(24, "I", 1))
    assert [name for name, _ in LINK_ARRAYS[link_kind(multi)]] == ["btf_ids", "addresses", "cookies"]
    arrays = {"btf_ids": struct.pack("=2I", 11, 12), "addresses": struct.pack("=2Q", 10, 20), "cookies": b""}
    assert dict(read_link_info(multi, arrays=arrays).details) == {
        "attach_type": "trace_fexit_multi", "count": 2, "btf_obj_id": 1, "btf_ids": (11, 12), "addresses": (10, 20),
        "cookies": (),
    }  # fmt: skip
    kretprobe = pack(64, type=(0, "I", 7), event=(16, "I", 4), offset=(36, "I", 8))
    assert link_kind(kretprobe) == "perf_event kprobe"
    assert [name for name, _ in LINK_ARRAYS[link_kind(kretprobe)]] == ["func_name"]
    details = read_link_info(kretprobe, arrays={"func_name": b"do_exit\0\0"}).details
    assert (details["event"], details["func_name"], details["offset"]) == ("kretprobe", "do_exit", 8)
    # before Linux 6.6 the kernel says no more of a perf event than that it is one
    old = read_link_info(pack(16, type=(0, "I", 7)))
    assert dict(old.details) == {"event": "unspec"}
