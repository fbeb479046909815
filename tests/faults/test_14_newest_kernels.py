"""Line 14: what is new in Linux 6.16-7.3. Tests with the fixture ``bpf`` expect an error where the kernel lacks it."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_ebpf import Bpf, EbpfError, Eth, KernelCallError, ObjectError, PlanError, ProgramRejected, Veth
from pytest_ebpf.agent.bpf.rings import _Ring
from pytest_ebpf.agent.ops import MapCreate, ProgLoad, Try
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.types import DeclTag, Kind
from pytest_ebpf.features.history import KFUNCS
from pytest_ebpf.live.facts_cache import Knowledge, facts_for
from pytest_ebpf.obj.insn import unpack_insns
from pytest_ebpf.obj.read import read_object
from pytest_ebpf.plan.data_maps import arena_start
from pytest_ebpf.plan.load_plan import LoadOptions, plan_load
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.vm.images.cache import Store, default_cache
from support.plan_facts import facts

FRAME = bytes(64)
SIZE, RECORD = mmap.PAGESIZE, 512  # records of 504 bytes and a header
KEPT = SIZE // RECORD - 1  # of at most SIZE - 1 bytes: kernel/bpf/ringbuf.c, __bpf_ringbuf_reserve()


class WrittenRing:
    """The memory of an overwriting ring buffer, as the kernel writes it."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * mmap.PAGESIZE + 2 * SIZE)
        self.ring = _Ring(self.fd, SIZE, overwrites=True)
        self.produced = 0

    def write(self, number: int, *, busy: bool = False) -> None:
        at = self.produced % SIZE
        record = struct.pack("<IIQ", (RECORD - 8) | busy << 31, 0, number).ljust(RECORD, b"x")
        for copy in (0, SIZE):  # the data area is mapped twice
            os.pwrite(self.fd, record, 2 * mmap.PAGESIZE + copy + at)
        self.produced += RECORD
        oldest = max(self.produced - KEPT * RECORD, 0)
        os.pwrite(self.fd, struct.pack("<QQQ", self.produced, 0, oldest), mmap.PAGESIZE)

    def read(self) -> list[int]:
        self.ring.consume(0)
        return [struct.unpack_from("<Q", record)[0] for record in self.ring.take().records]


@pytest.fixture
def written() -> Iterator[WrittenRing]:
    ring = WrittenRing()
    yield ring
    ring.ring.close()
    os.close(ring.fd)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 10, 16, 20, 100])
def test_a_ring_that_overwrites_gives_the_newest_records_in_order(written: WrittenRing, count: int) -> None:
    """Nine came out of order, twenty were an IndexError."""
    for number in range(count):
        written.write(number)
    assert written.read() == list(range(max(count - KEPT, 0), count))
    assert written.read() == []
    written.write(count)
    assert written.read() == [count]


def test_reading_goes_on_where_it_stopped(written: WrittenRing) -> None:
    for number in range(5):
        written.write(number)
    assert written.read() == [0, 1, 2, 3, 4]
    for number in range(5, 11):
        written.write(number)
    assert written.read() == [5, 6, 7, 8, 9, 10]
    written.write(11, busy=True)
    assert written.read() == [], "it is still being written"


