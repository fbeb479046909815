"""Hostile input: whatever the bytes, the answer is a value or an ObjectError; soon, and in little memory.

The short form runs always. ``PYTEST_EBPF_FUZZ=100000`` runs that many mutations of each seed file; a failing one is
named by its seed, which is its whole reproduction.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from every_kind import every_kind
from mutate import mutate
from sample_object import sample

from pytest_ebpf.btf.codec import decode, describe, encode
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.write import rewrite_btf
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import parse_object
from pytest_ebpf.obj.summary import summarise

ROOT = Path(__file__).parents[3]
ROUNDS = int(os.environ.get("PYTEST_EBPF_FUZZ", "0"))
SLOW_SECONDS = 1.0
MEMORY = 256 << 20
BUILT = [ROOT / "sample_programs/built" / f"{name}.bpf.o" for name in ("xdp_lb", "core_task")]


def seeds() -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in BUILT}
    return {"little": sample("little"), "big": sample("big")} | files


@pytest.mark.parametrize("name", ["little", "big", *(path.name for path in BUILT)])
def test_mutated_objects(name: str) -> None:
    data = seeds()[name]
    verdicts = {run_object(mutate(data, seed=seed), name=f"{name}#{seed}") for seed in range(ROUNDS or 150)}
    # a mutator that always, or never, breaks the file tests nothing
    assert verdicts == {"parsed", "refused"}


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_mutated_btf(byteorder: str) -> None:
    data = every_kind(byteorder)[0].build()
    verdicts = {run_btf(mutate(data, seed=seed), name=f"{byteorder}#{seed}") for seed in range(ROUNDS or 150)}
    assert verdicts == {"parsed", "refused"}


def run_object(data: bytes, *, name: str) -> str:
    start = time.process_time()
    try:
        obj = parse_object(data, name=name)
        summarise(obj)
        verdict = "parsed"
        if obj.btf:
            walk(obj.btf)
            rewrite_btf(obj.btf, dict(obj.datasecs))
    except ObjectError:
        verdict = "refused"
    assert time.process_time() - start < SLOW_SECONDS, f"{name} took too long"
    return verdict


def run_btf(data: bytes, *, name: str) -> str:
    start = time.process_time()
    try:
        btf = parse_btf(data)
    except ObjectError:
        return "refused"
    walk(btf)
    assert time.process_time() - start < SLOW_SECONDS, f"{name} took too long"
    return "parsed"


def walk(btf: Btf) -> None:
    """Every question that BTF answers, of every type."""
    for type_id in btf.ids():
        for ask in (btf.type, btf.name, btf.resolve, btf.size, lambda i: describe(btf, i), lambda i: use(btf, i)):
            with suppress(ObjectError):
                ask(type_id)
    with suppress(ObjectError):
        btf.find("value")
        btf.find_flavours("task_struct")


def use(btf: Btf, type_id: int) -> None:
    size = btf.size(type_id)
    if size <= 4096:
        value = decode(btf, type_id, data=bytes(size))
        assert len(encode(btf, type_id, value=value)) == size


def test_memory_stays_small() -> None:
    """The same mutations in a process that may not have more: a MemoryError is no ObjectError."""
    code = f"""
import resource, sys
sys.path[:0] = {[str(ROOT), str(ROOT / "tests/writers"), str(ROOT / "tests/unit/obj")]!r}
import test_fuzz, elftools.elf.elffile
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {MEMORY}, used + {MEMORY}))
for seed in range({ROUNDS or 100}):
    test_fuzz.run_object(test_fuzz.mutate(test_fuzz.sample(), seed=seed), name=f"#{{seed}}")
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")
