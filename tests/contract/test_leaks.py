"""What outlives a scope is told, and only that."""

from __future__ import annotations

import os

import pytest

from pytest_ebpf.agent.ops import (
    Close,
    Data,
    Handle,
    Leak,
    LinkCreate,
    MakeDir,
    MapCreate,
    MapSet,
    Mount,
    NetNs,
    ObjGet,
    ObjPin,
    Op,
    ProgAttach,
    ProgDetach,
    RawTracepointOpen,
    ReadFile,
    Ref,
    Result,
    ScopeClose,
    ScopeClosed,
    ScopeOpen,
    Spawn,
)
from pytest_ebpf.kernels.base import Kernel, check, made
from support.bpf_asm import CGROUP_SKB, RAW_TRACEPOINT, counting, program, returning

EGRESS, XDP_ATTACH = 1, 37
PROG_ARRAY, HASH_OF_MAPS = 3, 13


def in_scope(kernel: Kernel, *ops: Op) -> tuple[list[Result], tuple[Leak, ...]]:
    """Run a batch in a scope of its own -> (results, what leaked)."""
    scope = made(kernel.run([ScopeOpen("leaky")])[0])
    results = kernel.run(ops, scope=scope)
    return results, check(kernel.run([ScopeClose(scope)])[0], ScopeClosed).leaks


@pytest.fixture
def bpffs(kernel: Kernel, scope: Handle) -> str:
    path = f"/tmp/leaks-{os.getpid()}-{os.urandom(4).hex()}"
    kernel.run([MakeDir(path), Mount("bpf", path, "bpf")], scope=scope)
    return path


def cgroup(kernel: Kernel) -> str:
    mounts = check(kernel.run([ReadFile("/proc/self/mounts")])[0], Data).data.decode()
    root = next(line.split()[1] for line in mounts.splitlines() if line.split()[2] == "cgroup2")
    return f"{root}/leaks-{os.getpid()}-{os.urandom(4).hex()}"


def test_a_pinned_map_leaks_and_the_path_is_named(kernel: Kernel, bpffs: str) -> None:
    _, leaks = in_scope(kernel, MapCreate(2, 4, 8, 1, name="kept", site="test_a.py:7"), ObjPin(Ref(0), f"{bpffs}/kept"))
    (leak,) = leaks
    assert (leak.kind, leak.name, leak.site) == ("map", "kept", "test_a.py:7")
    assert leak.held_by == f"pinned at {bpffs}/kept"
    assert leak.id > 0


def test_a_pinned_program_takes_its_map_with_it(kernel: Kernel, bpffs: str) -> None:
    _, leaks = in_scope(
        kernel,
        MapCreate(2, 4, 8, 1, name="counts"),
        program(counting(), maps=(Ref(0),)),
        ObjPin(Ref(1), f"{bpffs}/prog"),
    )
    assert ("prog", f"pinned at {bpffs}/prog") in {(leak.kind, leak.held_by) for leak in leaks}


def test_a_pin_that_was_made_by_somebody_else_is_found(kernel: Kernel, bpffs: str) -> None:
    """Pinned by another handle of the same map, which is not ours to know."""
    outer = made(kernel.run([ScopeOpen("other")])[0])
    results, _ = kernel.run([MapCreate(2, 4, 8, 1, name="m"), ObjPin(Ref(0), f"{bpffs}/first")], scope=outer), None
    del results
    moved = kernel.run([ObjGet(f"{bpffs}/first"), ObjPin(Ref(0), f"{bpffs}/second"), Close(Ref(0))])
    assert len(moved) == 3
    kernel.run([Spawn(("/bin/rm", f"{bpffs}/first"))])
    (leak,) = check(kernel.run([ScopeClose(outer)])[0], ScopeClosed).leaks
    assert leak.held_by == f"pinned at {bpffs}/second"


def test_a_removed_pin_is_no_leak(kernel: Kernel, bpffs: str) -> None:
    _, leaks = in_scope(
        kernel, MapCreate(2, 4, 8, 1), ObjPin(Ref(0), f"{bpffs}/gone"), Spawn(("/bin/rm", f"{bpffs}/gone"))
    )
    assert leaks == ()


def test_what_was_fetched_is_not_ours(kernel: Kernel, scope: Handle, bpffs: str) -> None:
    kernel.run([MapCreate(2, 4, 8, 1), ObjPin(Ref(0), f"{bpffs}/theirs")])
    _, leaks = in_scope(kernel, ObjGet(f"{bpffs}/theirs"))
    assert leaks == ()


def test_a_program_left_attached_leaks(kernel: Kernel, scope: Handle) -> None:
    group = made(kernel.run([MakeDir(cgroup(kernel))], scope=scope)[0])
    prog = program(returning(1), CGROUP_SKB, expected_attach_type=EGRESS)
    _, leaks = in_scope(kernel, prog, ProgAttach(Ref(0), group, EGRESS))
    (leak,) = leaks
    assert (leak.kind, leak.name) == ("prog", "prog")
    assert leak.held_by == f"attached to dir '{group.name}'"
    _, none = in_scope(kernel, prog, ProgAttach(Ref(0), group, EGRESS), ProgDetach(Ref(0), group, EGRESS))
    assert none == ()


def test_an_attachment_to_what_the_scope_made_goes_with_it(kernel: Kernel) -> None:
    prog = program(returning(1), CGROUP_SKB, expected_attach_type=EGRESS)
    _, leaks = in_scope(kernel, MakeDir(cgroup(kernel)), prog, ProgAttach(Ref(1), Ref(0), EGRESS))
    assert leaks == ()


def test_a_program_in_a_jump_table_that_lives_on(kernel: Kernel, scope: Handle) -> None:
    table = made(kernel.run([MapCreate(PROG_ARRAY, 4, 4, 4, name="jumps")], scope=scope)[0])
    _, leaks = in_scope(kernel, program(returning(1)), MapSet(table, bytes(4), Ref(0)))
    assert [(leak.kind, leak.held_by) for leak in leaks] == [("prog", "used by map 'jumps'")]


def test_the_usual_ends_leak_nothing(kernel: Kernel) -> None:
    """What dies late (maps after programs, programs after links, all after namespaces) is no leak."""
    counted = MapCreate(2, 4, 8, 1), program(counting(), maps=(Ref(0),))
    traced = MapCreate(2, 4, 8, 1), program(counting(0), RAW_TRACEPOINT, maps=(Ref(0),))
    xdp = MapCreate(2, 4, 8, 1), program(counting(), maps=(Ref(0),), expected_attach_type=XDP_ATTACH)
    for _ in range(10):
        for ops in (
            counted,
            (*traced, RawTracepointOpen(Ref(1), "sched_process_exec")),
            (*xdp, NetNs(), LinkCreate(Ref(1), XDP_ATTACH, 1, flags=2, netns=Ref(2))),
            (
                MapCreate(2, 4, 8, 1),
                MapCreate(HASH_OF_MAPS, 4, 4, 4, inner_map=Ref(0)),
                MapSet(Ref(1), bytes(4), Ref(0)),
            ),
            (MapCreate(PROG_ARRAY, 4, 4, 4), program(returning(1)), MapSet(Ref(0), bytes(4), Ref(1))),
        ):
            results, leaks = in_scope(kernel, *ops)
            assert "Failed" not in str(results)
            assert leaks == ()
