"""The first guest of a run boots while pytest gets ready; and only one that a test will use."""

from __future__ import annotations

import time

import pytest

import pytest_ebpf.kernels.boot
from support.fake_guests import FakeGuests, install

SUITE = """
import pytest

def test_plain(): pass

@pytest.mark.skip(reason="later")
def test_skipped(bpf_vm): pass

def test_small(bpf_vm): pass
"""
_PATIENCE = 20.0


class BeforeTheTests:
    """How many guests had been booted when the first test began. A boot in the background is given time."""

    def __init__(self, guests: FakeGuests, *, expected: int) -> None:
        self.guests = guests
        self.expected = expected
        self.boots = 0

    def pytest_runtestloop(self) -> None:
        until = time.monotonic() + _PATIENCE
        while self.guests.boots < self.expected and time.monotonic() < until:
            time.sleep(0.01)
        self.boots = self.guests.boots


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> FakeGuests:
    return install(monkeypatch.setattr)


def run(pytester: pytest.Pytester, guests: FakeGuests, *options: str, expected: int) -> BeforeTheTests:
    before = BeforeTheTests(guests, expected=expected)
    pytester.makepyfile(SUITE)
    pytester.inline_run("-p", "no:xdist", "--bpf-kernels=6.1", *options, plugins=[before])
    return before


def test_the_first_guest_boots_before_the_first_test(pytester: pytest.Pytester, guests: FakeGuests) -> None:
    assert run(pytester, guests, expected=1).boots == 1
    assert guests.boots == 1, "the test takes that guest"


@pytest.mark.parametrize(
    "options", [("--collect-only",), ("--setup-plan",), ("-k", "skipped"), ("-k", "plain")], ids=" ".join
)
def test_no_guest_is_booted_that_no_test_uses(
    pytester: pytest.Pytester, guests: FakeGuests, options: tuple[str, ...]
) -> None:
    run(pytester, guests, *options, expected=0)
    assert guests.boots == 0


def test_an_image_that_has_to_be_fetched_is_fetched_where_people_see_it(
    pytester: pytest.Pytester, guests: FakeGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def is_cached(spec: str, **named: object) -> bool:
        asked.append(spec)
        return False

    monkeypatch.setattr(pytest_ebpf.kernels.boot, "is_cached", is_cached)
    run(pytester, guests, expected=0)
    assert asked == ["6.1"]
    assert guests.boots == 1, "when the test needs it"
