"""Maps of every type in the hands of a test, on real kernels. The host unless kernels are named."""

from __future__ import annotations

import errno

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError, MapFlag, PlanError, ProgramRejected
from pytest_ebpf.features.skip_rule import is_older
from pytest_ebpf.live.bpf_object import BpfObject
from support.paths import TESTS

BUILT = TESTS / "objects" / "built"
FRAME = bytes(64)


def load(bpf: Bpf, name: str, *, feature: str) -> BpfObject | None:
    """None on kernels that have no maps of this type; then the error says so."""
    if bpf.has(feature):
        return bpf.load(BUILT / name)
    with pytest.raises(PlanError, match=f"{feature}|callback"):  # user rings are drained by callbacks
        bpf.load(BUILT / name)
    return None


# -- memory


def test_memory_of_an_array(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "map_memory.bpf.o")
    shared = obj.maps["shared"]
    obj["count"].run(FRAME)
    assert len(shared.memory) == 64
    assert shared.memory[8:13] == b"\1\0\0\0\0"
    shared.memory[12:13] = b"\7"
    assert shared[1] == {"count": 1, "mark": 7}
    shared.memory[8:12] = b"\x20\0\0\0"
    obj["count"].run(FRAME)
    assert shared[1] == {"count": 33, "mark": 7}
    assert shared.memory[:] == bytes(8) + b"\x21\0\0\0\7\0\0\0" + bytes(48)
    with pytest.raises(ValueError, match="3 bytes for 2 of map 'shared'"):
        shared.memory[0:2] = b"123"
    with pytest.raises(TypeError, match="in pieces"):
        shared.memory[3]  # type: ignore[index]
    with pytest.raises(KernelCallError, match="neither an array nor an arena"):
        obj.maps["counts"].memory[0:4]


def test_a_global_is_set_and_nothing_beside_it(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "map_memory.bpf.o")
    obj["count"].run(FRAME)
    obj.globals["first"] = 10
    obj["count"].run(FRAME)
    assert (obj.globals["first"], obj.globals["second"]) == (10, 2 + 1 + 10)


def test_frozen_maps_are_read_only(bpf: Bpf) -> None:
    shared = bpf.load(BUILT / "map_memory.bpf.o").maps["shared"]
    shared[2] = {"count": 5}
    shared.freeze()
    assert shared.info.frozen
    with pytest.raises(KernelCallError, match=r"(?s)EPERM.*frozen"):
        shared[2] = {"count": 6}
    with pytest.raises(KernelCallError, match="EPERM"):
        shared.memory[0:1] = b"x"
    assert shared[2]["count"] == 5


def test_globals_beside_a_lock(bpf: Bpf) -> None:
    """Line 11 of "the verifier's words": the kernel maps no value that holds a lock, and these are read as elements."""
    if is_older(bpf.session.target.described.release, "5.15"):  # kernel/bpf/btf.c: a lock in a struct only
        with pytest.raises(ProgramRejected, match="is not a struct type or bpf_spin_lock is mangled"):
            bpf.load(BUILT / "map_locks.bpf.o")
        return
    obj = bpf.load(BUILT / "map_locks.bpf.o", globals={"step": 2})
    assert obj["count"].run(FRAME).retval == 7
    assert (obj.globals["inside"], obj.globals["step"]) == (5, 2)
    obj.globals["inside"] = 40
    obj.globals["outside"] = 8
    assert obj["count"].run(FRAME).retval == 8
    assert (obj.globals["inside"], obj.globals["outside"]) == (42, 8)


# -- many at once


def test_many_at_once(bpf: Bpf) -> None:
    counts = bpf.load(BUILT / "map_memory.bpf.o").maps["counts"]
    counts.update_many({(n, 1): n for n in range(18_000)})
    assert counts.get_many([(5, 1), (5, 2), (17_999, 1)]) == [5, None, 17_999]
    found = dict(counts.items())
    assert len(found) == 18_000
    assert {key["count"] for key in found} == set(range(18_000))
    some = [key for key in found if key["count"] < 10]
    counts.delete_many(some)
    assert len(counts) == 17_990
    counts.clear()
    assert len(counts) == 0
    counts.clear()


