"""Ctrl-C of ``pytest-ebpf attach`` (issue 18, 5): noted from the line that tells of it on, and never lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from pytest_ebpf.cli.attach import _interrupts


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_is_noted_and_the_next_one_interrupts() -> None:
    with _interrupts() as seen:
        assert not seen
        signal.raise_signal(signal.SIGINT)
        assert seen
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_behind_it_the_handler_is_what_it_was() -> None:
    with _interrupts() as seen:
        pass
    assert not seen
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