def test_records_that_are_overwritten_while_they_are_read(
    written: WrittenRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        written.write(number)
    column, calls = _Ring._column, [0]

    def race(ring: _Ring, offset: int, *, place: int, left: int) -> int:
        found = column(ring, offset, place=place, left=left)
        calls[0] += 1
        if calls[0] == 1:
            written.write(8)
            written.write(9)
        return found

    monkeypatch.setattr(_Ring, "_column", race)
    assert written.read() == list(range(10 - KEPT, 10))


@pytest.mark.parametrize("count", [3, 9, 20])
def test_an_overwriting_ring_of_this_kernel(bpf: Bpf, built: Path, count: int) -> None:
    if not bpf.has("flag:rb_overwrite"):
        pytest.skip("this kernel has no rings that overwrite")
    obj = bpf.load(built / "overwrite_ringbuf.bpf.o")
    for _ in range(count):
        obj["write"].run(FRAME)
    records = obj.maps["events"].events(type="event")
    assert [record["number"] for record in records] == list(range(max(count - KEPT, 0), count))
    assert obj.globals["refused"] == 0


def has_percpu_data(bpf: Bpf, built: Path) -> bool:
    obj = read_object(built / "percpu_globals.bpf.o")
    return facts_for(bpf.session, obj, knowledge=Knowledge(), btf=None).data["percpu_data"]


def test_globals_of_each_cpu(bpf: Bpf, built: Path) -> None:
    """They were one shared array without a word."""
    if not has_percpu_data(bpf, built):
        with pytest.raises(PlanError, match=r"section \.percpu has variables of each CPU, which this kernel") as raised:
            bpf.load(built / "percpu_globals.bpf.o")
        assert raised.value.since == "7.3"
        return
    obj = bpf.load(built / "percpu_globals.bpf.o", globals={"runs": 20})
    cpus = obj.globals["runs"]
    assert isinstance(cpus, list)
    assert set(cpus) == {20}
    for _ in range(3):
        obj["count"].run(FRAME)
    assert sum(obj.globals["runs"]) == 20 * len(cpus) + 3
    assert sum(obj.globals["others"]) == 6
    assert obj.globals["shared"] == 3
    obj.globals["others"] = 7
    assert obj.globals["others"] == [7] * len(cpus)
    obj.globals["others"] = list(range(len(cpus)))
    assert obj.globals["others"] == list(range(len(cpus)))
    assert obj.maps[".percpu"].kind.per_cpu


@pytest.mark.bpf_feature("arena")
def test_globals_of_an_arena_are_where_libbpf_puts_them(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "arena_end.bpf.o")
    page = bpf.session.target.described.page_size
    assert obj["where"].run().retval in (4, 3 * page + 4), "the start of old kernels, the last page of new ones"
    assert (obj.globals["first"], obj.globals["second"]) == (11, 22)
    obj.globals["second"] = 33
    assert obj.globals["second"] == 33
    at = obj["where"].run().retval & 0xFFFFFFFF  # the low half of the address
    assert obj.maps["arena"].memory[at : at + 4] == (33).to_bytes(4, "little")


@pytest.mark.parametrize(("release", "start"), [(True, 3 * 4096), (False, 0)])
def test_where_an_arena_has_its_variables(built: Path, release: bool, start: int) -> None:
    obj = read_object(built / "arena_end.bpf.o")
    known = facts(data={"full_range": release})
    assert arena_start(obj, known, overrides={}) == start
    assert arena_start(obj, known, overrides={"arena": 8}) == (7 * 4096 if release else 0)


@pytest.mark.bpf_feature("arena")
def test_variables_at_the_end_of_an_arena_of_4_gib_are_reached(bpf: Bpf, built: Path) -> None:
    """Their offsets take all 32 bits of an instruction's field (the kernel's selftest verifier_arena_globals1)."""
    page = bpf.session.target.described.page_size
    obj = bpf.load(built / "arena_end.bpf.o", maps={"arena": {"max_entries": (1 << 32) // page}})
    at = obj["where"].run().retval & 0xFFFFFFFF  # the low half of the address
    assert at in (4, (1 << 32) - page + 4)
    assert (obj.globals["first"], obj.globals["second"]) == (11, 22)


def test_an_offset_of_32_bits_fits_into_an_instruction(built: Path) -> None:
    obj = read_object(built / "arena_end.bpf.o")
    options = LoadOptions(maps={"arena": {"max_entries": 1 << 20}})
    plan = plan_load(obj, facts(data={"full_range": True}), options=options)
    load = plan.ops[plan.programs[0].op]
    assert isinstance(load, Try)
    assert isinstance(load.op, ProgLoad)
    assert [slot.imm for slot in unpack_insns(load.op.insns) if slot.imm == 4 - 4096], "0xfffff004, the last page"


def test_variables_of_each_cpu_need_a_kernel_that_has_them(built: Path) -> None:
    obj = read_object(built / "percpu_globals.bpf.o")
    assert [section.kind for section in obj.data if section.name == ".percpu"] == ["percpu"]
    plan = plan_load(obj, facts(data={"percpu_data": True}))
    created = [op for op in plan.ops if isinstance(op, MapCreate) and op.type == MapType.PERCPU_ARRAY]
    assert [(op.value_size, op.max_entries, op.flags) for op in created] == [(8, 1, 0)]
    with pytest.raises(PlanError, match="variables of each CPU"):
        plan_load(obj, facts(data={"percpu_data": False}))


@pytest.mark.bpf_kernel(">=6.1")  # the first with an iterator over control groups
def test_groups_below_a_group(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "newest_kinds.bpf.o", only="each_group")
    group = bpf.cgroup()
    if not bpf.has("fsession"):
        with pytest.raises((KernelCallError, PlanError)):
            obj["each_group"].attach(cgroup=group, order="children")
        return
    link = obj["each_group"].attach(cgroup=group, order="children")
    link.read()
    assert obj.globals["groups"] == 0, "none is below it"


@pytest.mark.parametrize("name", ["rhash", "fsession", "fentry.multi"])
def test_features_by_name(bpf: Bpf, name: str) -> None:
    answer = bpf.feature(name)
    assert answer.since.startswith("7.")
    assert answer.supported is not None or answer.cause


def test_a_link_on_several_functions_has_details(bpf: Bpf, built: Path) -> None:
    if not bpf.has("fentry.multi"):
        return
    link = bpf.load(built / "newest_kinds.bpf.o", only="on_several")["on_several"].attach(
        function=["do_nanosleep", "vfs_read"]
    )
    assert link.info.type == "tracing_multi"
    assert link.info.details["count"] == 2


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("bpf_strnlen", "6.17"),
        ("bpf_stream_vprintk", "6.17"),
        ("bpf_stream_vprintk_impl", "6.18"),
        ("bpf_list_add", "7.3"),
        ("bpf_icmp_send", "7.3"),
        ("scx_bpf_kick_cid", "7.3"),
    ],
)
def test_kfuncs_of_the_newest_kernels_are_in_the_history(name: str, since: str) -> None:
    assert KFUNCS[name][0] == since


def test_the_history_has_every_kfunc_of_the_kernels_that_are_kept_here() -> None:
    """It is generated from their BTF, so that it cannot stop: ci/catalogue_kfuncs.py."""
    for entry in Store(default_cache()).entries():
        types = entry.path / "vmlinux.btf"
        if types.is_file():
            missing = tagged_kfuncs(parse_btf(types.read_bytes())) - KFUNCS.keys()
            assert not missing, f"{entry.series}: run ci/catalogue_kfuncs.py and ci/gen_history.py"


def tagged_kfuncs(btf: Btf) -> set[str]:
    names = {
        btf.name(found.type)
        for tag in btf.find("bpf_kfunc", Kind.DECL_TAG)
        if isinstance(found := btf.type(tag), DeclTag)
    }
    return {
        name for name in names if not name.startswith(("bpf_fentry_test", "bpf_modify_return_test", "bpf_kfunc_call_"))
    }


BOUND = pytest.mark.bpf_kernel(">=6.3")


@BOUND
def test_an_xdp_program_for_one_interface_reads_its_metadata(bpf: Bpf, built: Path, bpf_veth: Veth) -> None:
    """It calls a kfunc of the driver, which the verifier allows for such programs alone."""
    obj = bpf.load(built / "device_bound.bpf.o", programs={"asks_device": {"interface": bpf_veth.b}})
    obj["asks_device"].attach(bpf_veth.b, mode="native")
    obj.globals["answer"] = -1
    bpf_veth.send(Eth() / bytes(64))
    assert bpf_veth.sniff(timeout=2, count=1)
    assert obj.globals["answer"] == 0, "veth answers; the function for other drivers says EOPNOTSUPP"
    with pytest.raises(KernelCallError, match=r"EINVAL[\s\S]*loaded for one interface has no test runs"):
        obj["asks_device"].run(FRAME)


@BOUND
def test_it_is_attached_to_no_other_interface(bpf: Bpf, built: Path, bpf_veth: Veth) -> None:
    spec = bpf.open(built / "device_bound.bpf.o")
    spec.programs["asks_device"].interface = bpf_veth.b
    obj = spec.load()
    with pytest.raises(KernelCallError, match="EINVAL"):
        obj["asks_device"].attach(bpf_veth.a, mode="native")


@BOUND
def test_without_an_interface_the_error_says_how_to_give_one(bpf: Bpf, built: Path) -> None:
    with pytest.raises(ProgramRejected, match="device-bound") as rejected:
        bpf.load(built / "device_bound.bpf.o")
    assert 'programs={"name": {"interface": bpf_veth.b}}' in str(rejected.value)


@BOUND
@pytest.mark.parametrize(
    ("interface", "message"),
    [
        ("nowhere", "there is no network interface 'nowhere'; there are "),
        (True, "is no interface"),
        (0, "is no interface"),
        (1 << 20, "wants Linux 6.3 or newer, and an interface that exists"),
    ],
)
def test_interfaces_that_are_none(bpf: Bpf, built: Path, interface: object, message: str) -> None:
    with pytest.raises(EbpfError, match=message):
        bpf.load(built / "device_bound.bpf.o", programs={"asks_device": {"interface": interface}})


def test_only_xdp_programs_are_for_one_interface(bpf: Bpf, built: Path) -> None:
    with pytest.raises(ObjectError, match=r"throws.*only XDP programs are loaded for one interface"):
        bpf.load(built / "exception_cb.bpf.o", programs={"throws": {"interface": "lo"}})
