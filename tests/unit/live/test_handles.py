"""The network namespace that a test names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_ebpf.agent.ops import Done, Failed, OpenFile
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.kernels.fake import FakeKernel
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.session import Session


def session(answer: Any) -> tuple[Session, list[str]]:
    opened: list[str] = []

    def open_file(op: OpenFile) -> Any:
        opened.append(op.path)
        return answer

    target: Any = SimpleNamespace(kernel=FakeKernel({OpenFile: open_file}), name="fake")
    return Session(target), opened


@pytest.mark.parametrize(
    ("given", "path"), [("blue", "/run/netns/blue"), ("/proc/7/ns/net", "/proc/7/ns/net"), ("./ns", "./ns")]
)
def test_a_name_of_ip_netns_or_a_path(given: str, path: str) -> None:
    at, opened = session(Done())
    assert netns_handle(at, given).kind == "file"
    assert opened == [path]


def test_one_that_is_not_there_says_what_would_be() -> None:
    at, _ = session(Failed("OpenFile", 2, "/run/netns/nope: No such file or directory"))
    with pytest.raises(KernelCallError, match="There is no network namespace /run/netns/nope: bpf_netns makes one"):
        netns_handle(at, "nope")


def test_what_is_none_at_all() -> None:
    at, _ = session(Done())
    with pytest.raises(BpfUsageError, match="a name of `ip netns`, got 7"):
        netns_handle(at, 7)
