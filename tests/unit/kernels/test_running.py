"""The facts about a guest: asked once per image, kept for the next process, and never another guest's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_ebpf.agent.ops import BtfLoad, Describe, Described, Done
from pytest_ebpf.frozen import replace
from pytest_ebpf.kernels.fake import FakeKernel
from pytest_ebpf.kernels.probe_file import KEPT, ProbeFile
from pytest_ebpf.kernels.running import GuestState, RunningKernel

DESCRIBED = Described(
    *("6.1.0-57-amd64", "#1 SMP Debian 6.1.192-3", "x86_64", 1, 4096, "one-boot", "little", False, 1, 0, True, 2),
    cmdline="lsm=bpf",
)


def asked(cache: Path, *described: Described, digest: str = "0123", accel: str = "TCG") -> int:
    """How many batches the facts of a guest take that describes itself so, at its start and when it is probed."""
    kernel = FakeKernel({Describe: described, BtfLoad: Done()})
    image: Any = SimpleNamespace(digest=digest, kconfig=None, btf=None)
    running = RunningKernel("6.1", kernel=kernel, accel=accel, state=GuestState(), cache=cache, image=image)
    before = len(kernel.batches)
    assert running.facts().described.release == DESCRIBED.release
    return len(kernel.batches) - before


def test_a_second_guest_is_not_asked(tmp_path: Path) -> None:
    assert asked(tmp_path, DESCRIBED, DESCRIBED) == 1
    assert asked(tmp_path, DESCRIBED) == 0
    assert asked(tmp_path, replace(DESCRIBED, boot="another-boot")) == 0


@pytest.mark.parametrize(
    "other",
    [
        {"digest": "4567"},
        {"accel": "KVM"},
        {"described": replace(DESCRIBED, cmdline="lsm=")},
        {"described": replace(DESCRIBED, version="#2 SMP Debian 6.1.192-3")},
        {"described": replace(DESCRIBED, cpus=4)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_guest_is(tmp_path: Path, other: dict[str, Any]) -> None:
    assert asked(tmp_path, DESCRIBED, DESCRIBED) == 1
    described = other.pop("described", DESCRIBED)
    assert asked(tmp_path, described, described, **other) == 1


def test_the_answers_of_a_guest_that_a_test_has_changed_are_not_kept(tmp_path: Path) -> None:
    """Without its JIT compiler a kernel refuses what it takes otherwise."""
    assert asked(tmp_path, DESCRIBED, replace(DESCRIBED, jit=0)) == 1
    assert asked(tmp_path, DESCRIBED, DESCRIBED) == 1
    assert asked(tmp_path, DESCRIBED) == 0


@pytest.mark.parametrize("damage", ["", "[", "{}", "[1, 2]", "[true]", '["true", "true"]', "\0" * 100])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    kept = ProbeFile(tmp_path, ("a",))
    kept.write([True, False])
    assert kept.read(2) == [True, False]
    (file,) = tmp_path.iterdir()
    file.write_text(damage)
    assert kept.read(2) is None
    kept.write([True, True])
    assert kept.read(2) == [True, True]


def test_the_files_do_not_grow_in_number(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        ProbeFile(tmp_path, (number,)).write([True])
    assert len(list(tmp_path.iterdir())) == KEPT


def test_a_cache_that_cannot_be_written_to_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "facts").write_text("a file where the folder would be")
    assert asked(tmp_path, DESCRIBED, DESCRIBED) == 1
    assert asked(tmp_path, DESCRIBED, DESCRIBED) == 1
