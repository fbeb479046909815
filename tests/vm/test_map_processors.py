"""Per-CPU maps, and the flags of one value, on real kernels. The host unless kernels are named."""

from __future__ import annotations

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError, MapFlag
from pytest_ebpf.features.skip_rule import is_older
from support.paths import TESTS

BUILT = TESTS / "objects" / "built"


@pytest.mark.parametrize("name", ["per_cpu_array", "per_cpu_hash", "per_cpu_lru"])
def test_one_processor(bpf: Bpf, name: str) -> None:
    table = bpf.load(BUILT / "map_memory.bpf.o").maps[name]
    cpus = bpf.session.target.described.cpus
    table[1] = {"count": 3}
    table.on_cpu(cpus - 1)[1] = {"count": 9, "mark": 1}
    assert table.on_cpu(cpus - 1)[1] == {"count": 9, "mark": 1}
    assert [value["count"] for value in table[1]] == [3] * (cpus - 1) + [9]
    assert table.sum(1)["count"] == 3 * (cpus - 1) + 9
    with pytest.raises(IndexError, match=f"processor {cpus}"):
        table.on_cpu(cpus)
    if name != "per_cpu_array":
        with pytest.raises(KeyError):
            table.on_cpu(0)[77]
        table.on_cpu(0)[2] = {"count": 4}
        assert table.sum(2)["count"] == 4


@pytest.mark.bpf_guest(cpus=2)
@pytest.mark.parametrize("name", ["per_cpu_array", "per_cpu_hash"])
def test_flags_of_one_value_in_a_batch(bpf: Bpf, name: str) -> None:
    """Line 11 of "the verifier's words": with MapFlag.ALL_CPUS the kernel takes one value for each key, not padded."""
    table = bpf.load(BUILT / "map_locks.bpf.o", programs={"count": False}).maps[name]
    cpus = bpf.session.target.described.cpus
    if is_older(bpf.session.target.described.release, "7.0"):
        with pytest.raises(
            KernelCallError, match=r"(?s)EINVAL.*MapFlag.CPU and ALL_CPUS are for per-CPU maps, on Linux 7.0"
        ):
            table.update({0: 5, 1: 7}, flags=MapFlag.ALL_CPUS)
        return
    table.update({0: 5, 1: 7, 2: 9}, flags=MapFlag.ALL_CPUS)
    table.put(3, 11, flags=16)
    assert dict(table.items()) == {0: [5] * cpus, 1: [7] * cpus, 2: [9] * cpus, 3: [11] * cpus}
    last = cpus - 1
    table.update({0: 1, 1: 2}, flags=MapFlag.CPU | last << 32)
    assert dict(table.items()) == {0: [5] * last + [1], 1: [7] * last + [2], 2: [9] * cpus, 3: [11] * cpus}
    assert table.get(1, flags=MapFlag.CPU | last << 32) == 2
    with pytest.raises(TypeError, match="takes a number"):
        table.update({0: [5] * cpus}, flags=MapFlag.ALL_CPUS)
    with pytest.raises(KernelCallError, match=rf"(?s)ERANGE.*CPU {cpus}, and the kernel has 0 to {last}"):
        table.put(0, 1, flags=MapFlag.CPU | cpus << 32)


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("plain_hash", 4, "needs a struct bpf_spin_lock"),
        ("plain_hash", 3, "exclude each other"),
        ("plain_hash", 0x40, "0x40 is no flag of an update: pytest_ebpf.MapFlag has NOEXIST, EXIST"),
        ("per_cpu_array", 1, "NOEXIST never succeeds"),
        ("plain_hash", 2, "the flag EXIST was given"),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_flags_that_a_map_refuses(bpf: Bpf, name: str, flags: int, words: str, many: bool) -> None:
    table = bpf.load(BUILT / "map_locks.bpf.o", programs={"count": False}).maps[name]
    with pytest.raises(KernelCallError, match=words):
        table.update({0: 1}, flags=flags) if many else table.put(0, 1, flags=flags)


def test_only_per_cpu_maps_have_processors(bpf: Bpf) -> None:
    with pytest.raises(BpfUsageError, match="one value for all processors"):
        bpf.load(BUILT / "map_memory.bpf.o").maps["shared"].on_cpu(0)
