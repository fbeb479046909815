"""A project of a user with types: every fixture, and the objects that they give. mypy and basedpyright read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_type

import pytest

from pytest_ebpf import (
    IP,
    UDP,
    XDP,
    Answer,
    Attached,
    Attachments,
    Bpf,
    BpfBaseline,
    BpfDatapath,
    BpfDmesg,
    BpfFeatures,
    BpfKernel,
    BpfLog,
    BpfMatrix,
    BpfObject,
    BpfTrace,
    BpfUsageError,
    BpfVm,
    Cgroup,
    CommandTimeoutError,
    Completed,
    Eth,
    FakeKernel,
    KernelCallError,
    Link,
    Map,
    MapFlag,
    MapSpec,
    Mechanism,
    Netns,
    ObjectSpec,
    Packet,
    Process,
    Program,
    ProgramRejected,
    ProgramSpec,
    ProgramVerdict,
    Rejection,
    RunResult,
    SharedBpf,
    Socket,
    VerifierLog,
    Veth,
    assert_packet,
    open_kernel,
    ops,
)

FRAME: Packet = Eth() / IP(dst="192.0.2.1") / UDP(dport=53)


@pytest.fixture
def firewall(bpf: Bpf) -> Iterator[BpfObject]:
    with bpf.load("xdp_firewall.bpf.o", globals={"strict": True}, maps={"blocked": 16}) as obj:
        yield obj


def test_objects(firewall: BpfObject) -> None:
    for name in firewall:
        assert_type(name, str)
    assert_type(firewall["firewall"], Program)
    assert_type(firewall.maps["blocked"], Map)
    assert "firewall" in firewall
    assert len(firewall) == 1
    assert_type(firewall.get("other"), Program | None)


def test_runs(firewall: BpfObject) -> None:
    program = firewall["firewall"]
    result = program.run(FRAME)
    assert_type(result, RunResult)
    assert_type(result.retval, int)
    assert result.retval == XDP.PASS
    assert_packet(result, FRAME, ignore=["eth.src"])
    results: list[RunResult] = program.run_many([FRAME, bytes(64)])
    assert len(results) == 2


def test_maps(firewall: BpfObject) -> None:
    table = firewall.maps["blocked"]
    table[1] = 2
    assert 1 in table
    assert len(table) == 1
    del table[1]
    assert table == {}


def test_attachments(firewall: BpfObject, bpf_veth: Veth) -> None:
    with firewall.attach(interface=bpf_veth.b, mode="skb") as attached:
        assert_type(attached, Attachments)
        (link,) = attached.links
        assert_type(link, Link)
        assert_type(link.mechanism, Mechanism)
        assert_type(link.target, str)
    with firewall["firewall"].attach(bpf_veth.b, mode="skb") as alone:
        assert_type(alone, Link)


def test_queries(bpf: Bpf, bpf_netns: Netns) -> None:
    found: tuple[Attached, ...] = bpf.attached(netns=bpf_netns)
    answer = bpf.feature("ringbuf")
    assert_type(answer, Answer)
    assert answer.message
    assert found == ()


def test_rejections(bpf: Bpf) -> None:
    with bpf.rejects("invalid access to packet", errno="EACCES", reason="packet-bounds") as rejected:
        bpf.load("reject_packet_bounds.bpf.o")
    assert_type(rejected.value, ProgramRejected)
    assert_type(rejected.value.log, VerifierLog)
    reason: Rejection | None = rejected.value.log.rejection
    assert reason is not None


def test_specs(bpf: Bpf) -> None:
    spec: ObjectSpec = bpf.open("config.bpf.o")
    program: ProgramSpec = spec.programs["police"]
    tables: list[MapSpec] = list(spec.maps.values())
    program.autoload = True
    assert tables
    assert_type(spec.load(), BpfObject)


def test_machines(bpf_vm: BpfVm, bpf_kernel: BpfKernel, bpf: Bpf) -> None:
    try:
        done = bpf_vm.run(["true"], timeout=5)
    except CommandTimeoutError:
        return
    assert_type(done, Completed)
    assert_type(done.returncode, int)
    assert bpf_kernel.id
    group: Cgroup = bpf.cgroup()
    sock: Socket = bpf.socket("udp", cgroup=group)
    process: Process = bpf.process()
    assert sock
    assert process


def test_the_other_fixtures(
    bpf_shared: SharedBpf,
    bpf_trace: BpfTrace,
    bpf_dmesg: BpfDmesg,
    bpf_log: BpfLog,
    bpf_features: BpfFeatures,
    bpf_baseline: BpfBaseline,
    bpf_datapath: BpfDatapath,
) -> None:
    obj = bpf_shared.load("config.bpf.o", globals={"budget": 3})
    assert_type(obj, BpfObject)
    assert obj["police"].log == bpf_baseline
    assert bpf_features.has("ringbuf")
    assert bpf_trace
    assert bpf_dmesg
    assert bpf_datapath


def test_verdicts(bpf_matrix: BpfMatrix) -> None:
    verdicts: Sequence[ProgramVerdict] = list(bpf_matrix.verify("config.bpf.o"))
    assert all(verdict.accepted for verdict in verdicts)


def test_errors(bpf: Bpf) -> None:
    with pytest.raises(OSError, match="ENOENT") as caught:
        bpf.pinned_map("nothing-here")
    assert isinstance(caught.value, KernelCallError)
    with pytest.raises(BpfUsageError):
        bpf.load([])


def test_scripts() -> None:
    with open_kernel("host", directories=[Path("built")]) as bpf:
        assert_type(bpf, Bpf)
        assert_type(bpf.machine, BpfVm)


def test_flags_and_fakes() -> None:
    both: MapFlag = MapFlag.NOEXIST | MapFlag.LOCK
    answers: dict[object, ops.Made] = {ops.MapCreate: ops.Made(ops.Handle(1, "boot"))}
    kernel = FakeKernel(answers)
    results: list[ops.Result] = kernel.run([ops.MapCreate(1, 4, 4, 1)])
    assert both
    assert results