def test_taking_one_out(bpf: Bpf) -> None:
    counts = bpf.load(BUILT / "map_memory.bpf.o").maps["counts"]
    counts[(1, 1)] = 11
    try:
        assert counts.pop((1, 1)) == 11
    except KernelCallError as error:
        assert "5.14" in str(error)  # noqa: PT017
        return
    with pytest.raises(KeyError):
        counts.pop((1, 1))
    assert counts.pop((1, 1), None) is None


def test_a_map_works_like_a_dict(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "map_memory.bpf.o")
    counts = obj.maps["counts"]
    counts.update({(1, 1): 11})
    counts.update([((2, 2), 22), ((3, 3), 33)], flags=MapFlag.NOEXIST)
    with pytest.raises(KernelCallError, match=r"EEXIST.* after 1 of 2"):
        counts.update({(4, 4): 44, (1, 1): 0}, flags=MapFlag.NOEXIST)
    with pytest.raises(KernelCallError, match="ENOENT"):
        counts.put((5, 5), 55, flags=MapFlag.EXIST)
    assert counts.setdefault((1, 1), 5) == 11
    assert counts.setdefault((5, 5), 55) == 55
    assert counts == {(1, 1): 11, (2, 2): 22, (3, 3): 33, (4, 4): 44, (5, 5): 55}
    counts.popitem()
    assert len(counts) == 4
    info = counts.info
    assert (counts.type, counts.key_size, counts.value_size) == (info.type, info.key_size, info.value_size)
    assert counts.max_entries == info.max_entries
    per_cpu = obj.maps["per_cpu_hash"]
    per_cpu.update({1: {"count": 2}, 2: {"count": 3}})
    assert per_cpu.sum(2)["count"] == 3 * len(per_cpu[2])


def test_a_map_is_pinned_and_unpinned(bpf: Bpf) -> None:
    counts = bpf.load(BUILT / "map_memory.bpf.o").maps["counts"].pin("pinned_counts")
    counts[(1, 1)] = 11
    assert bpf.pinned_map("pinned_counts")[(1, 1)] == 11
    counts.unpin()
    with pytest.raises(KernelCallError, match="ENOENT"):
        bpf.pinned_map("pinned_counts")


def test_keys_with_something_between_their_fields(bpf: Bpf) -> None:
    """Programs leave what they like in padding, and to the kernel it is part of the key."""
    counts = bpf.load(BUILT / "map_memory.bpf.o").maps["counts"]
    counts[b"\1\0\0\0\2xyz"] = 5
    assert (1, 2) not in counts
    (key,) = counts.keys()
    assert key == {"count": 1, "mark": 2}
    assert counts[key] == 5
    del counts[key]
    assert counts == {}


def test_queues_make_room(bpf: Bpf) -> None:
    queue = bpf.load(BUILT / "map_memory.bpf.o").maps["queue"]
    for number in range(4):
        queue.push(number)
    with pytest.raises(KernelCallError, match="E2BIG"):
        queue.push(4)
    queue.push(4, flags=MapFlag.EXIST)
    assert [queue.pop(), queue.peek()] == [1, 2]
    queue.clear()
    with pytest.raises(LookupError, match="queue 'queue' is empty"):
        queue.pop()


def test_a_bloom_filter_says_maybe(bpf: Bpf) -> None:
    obj = load(bpf, "map_bloom.bpf.o", feature="bloom_filter")
    if obj is None:
        return
    seen = obj.maps["seen"]
    obj["remember"].run(FRAME)
    seen.push(1234)
    assert 64 in seen
    assert 1234 in seen
    assert sum(number in seen for number in range(5000, 5100)) < 20
    with pytest.raises(BpfUsageError, match="is a bloom_filter: pop\\(\\) is for queues"):
        seen.pop()


# -- objects as keys


