"""Hostile input: whatever the bytes, the answer is a plan, an ObjectError or a PlanError; soon, and in little memory.

The short form runs always; benchmarks/fuzz.py is the long one. ``PYTEST_EBPF_FUZZ=5000`` runs that many mutations of
each seed file here; a failing one is named by its seed, which is its whole reproduction.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.facts import Facts
from support.every_kind import every_kind
from support.fuzz_cases import TooSlowError, btf_case, object_case, target_case, time_limit
from support.mutate import mutate
from support.paths import ROOT
from support.plan_facts import facts
from support.sample_object import sample

ROUNDS = int(os.environ.get("PYTEST_EBPF_FUZZ", "60"))
MEMORY = 256 << 20
BUILT = {f"{name}.bpf.o": ROOT / f"sample_programs/built/{name}.bpf.o" for name in ("xdp_lb", "core_task")}
OLD = frozenset(("btf", "func", "datasec", "func_global"))  # Linux 5.10


def seed_file(name: str) -> bytes:
    return BUILT[name].read_bytes() if name in BUILT else sample(name)


def kernels(data: bytes) -> list[Facts]:
    """A kernel with the very types that the object was compiled with, one that lacks kinds, one without BTF."""
    obj = parse_object(data, name="seed.o")
    return [
        facts(btf=obj.btf, byteorder=obj.byteorder),
        facts(btf=obj.btf, byteorder=obj.byteorder, features=OLD, callbacks=False, kconfig="CONFIG_HZ=250\n"),
        facts(features=(), byteorder=obj.byteorder),
    ]


@pytest.mark.parametrize("name", ["little", "big", *BUILT])
def test_mutated_objects(name: str) -> None:
    data = seed_file(name)
    targets = kernels(data)
    verdicts = {object_case(data, seed=seed, facts=targets[seed % 3]) for seed in range(ROUNDS)}
    # a mutator that always, or never, breaks the file tests nothing
    assert verdicts >= {"planned", "partly", "refused"}


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_mutated_btf(byteorder: str) -> None:
    data = every_kind(byteorder)[0].build()
    assert {btf_case(data, seed=seed) for seed in range(ROUNDS)} == {"parsed", "refused"}


@pytest.mark.parametrize("name", ["little", "big", "core_task.bpf.o"])
def test_mutated_types_of_a_kernel(name: str) -> None:
    """CO-RE against damaged BTF: a file that somebody gave."""
    obj = parse_object(seed_file(name), name=name)

    def verdict(seed: int) -> str:
        return target_case(
            obj.btf_raw, seed=seed, program=obj, facts=lambda btf: facts(btf=btf, byteorder=obj.byteorder)
        )

    found = {verdict(seed) for seed in range(ROUNDS)}
    assert "refused" in found
    assert len(found) > 1


def test_a_mutation_is_its_seed() -> None:
    data = seed_file("xdp_lb.bpf.o")
    changed = [mutate(data, seed=seed) for seed in range(50)]
    assert changed == [mutate(data, seed=seed) for seed in range(50)]
    assert len(set(changed)) > 40


def test_what_takes_too_long_is_found() -> None:
    with pytest.raises(TooSlowError), time_limit(0.05):
        sum(iter(lambda: 1, 0))


def test_memory_stays_small() -> None:
    """The same mutations in a process that may not have more: a MemoryError is no ObjectError."""
    code = f"""
import resource, sys
sys.path[:0] = {[str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/slow/obj")]!r}
import test_fuzz
data = test_fuzz.sample()
target = test_fuzz.kernels(data)[0]
test_fuzz.object_case(data, seed=0, facts=target)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {MEMORY}, used + {MEMORY}))
for seed in range({ROUNDS}):
    test_fuzz.object_case(data, seed=seed, facts=target)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")
