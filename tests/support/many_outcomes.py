"""A file of tests with every outcome, made from a seed: what pytest and the matrix say of each is compared."""

from __future__ import annotations

import random

__all__ = ["file_of_tests"]

# name -> (decorators, body): what fails once or twice is repeated by --reruns=1.
KINDS = {
    "passes": ("", "pass"),
    "loads": ("", 'bpf.load("config.bpf.o")'),
    "fails": ("", "assert False"),
    "raises": ("", "raise RuntimeError('x')"),
    "skips": ("", "pytest.skip('why')"),
    "marked_skip": ("@pytest.mark.skip(reason='marked')", "pass"),
    "xfails": ("@pytest.mark.xfail(reason='known')", "assert False"),
    "xpasses": ("@pytest.mark.xfail(reason='known')", "pass"),
    "strict": ("@pytest.mark.xfail(reason='known', strict=True)", "pass"),
    "flaky": ("", "once(request)"),
    "rejected": ("", 'bpf.load("reject_null_value.bpf.o")'),
    "setup_fails": ("@pytest.mark.usefixtures('bad_setup')", "pass"),
    "setup_flaky": ("@pytest.mark.usefixtures('flaky_setup')", "pass"),
    "setup_skips": ("@pytest.mark.usefixtures('skipping_setup')", "pass"),
    "teardown_fails": ("@pytest.mark.usefixtures('bad_teardown')", "pass"),
    "both_fail": ("@pytest.mark.usefixtures('bad_teardown')", "assert False"),
    "packet_diff": ("", "assert_packet(Eth() / IP(), Eth() / IP(ttl=3))"),
    "map_diff": ("", 'assert bpf.load("config.bpf.o").maps[".bss"] == {0: {"accepted": 9}}'),
    "budget": ("@pytest.mark.bpf_budget(insns=10)", 'bpf.load("config.bpf.o")'),
    "baseline": ("@pytest.mark.usefixtures('compared')", "pass"),
    "missing_feature": ("", "raise PlanError('no ring buffers', feature='map:ringbuf')"),
    "leaks": ("@pytest.mark.usefixtures('leaves_objects')", "pass"),
    "warns": ("", "SAID.append('[    1.0] WARNING: CPU: 0 PID: 1 at kernel/bpf/core.c:1')"),
    "warns_expected": ("@pytest.mark.xfail(reason='known')", "SAID.append('[    1.0] BUG: soft lockup'); assert False"),
    "panics": ("", "raise GuestLost('it panicked', outcome=Outcome.PANIC)"),
    "hangs": ("@pytest.mark.xfail(reason='known')", "raise GuestLost('it hangs', outcome=Outcome.HANG)"),
    "no_guest": ("", "raise BootFailed('no guest today')"),
    "second_guest": ("", "no_guest_at_first(request)"),
    "quarantined": ("@QUARANTINE", "assert False"),
    "quarantined_setup": ("@QUARANTINE\n@pytest.mark.usefixtures('bad_setup')", "pass"),
    "quarantine_passes": ("@QUARANTINE", "pass"),
    "quarantine_over": ("@pytest.mark.bpf_quarantine(reason='x', expires='2020-01-01')", "assert False"),
    "marker": ("@pytest.mark.bpf_budget(insn=1)", "pass"),
}
HEAD = """
import unittest
import pytest
from pytest_ebpf.agent.ops import Kmsg, KmsgSince
from pytest_ebpf.agent.protocol.execute import EXECUTE
from pytest_ebpf import IP, BootFailed, Eth, GuestLost, Outcome, PlanError, assert_packet
from pytest_ebpf.outcome import with_outcome

QUARANTINE = pytest.mark.bpf_quarantine(reason="x", expires="2999-01-01")
TRIES = {}
SAID = []  # by the kernel

def read(op, batch):
    fresh = tuple(SAID[op.mark :]) if op.mark >= 0 else ()
    return Kmsg(len(SAID), fresh, 0, (0,) * len(fresh))
EXECUTE[KmsgSince] = read

def once(request):
    TRIES[request.node.nodeid] = tries = TRIES.get(request.node.nodeid, 0) + 1
    assert tries > 1

def no_guest_at_first(request):
    TRIES[request.node.nodeid] = tries = TRIES.get(request.node.nodeid, 0) + 1
    if tries == 1:
        raise BootFailed("no guest at first")

@pytest.fixture
def leaves_objects(bpf):
    yield
    raise with_outcome(AssertionError("1 kernel object outlived this test"), Outcome.LEAK)
@pytest.fixture
def bad_setup(bpf): assert False
@pytest.fixture
def flaky_setup(bpf, request): once(request)
@pytest.fixture
def skipping_setup(bpf): pytest.skip("in setup")
@pytest.fixture
def compared(bpf, bpf_baseline): bpf_baseline.check(bpf.load("config.bpf.o"))
@pytest.fixture
def bad_teardown(bpf):
    yield
    assert False
"""
CASE = """
class TestCase{number}(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _take(self, bpf, request): self.bpf, self.request = bpf, request
    def test_passes(self): self.bpf.load("config.bpf.o")
    def test_fails(self): self.fail("no")
    def test_skips(self): self.skipTest("why")
    @unittest.expectedFailure
    def test_expected(self): self.fail("known")
    @unittest.expectedFailure
    def test_unexpected(self): pass
    def test_flaky(self): once(self.request)
"""
CASES = 4


def file_of_tests(count: int, *, seed: int) -> str:
    """``count`` tests: functions, some by ``getfixturevalue``, and methods of ``unittest.TestCase``."""
    chosen = random.Random(seed)
    parts = [HEAD]
    for number in range(CASES):
        parts.append(CASE.format(number=number))
    names = [*KINDS, *chosen.choices(list(KINDS), k=count - 6 * CASES - len(KINDS))]
    chosen.shuffle(names)
    for number, name in enumerate(names):
        decorators, body = KINDS[name]
        fixed = decorators.startswith(("@pytest.mark.bpf", "@pytest.mark.use", "@QUAR")) or name == "marked_skip"
        later = not fixed and chosen.random() < 0.2
        head, first = ("request", "bpf = request.getfixturevalue('bpf'); ") if later else ("bpf, request", "")
        parts.append(f"{decorators}\ndef test_{number:03}_{name}({head}): {first}{body}\n")
    return "\n".join(parts)