def test_values_that_hang_on_sockets_and_groups(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "map_storages.bpf.o")
    group, other = bpf.cgroup(), bpf.cgroup()
    obj["account"].attach(cgroup=group)
    receiver = bpf.socket("udp").bind()
    with bpf.socket("udp", cgroup=group) as sender:
        sender.send_to(b"hello", receiver)
        sender.send_to(b"hello", receiver)
        by_socket = obj.maps["by_socket"]
        assert by_socket[sender]["packets"] == 2
        assert by_socket[sender]["bytes"] == 2 * (20 + 8 + 5)
        assert by_socket.get(receiver) is None
        assert receiver not in by_socket
        by_socket[receiver] = {"packets": 100}
        assert by_socket[receiver]["packets"] == 100
        del by_socket[receiver]
        with pytest.raises(KeyError):
            del by_socket[receiver]
    assert obj.maps["by_hook"][group]["packets"] == 2
    assert obj.maps["by_group"].sum(group)["packets"] == 2
    assert other not in obj.maps["by_hook"]
    obj.maps["by_hook"][group] = {"packets": 0, "bytes": 0}
    assert obj.maps["by_hook"][group] == {"packets": 0, "bytes": 0}
    with pytest.raises(TypeError, match=r"takes a socket from bpf\.socket\(\), not 5"):
        by_socket[5]
    with pytest.raises(BpfUsageError, match="cannot be listed"):
        by_socket.items()
    with pytest.raises(BpfUsageError, match="go one at a time"):
        by_socket.update_many({receiver: {"packets": 1}})


def test_values_that_hang_on_tasks(bpf: Bpf) -> None:
    obj = load(bpf, "map_tasks.bpf.o", feature="task_storage")
    if obj is None:
        return
    notes = obj.maps["notes"]
    notes[1] = {"seen": 1, "text": "init"}
    assert notes[1] == {"seen": 1, "text": "init"}
    agent = bpf.process()
    assert agent not in notes
    notes.put(agent, {"seen": 2}, flags=MapFlag.NOEXIST)
    assert notes[agent]["seen"] == 2
    notes.update({1: {"seen": 3}, agent: {"seen": 4}})
    assert (notes[1]["seen"], notes[agent]["seen"]) == (3, 4)
    del notes[1]
    assert notes.get(1) is None
    with pytest.raises(KernelCallError, match="ESRCH"):
        notes[1 << 22]
    with pytest.raises(TypeError, match="takes the id of a process"):
        notes["init"]


def test_values_that_hang_on_files(bpf: Bpf) -> None:
    try:
        obj = bpf.load(BUILT / "map_files.bpf.o")
    except (PlanError, KernelCallError) as error:
        assert "inode_storage" in str(error)  # noqa: PT017  # CONFIG_BPF_LSM
        return
    notes = obj.maps["notes"]
    notes["/proc/sys"] = {"seen": 3, "text": "sys"}
    assert notes["/proc/sys"]["text"] == "sys"
    assert "/proc" not in notes
    with pytest.raises(KernelCallError, match="ENOENT"):
        notes["/no/such/file"]


def test_values_that_hang_on_groups(bpf: Bpf) -> None:
    obj = load(bpf, "map_groups.bpf.o", feature="cgrp_storage")
    if obj is None:
        return
    notes, group = obj.maps["notes"], bpf.cgroup()
    notes[group] = {"seen": 4}
    assert notes[group.path]["seen"] == 4
    del notes[group]
    assert group not in notes


# -- objects as values


def test_ports(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "map_redirects.bpf.o")
    ports, with_programs, cpus = obj.maps["ports"], obj.maps["ports_with_programs"], obj.maps["cpus"]
    assert obj["to_port"].run(FRAME).retval == 1
    ports[1] = 1
    assert ports[1] == 1
    assert obj["to_port"].run(FRAME).retval == 4
    with_programs[7] = {"ifindex": 1, "program": obj["on_port"]}
    with_programs[8] = 1
    assert with_programs[7] == {"ifindex": 1, "program": obj["on_port"]}
    assert with_programs.items() == [
        (7, {"ifindex": 1, "program": obj["on_port"]}),
        (8, {"ifindex": 1, "program": None}),
    ] or with_programs.keys() == [8, 7]
    cpus[0] = {"qsize": 192, "program": obj["on_cpu"]}
    assert cpus[0] == {"qsize": 192, "program": obj["on_cpu"]}
    del cpus[0]
    assert cpus.get(0) is None
    with pytest.raises(KernelCallError, match="EINVAL"):
        with_programs[1] = {"ifindex": 1, "program": obj["to_port"]}  # its section is not xdp/devmap
    with pytest.raises(TypeError, match="values of 8 bytes"):
        ports[2] = {"ifindex": 1, "program": obj["on_port"]}


