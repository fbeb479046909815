"""What kernels say about features, held against the documented releases: an old kernel, and the newest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_ebpf.errors import KernelCallError, PlanError
from pytest_ebpf.features.base import Answer
from pytest_ebpf.features.cache import features_of_kernel
from pytest_ebpf.features.history import KFUNCS
from pytest_ebpf.features.probe import Features, kconfig_of, probe_features
from pytest_ebpf.features.skip_rule import Circumstances, is_older, judge_feature
from pytest_ebpf.features.table import TABLE, feature
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.kernels.running import RunningKernel
from pytest_ebpf.live.hints import advise
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.session import Session
from pytest_ebpf.verifier.program_rejected import ProgramRejected
from support.guests import images
from support.paths import ROOT
from support.refused_ops import REFUSED, REFUSED_BY_5_10

pytestmark = pytest.mark.slow

SPECS = [images()[0].spec, images()[-1].spec] if images() else []
OBJECTS = ROOT / "sample_programs" / "built"
Table = dict[str, Answer]


@pytest.fixture(scope="module", params=SPECS)
def guest(request: pytest.FixtureRequest) -> Iterator[RunningKernel]:
    pool = KernelPool(PoolConfig(fetch=False))
    yield pool.get(request.param)
    pool.close()


@pytest.fixture(scope="module")
def table(guest: RunningKernel) -> Table:
    return probe_features(guest, [*TABLE, *(f"kfunc:{name}" for name in KFUNCS)])


def test_nothing_is_there_before_its_time(guest: RunningKernel, table: Table) -> None:
    early = [n for n, a in table.items() if a.supported and a.since and is_older(guest.described.release, a.since)]
    # functions that were in the kernel's BTF long before they became kfuncs are told apart
    assert early == []


def test_nothing_is_missing_without_a_reason(guest: RunningKernel, table: Table) -> None:
    kernel = Circumstances(guest.described.release, guest.described.machine, kconfig=kconfig_of(guest))
    verdicts = {name: judge_feature(feature(name), answer, kernel=kernel) for name, answer in table.items()}
    assert {name: v.why for name, v in verdicts.items() if v.outcome in ("fail", "error")} == {}


def test_both_answers_occur(guest: RunningKernel, table: Table) -> None:
    old = is_older(guest.described.release, "5.15")
    for name in ("map:bloom_filter", "prog:syscall", "flag:segv_on_fault", "btf:enum64", "isa:v4", "attach:tcx",
                 "attach:perf_link", "attach:netkit", "attach:kprobe_multi", "attach:uprobe_multi", "isa:may_goto",
                 "attach:netfilter_link", "attach:sockmap_link", "helper:bpf_loop", "kfunc:bpf_task_acquire",
                 "attach:lsm_cgroup", "isa:callbacks", "isa:atomics"):  # fmt: skip
        assert table[name].supported is not old, table[name].message
    for name in ("map:ringbuf", "prog:xdp", "attach:fentry", "attach:fmod_ret", "attach:kprobe", "attach:lsm",
                 "attach:xdp_link", "attach:cgroup_link", "attach:iter", "isa:v3", "isa:sleepable",
                 "btf:func"):  # fmt: skip
        assert table[name].supported is True, table[name].message


def test_by_program_type(guest: RunningKernel) -> None:
    old = is_older(guest.described.release, "5.15")
    asked = ["helper:bpf_loop@tracing", "helper:bpf_redirect@socket_filter", "helper:bpf_redirect@xdp",
             "kfunc:bpf_dynptr_from_skb@sched_cls", "kfunc:schedule", "config:BPF_JIT", "config:NO_SUCH"]  # fmt: skip
    answers = probe_features(guest, asked)
    assert [answers[name].supported for name in asked] == [not old, False, True, not old, False, True, False]


def test_a_module_that_is_loaded_has_its_kfuncs(guest: RunningKernel) -> None:
    if is_older(guest.described.release, "5.18"):
        pytest.skip("kernels before 5.18 have no kfuncs in nf_conntrack")
    from pytest_ebpf.agent.ops import Spawn

    name = "kfunc:bpf_ct_release"
    before = probe_features(guest, [name])[name]
    assert (before.supported, before.cause) == (False, "module")
    guest.kernel.run([Spawn(("modprobe", "nf_conntrack"))])
    after = probe_features(guest, [name])[name]
    assert (after.supported, after.message) == (True, "kfunc bpf_ct_release is in the BTF of module nf_conntrack")


def test_the_memory_is_that_of_the_image(guest: RunningKernel, tmp_path: Path) -> None:
    first = features_of_kernel(guest, cache=tmp_path)
    assert first.has("ringbuf")
    assert guest.image is not None
    kept = tmp_path / "features" / f"{guest.image.release}-{guest.image.digest[:16]}.json"
    assert kept.exists()
    assert Features.has(features_of_kernel(guest, cache=tmp_path), "ringbuf")


def test_hints_about_maps(guest: RunningKernel) -> None:
    old = is_older(guest.described.release, "5.11")
    session = Session(guest, name="hints", advise=advise)
    for case, (op, errnos, words) in {**REFUSED, **(REFUSED_BY_5_10 if old else {})}.items():
        with pytest.raises(KernelCallError) as caught:
            session.make(op)
        assert caught.value.errno in errnos, case
        assert words in caught.value.hint, case
    session.close()


def test_hints_about_programs_and_names(guest: RunningKernel) -> None:
    bpf = Bpf(guest, name="hints")
    kprobe = bpf.load(OBJECTS / "kprobe_fork.bpf.o")
    program = next(iter(kprobe.programs.values()))
    with pytest.raises(KernelCallError) as caught:
        program.attach(function="vfs_raed")
    assert "did you mean" in caught.value.hint
    assert "vfs_read" in caught.value.hint
    if is_older(guest.described.release, "5.17"):
        with pytest.raises((ProgramRejected, PlanError)) as refused:
            bpf.load(OBJECTS / "bpf_loop.bpf.o")
        assert "5.17" in str(refused.value) or "5.13" in str(refused.value)
    bpf.close()
