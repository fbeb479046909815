"""Loading on a kernel that answers from a script: what fails, how it is told, and what is closed again."""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf import absent, next_line
from pytest_ebpf.agent.ops import BtfLoad, Close, Failed, MapCreate, ProgLoad, ProgRejected, Try
from pytest_ebpf.errors import BpfUsageError, KernelCallError, ObjectError, PlanError
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.verifier.program_rejected import ProgramRejected
from support.paths import ROOT

OBJECTS = ROOT / "sample_programs" / "built"
LOG = b"""func#0 @0
0: R1=ctx() R10=fp0
; int x = *p; @ police.c:7
1: (61) r0 = *(u32 *)(r1 +76)
invalid bpf_context access off=76 size=4
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""

Target = Callable[..., Any]


def ops(target: Any, kind: type) -> list[Any]:
    flat = [getattr(op, "op", op) for batch in target.kernel.batches for op in batch]
    return [op for op in flat if isinstance(op, kind)]


def test_one_batch_loads_an_object(target_on: Target) -> None:
    target = target_on()
    bpf = Bpf(target, directories=[OBJECTS])
    before = len(target.kernel.batches)
    obj = bpf.load("config.bpf.o")
    assert len(target.kernel.batches) == before + 1
    assert list(obj.programs) == ["police"]
    assert set(obj.globals) >= {"limits", "budget"}
    assert repr(obj) == "<BpfObject config.bpf.o: police>"


def test_parsed_and_planned_once(target_on: Target) -> None:
    """The second load sends the very same operations; a loader with a cache of its own makes others like them."""
    target = target_on()
    for cache in (LoadCache(), LoadCache()):
        bpf = Bpf(target, directories=[OBJECTS], cache=cache)
        bpf.load("config.bpf.o")
        bpf.load("config.bpf.o")
    first, again, other, _ = [loads[0] for batch in target.kernel.batches if (loads := _loads(batch))]
    assert again.insns is first.insns
    assert other.insns is not first.insns
    assert other.insns == first.insns


def _loads(batch: Sequence[Any]) -> list[ProgLoad]:
    flat = [getattr(op, "op", op) for op in batch]
    return [op for op in flat if isinstance(op, ProgLoad)]


def test_rejection(target_on: Target) -> None:
    target = target_on({ProgLoad: ProgRejected(errno.EACCES, LOG, 1)})
    bpf = Bpf(target, directories=[OBJECTS])
    with pytest.raises(ProgramRejected) as error:
        bpf.load("config.bpf.o")
    first = str(error.value).splitlines()[0]
    assert first.startswith("police: invalid bpf_context access off=76 size=4, at ")
    assert first.endswith("(EACCES)")
    assert error.value.log.text == LOG.decode()
    assert error.value.source_line is not None
    assert len(ops(target, Close)) == len(ops(target, MapCreate)) + len(ops(target, BtfLoad))


def test_rejection_without_a_log_gives_a_hint(target_on: Target) -> None:
    bpf = Bpf(target_on({ProgLoad: ProgRejected(errno.EPERM)}), directories=[OBJECTS])
    with pytest.raises(
        ProgramRejected, match=r"(?s)rejected it and wrote no verifier log \(EPERM\).*policy of this machine"
    ):
        bpf.load("config.bpf.o")


def test_a_trace_that_was_cut_says_so(target_on: Target) -> None:
    bpf = Bpf(target_on({ProgLoad: ProgRejected(errno.EACCES, LOG, 1, truncated=True)}), directories=[OBJECTS])
    with pytest.raises(ProgramRejected, match=r"trace is cut to 0 MB.*log_level=1 asks for all of it"):
        bpf.load("config.bpf.o")


def test_a_map_that_cannot_be_made(target_on: Target) -> None:
    bpf = Bpf(target_on({MapCreate: Failed("MapCreate", errno.EPERM, "not permitted")}), directories=[OBJECTS])
    with pytest.raises(KernelCallError, match="EPERM") as error:
        bpf.load("config.bpf.o")
    assert "This process has the capabilities, so a policy of this machine forbids it" in str(error.value)


def test_a_map_type_that_this_kernel_lacks(target_on: Target) -> None:
    ring = 27

    def refuse(op: MapCreate) -> Failed | None:
        return Failed("MapCreate", errno.EINVAL, "invalid") if op.type == ring else None

    bpf = Bpf(target_on({MapCreate: refuse}), directories=[OBJECTS])
    with pytest.raises(PlanError, match="ringbuf") as error:
        bpf.load("exec_tracer.bpf.o")
    assert (error.value.feature, error.value.since) == ("ringbuf", "5.8")


def test_rejects(target_on: Target) -> None:
    bpf = Bpf(target_on({ProgLoad: ProgRejected(errno.EACCES, LOG, 1)}), directories=[OBJECTS])
    with bpf.rejects("invalid bpf_context access off={{[0-9]+}}", errno="EACCES") as rejected:
        bpf.load("config.bpf.o")
    assert rejected.value.program == "police"
    with bpf.rejects(errno=errno.EACCES):
        bpf.load("config.bpf.o")


def test_rejects_by_class_order_and_absence(target_on: Target) -> None:
    bpf = Bpf(target_on({ProgLoad: ProgRejected(errno.EACCES, LOG, 1)}), directories=[OBJECTS])
    with bpf.rejects(
        "1: (61)", absent("leak"), next_line("invalid bpf_context access"), reason="ctx-access", absent="leak"
    ):
        bpf.load("config.bpf.o")
    with pytest.raises(AssertionError, match="expected class 'null-deref'"), bpf.rejects(reason="null-deref"):
        bpf.load("config.bpf.o")
    with pytest.raises(AssertionError, match="UNEXPECTED"), bpf.rejects(absent=["leak", "bpf_context"]):
        bpf.load("config.bpf.o")
    with pytest.raises(BpfUsageError, match="no class of rejections 'nul-deref'"):
        bpf.rejects(reason="nul-deref")
    with pytest.raises(BpfUsageError, match="an expectation is text"):
        bpf.rejects(13)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "number", "words"),
    [
        (
            "invalid mem access",
            "EACCES",
            r"police was rejected for another reason: .* \(0 of 1",
        ),
        ("invalid bpf_context", "EINVAL", "rejected with EACCES, expected EINVAL"),
    ],
)
def test_rejected_for_another_reason(target_on: Target, pattern: str, number: str, words: str) -> None:
    bpf = Bpf(target_on({ProgLoad: ProgRejected(errno.EACCES, LOG, 1)}), directories=[OBJECTS])
    with pytest.raises(AssertionError, match=words), bpf.rejects(pattern, errno=number):
        bpf.load("config.bpf.o")


def test_accepted_though_it_should_be_rejected(target_on: Target) -> None:
    bpf = Bpf(target_on(), directories=[OBJECTS])
    with pytest.raises(AssertionError, match="the kernel accepted what should be rejected with 'x'"), bpf.rejects("x"):
        bpf.load("config.bpf.o")


def test_other_errors_pass_through_rejects(target_on: Target) -> None:
    bpf = Bpf(target_on(), directories=[OBJECTS])
    with pytest.raises(ObjectError), bpf.rejects("x") as rejected:
        bpf.load("missing.o")
    with pytest.raises(BpfUsageError, match="nothing was rejected"):
        _ = rejected.value


def test_where_objects_are_looked_for(target_on: Target, tmp_path: Path) -> None:
    bpf = Bpf(target_on(), directories=[tmp_path, OBJECTS])
    assert bpf.find("config.bpf.o") == OBJECTS / "config.bpf.o"
    (tmp_path / "config.bpf.o").write_bytes(b"")
    assert bpf.find("config.bpf.o") == tmp_path / "config.bpf.o"
    assert bpf.find(OBJECTS / "config.bpf.o") == OBJECTS / "config.bpf.o"


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a directory, not an object file"),
        (lambda path: path.write_bytes(b""), "x.o"),
        (lambda path: path.write_text("hello, I am no object file at all, but quite long\n" * 9), "x.o"),
        (lambda path: path.write_bytes((OBJECTS / "config.bpf.o").read_bytes()[:900]), "x.o"),
    ],
)
def test_files_that_are_no_objects(
    target_on: Target, tmp_path: Path, prepare: Callable[[Path], object], words: str
) -> None:
    prepare(tmp_path / "x.o")
    with pytest.raises(ObjectError, match=words) as error:
        Bpf(target_on(), directories=[tmp_path]).load("x.o")
    assert "x.o" in str(error.value)


def test_a_missing_object_whose_source_is_there(target_on: Target, tmp_path: Path) -> None:
    (tmp_path / "x.bpf.c").write_text("")
    with pytest.raises(ObjectError, match=r"was it compiled\? clang -O2 -g -target bpf -c \S*x.bpf.c -o \S*x.bpf.o"):
        Bpf(target_on(), directories=[tmp_path]).load("x.bpf.o")


def test_names_that_do_not_exist(target_on: Target) -> None:
    obj = Bpf(target_on(), directories=[OBJECTS]).load("config.bpf.o")
    with pytest.raises(KeyError, match="no program 'polise'; did you mean 'police'"):
        obj["polise"]
    with pytest.raises(KeyError, match="no map 'x'; it has: "):
        obj.maps["x"]
    with pytest.raises(KeyError, match="no global 'bugdet'; did you mean 'budget'"):
        obj.globals["bugdet"]


def test_closing_an_object(target_on: Target) -> None:
    target = target_on()
    with Bpf(target, directories=[OBJECTS]).load("config.bpf.o") as obj:
        made = len(ops(target, MapCreate)) + len(ops(target, BtfLoad)) + len(ops(target, ProgLoad))
    assert len(ops(target, Close)) == made
    obj.close()
    assert len(ops(target, Close)) == made


def test_a_closed_scope_says_so(target_on: Target) -> None:
    bpf = Bpf(target_on(), directories=[OBJECTS], name="test_x")
    obj = bpf.load("config.bpf.o")
    assert bpf.close() == ()
    with pytest.raises(BpfUsageError, match="test_x is closed"):
        obj["police"].run(bytes(64))


def test_nothing_to_load(target_on: Target) -> None:
    with pytest.raises(BpfUsageError, match=r"only=\(\) would load nothing"):
        Bpf(target_on(), directories=[OBJECTS]).load("config.bpf.o", only=[])


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        (3, {}, "expected an object file path or a list of paths, got 3"),
        ([3], {}, r"expected an object file path or a list of paths, got \[3\]"),
        ("config.bpf.o", {"only": 3}, "only=3 names no programs"),
        ("config.bpf.o", {"only": [3]}, r"only=\[3\] names no programs"),
        ("config.bpf.o", {"globals": [1]}, r"globals=\[1\] is no dict"),
        ("config.bpf.o", {"maps": 3}, "maps=3 is no dict"),
        ("config.bpf.o", {"programs": "police"}, "programs='police' is no dict"),
        ("config.bpf.o", {"kconfig": ["CONFIG_HZ"]}, "kconfig=.* is no dict"),
    ],
)
def test_arguments_of_another_shape(target_on: Target, path: object, options: dict[str, object], words: str) -> None:
    with pytest.raises(BpfUsageError, match=words):
        Bpf(target_on(), directories=[OBJECTS]).load(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [-1, "2"])
def test_a_log_level_that_is_none(target_on: Target, level: Any) -> None:
    with pytest.raises(BpfUsageError, match=r"log_level=.* is no level"):
        Bpf(target_on(), directories=[OBJECTS]).load("config.bpf.o", log_level=level)


def test_attach_of_an_object_without_anything_to_attach(target_on: Target) -> None:
    obj = Bpf(target_on(), directories=[OBJECTS]).load("syscall_prog.bpf.o")
    with pytest.raises(BpfUsageError, match="has no program that can be attached"):
        obj.attach()
    with pytest.raises(BpfUsageError, match=r"no program of syscall_prog.bpf.o takes cgroup="):
        obj.attach(cgroup="/x")


def test_every_op_that_may_fail_is_tried(target_on: Target) -> None:
    target = target_on()
    Bpf(target, directories=[OBJECTS]).load("config.bpf.o")
    assert all(isinstance(op, Try) for op in target.kernel.batches[-1] if isinstance(getattr(op, "op", op), ProgLoad))


def test_the_garbage_collector_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """It rests while an object is parsed, also one that is none."""
    seen: list[bool] = []

    def parse(data: bytes, *, name: str) -> None:
        seen.append(gc.isenabled())
        raise ObjectError("no object", path=name)

    monkeypatch.setattr("pytest_ebpf.live.load_cache.parse_object", parse)
    for wanted in (True, False, True):
        (gc.enable if wanted else gc.disable)()
        with pytest.raises(ObjectError):
            LoadCache().object(b"", name="x.o")
        assert gc.isenabled() is wanted
    assert seen == [False] * 3