def test_sockets(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "map_redirects.bpf.o")
    listener = bpf.socket("tcp").bind().listen()
    for name in ("sockets", "named_sockets"):
        table = obj.maps[name]
        table[1] = listener
        assert table[1] == listener.cookie
        del table[1]
        assert 1 not in table
    member = bpf.socket("udp", reuse_port=True).bind()
    obj.maps["listeners"][0] = member
    assert obj.maps["listeners"][0] == member.cookie
    with pytest.raises(TypeError, match=r"takes a socket from bpf\.socket\(\), not 5"):
        obj.maps["sockets"][0] = 5


def test_queues_of_devices(bpf: Bpf) -> None:
    queues = bpf.load(BUILT / "map_redirects.bpf.o").maps["queues"]
    try:
        socket = bpf.socket("xdp")
    except KernelCallError as error:
        assert error.errno == errno.EAFNOSUPPORT  # noqa: PT017  # CONFIG_XDP_SOCKETS
        return
    queues[0] = socket
    with pytest.raises(KernelCallError, match="no lookup from user space"):
        queues[0]
    del queues[0]


def test_groups(bpf: Bpf) -> None:
    groups = bpf.load(BUILT / "map_redirects.bpf.o").maps["groups"]
    groups[2] = bpf.cgroup()
    del groups[2]
    with pytest.raises(KeyError):
        del groups[2]


# -- records for programs


def test_records_for_programs(bpf: Bpf) -> None:
    obj = load(bpf, "user_ring.bpf.o", feature="user_ringbuf")
    if obj is None:
        return
    samples = obj.maps["samples"]
    samples.produce({"kind": 1, "value": 5}, {"kind": 2, "value": 6})
    samples.produce(b"\1\0\0\0\7\0\0\0")
    assert obj["drain"].run().retval == 3
    assert (obj.globals["total"], obj.globals["kinds"]) == (18, [0, 2, 1, 0])
    room = 4096 // 16
    samples.produce(*[{"kind": 0, "value": 1}] * room)
    with pytest.raises(KernelCallError, match="room for 0 of 1 records"):
        samples.produce({"kind": 0, "value": 1})
    assert obj["drain"].run().retval == room
    samples.produce({"kind": 3}, type="struct sample")
    with pytest.raises(BpfUsageError, match="no type 'struct smaple'"):
        samples.produce({"kind": 3}, type="struct smaple")
    with pytest.raises(BpfUsageError, match="it has no keys"):
        samples[1]


# -- stacks


def test_stacks_by_symbols(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "stacks.bpf.o")
    obj["take"].run()
    stacks = obj.maps["stacks"]
    kernel = stacks.stack(obj.globals["in_kernel"])
    assert any("test_run" in name for name in kernel.functions), str(kernel)
    assert any("sys_bpf" in name for name in kernel.functions)
    assert kernel.functions[0] in kernel
    assert str(kernel[0]).partition("+")[0] == kernel.functions[0]
    user = stacks.stack(obj.globals["in_user"], pid=obj.globals["pid"])
    assert user[0].symbol in ("syscall", "__syscall") or user[0].file, str(user)
    assert [frame.address for frame in stacks.stack(obj.globals["in_user"])] == [frame.address for frame in user]
    built = obj.maps["by_build_id"].stack(obj.globals["built"])
    assert len(built) >= 1
    with pytest.raises(KeyError, match="has no stack"):
        stacks.stack((obj.globals["in_kernel"] + 1) % 64 if obj.globals["in_user"] != 1 else 0)
    with pytest.raises(KeyError, match="for an error"):
        stacks.stack(-14)
    del stacks[obj.globals["in_kernel"]]
    assert obj.globals["in_kernel"] not in stacks
    with pytest.raises(BpfUsageError, match="no stack traces"):
        bpf.load(BUILT / "map_memory.bpf.o").maps["shared"].stack(1)
