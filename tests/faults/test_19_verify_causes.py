"""Line 19: verify gives the causes that load and inspect have, and tells a missing feature from a mistake."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest
from click.testing import CliRunner

from pytest_ebpf import Bpf, GuestLost, PlanError
from pytest_ebpf.agent.ops import Failed, MapCreate
from pytest_ebpf.cli.verify import verify
from pytest_ebpf.cli.verify_setup import POLICIES
from pytest_ebpf.features.base import Answer
from pytest_ebpf.live import batch as refusals
from pytest_ebpf.live.attach import tracing
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.load_plan import plan_load
from pytest_ebpf.verifier.verifier_log import parse_log
from pytest_ebpf.verify import verdicts as gathering
from pytest_ebpf.verify.verdict import ProgramVerdict, verify_object
from pytest_ebpf.verify.verdicts import Kernels, gather
from support.plan_facts import facts

Parsed = Callable[[str], ObjectFile]
NOWHERE = {"nowhere_at_all", "no_tracepoint", "no_hook", "no_iterator"}


def test_a_target_that_no_kernel_of_the_run_has_is_an_error_of_the_object(bpf: Bpf, parsed: Parsed) -> None:
    kernels = Kernels(("here",), start=lambda kernel: bpf.session.target)
    found = {v.program: v for v in gather([parsed("missing_targets")], kernels, cache=LoadCache())}
    assert {name for name, verdict in found.items() if verdict.kind == "object"} >= NOWHERE
    assert "this kernel has no kernel function 'no_such_function'" in found["nowhere_at_all"].message
    assert found["is_fine"].accepted


def test_a_target_that_another_kernel_has_is_a_missing_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(obj: ObjectFile, target: object, *, kernel: str, **_: object) -> tuple[ProgramVerdict, ...]:
        blank = ProgramVerdict(obj.name, "new_function", "fentry/f", kernel, "accepted")
        missing = replace(blank, verdict="error", kind="target-missing", message="this kernel has no function")
        here = missing if kernel == "old" else blank
        return here, replace(missing, program="nowhere", section="fentry/g")

    monkeypatch.setattr(gathering, "verify_object", answer)
    target = SimpleNamespace(described=SimpleNamespace(release="6.1"))
    kernels = Kernels(("old", "new"), start=lambda kernel: cast(Any, target))
    found = gather([ObjectFile("x.o", "little", "GPL", ())], kernels, cache=LoadCache())
    kinds = {(v.program, v.kernel): v.kind for v in found}
    assert kinds == {
        ("new_function", "old"): "feature-missing",
        ("new_function", "new"): "",
        ("nowhere", "old"): "object",
        ("nowhere", "new"): "object",
    }
    assert not POLICIES["supported"](found)
    assert POLICIES["supported"](found.of("new_function")), "alternatives for other kernels are not at fault"


def test_a_hook_that_is_switched_off_has_words_of_its_own() -> None:
    log = "attach_btf_id 70888 points to disabled hook bpf_lsm_getprocattr\nprocessed 0 insns (limit 1000000)\n"
    found = parse_log(log, refused=True).rejection
    assert found is not None
    assert (found.class_id, found.kind) == ("attach-target", "feature-missing")
    assert found.headline == "this kernel has the LSM hook getprocattr but does not let eBPF programs use it"


@pytest.mark.bpf_feature("prog:lsm")
@pytest.mark.parametrize("cause", ["off", ""])
def test_bpf_lsm_that_is_built_in_and_not_active(
    bpf: Bpf, built: Path, monkeypatch: pytest.MonkeyPatch, cause: Literal["off", ""]
) -> None:
    """The kernel attaches the program and never runs it: that is said, and only then."""
    answer = Answer(cause != "off", "lsm: active are yama, and not bpf (boot with lsm=...,bpf)", "5.7", cause)
    monkeypatch.setattr(tracing, "probe_feature", lambda target, name: answer)
    obj = bpf.load(built / "missing_targets.bpf.o", only="disabled_hook", programs={"disabled_hook": "lsm/file_open"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        obj["disabled_hook"].attach().detach()
    words = "disabled_hook is attached to file_open and never runs: lsm: active are yama, and not bpf"
    assert [words in str(warning.message) for warning in caught] == ([True] if cause else [])


@pytest.mark.parametrize("supported", [False, True])
def test_a_map_that_is_refused(parsed: Parsed, monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    """EINVAL for a type that this kernel lacks is a missing feature, in load and in verify; the name is whole."""
    obj = parsed("missing_maps")
    (arena,) = obj.maps
    obj = replace(obj, maps=(replace(arena, name="arena_with_a_long_name"),))
    plan = plan_load(obj, facts())
    op = next(op for op in plan.ops if isinstance(op, MapCreate))
    answer = Answer(supported, "map type ARENA: EINVAL", "6.9")
    monkeypatch.setattr(refusals, "probe_feature", lambda target, name: answer)
    error = refusals.map_refusal(cast(Any, None), plan, op=op, failed=Failed("MapCreate", 22, "no"), hint="")
    assert "map 'arena_with_a_long_name'" in str(error)
    assert isinstance(error, PlanError) is not supported
    if isinstance(error, PlanError):
        assert (error.feature, error.since) == ("arena", "6.9")


def test_on_a_kernel_without_arenas_it_is_a_missing_feature(bpf: Bpf, parsed: Parsed) -> None:
    verdicts = verify_object(parsed("missing_maps"), bpf.session.target, kernel="here", cache=LoadCache())
    has = bpf.has("map:arena")
    assert [(v.program, v.verdict, v.kind) for v in verdicts] == [
        ("is_fine", "accepted", "") if has else ("is_fine", "error", "feature-missing")
    ]


@pytest.mark.parametrize(
    ("console", "kind"),
    [("Out of memory: Killed process 77 (python3)", "environment"), ("BUG: kernel NULL pointer", "kernel-bug")],
)
def test_a_guest_that_ran_out_of_memory_is_no_bug_of_the_kernel(
    parsed: Parsed, monkeypatch: pytest.MonkeyPatch, console: str, kind: str
) -> None:
    def die(*_: object, **__: object) -> tuple[ProgramVerdict, ...]:
        raise GuestLost("QEMU ended", console=console)

    monkeypatch.setattr(gathering, "verify_object", die)
    target = SimpleNamespace(described=SimpleNamespace(release="6.1"))
    kernels = Kernels(("here",), start=lambda kernel: cast(Any, target))
    (verdict,) = gather([parsed("missing_maps")], kernels, cache=LoadCache())
    assert verdict.kind == kind
    assert ("ran out of memory" in verdict.message) == (kind == "environment")


def test_json_has_the_problems_of_files_without_programs(built: Path, tmp_path: Path) -> None:
    (tmp_path / "text.o").write_text("int x;")
    files = [str(built / "types_only.bpf.o"), str(tmp_path / "text.o")]
    done = CliRunner().invoke(verify, [*files, "--json", "--quiet"])
    assert done.exit_code == 2
    printed = json.loads(done.stdout)
    assert printed["programs"] == []
    assert ["it contains no program" in printed["problems"][0], "not an ELF object" in printed["problems"][1]] == [
        True,
        True,
    ]
    assert "it contains no program" in done.stderr


def test_a_name_is_whole_in_every_verdict(bpf: Bpf, parsed: Parsed) -> None:
    verdicts = verify_object(parsed("long_names"), bpf.session.target, kernel="here", cache=LoadCache())
    assert all(len(verdict.program) > 15 for verdict in verdicts)
