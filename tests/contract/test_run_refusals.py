"""Test runs that the kernel of this machine refuses: the errors are real, and the hint is the reason of the type."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_ebpf.agent.ops import ProgLoad, ProgLoaded, ProgRun, Ran
from pytest_ebpf.errors import KernelCallError
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import HOST, KernelPool
from pytest_ebpf.live.hints import advise
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.run.refusals import refusal
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType, ProgType
from pytest_ebpf.uapi.flags import RunFlag

RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")
FRAME = bytes(64)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    pool = KernelPool(PoolConfig())
    session = Session(pool.get(HOST), name="refusals", advise=advise)
    yield session
    session.close()
    pool.close()


@pytest.fixture
def bpf(session: Session) -> Iterator[Bpf]:
    bpf = Bpf(session.target, name="refusals")
    yield bpf
    bpf.close()


@pytest.mark.parametrize(
    ("kind", "where", "given", "words"),
    [
        (ProgType.XDP, AttachType.XDP_DEVMAP, {"data": FRAME}, "entries of a device map"),
        (ProgType.XDP, AttachType.XDP_CPUMAP, {"data": FRAME}, "entries of a CPU map"),
        (ProgType.XDP, 0, {"data": FRAME, "batch_size": 4}, "run_live"),
        (ProgType.XDP, 0, {"data": b"123"}, "Ethernet header"),
        (ProgType.SCHED_CLS, 0, {"data": FRAME, "cpu": 1}, "raw tracepoints alone"),
        (ProgType.SCHED_CLS, 0, {"data": FRAME, "flags": RunFlag.XDP_LIVE_FRAMES}, "SKB_CHECKSUM_COMPLETE"),
        (ProgType.RAW_TRACEPOINT, 0, {"cpu": 1, "repeat": 0, "data_out_size": 0}, "RunFlag.RUN_ON_CPU"),
    ],
)
def test_11_the_reason_of_a_refused_run(
    session: Session, kind: ProgType, where: int, given: dict[str, object], words: str
) -> None:
    prog = session.one(ProgLoad(kind, RETURN_0, "GPL", "p", where), ProgLoaded).handle
    with pytest.raises(KernelCallError) as caught:
        session.one(ProgRun(prog, **given), Ran)
    assert words in refusal(ProgRun(prog, **given), caught.value.errno, prog_type=kind, attach_type=where)


def test_11_the_program_says_it(bpf: Bpf) -> None:
    program = bpf.load("sample_programs/built/tc_rewrite.bpf.o").programs
    name = next(iter(program))
    with pytest.raises(KernelCallError, match="cpu= is for raw tracepoints alone"):
        program[name].run(FRAME, cpu=1)
