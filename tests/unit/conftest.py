"""A target whose kernel answers from a script (tests/support/fake_target.py)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_ebpf.live.session import Session
from support.fake_target import FakeTarget, fake_session, fake_target


@pytest.fixture
def session_on() -> Callable[..., Session]:
    return fake_session


@pytest.fixture
def target_on() -> Callable[..., FakeTarget]:
    return fake_target
