"""What Aya's macros write differently from libbpf's users."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_ebpf.live.attach.uprobe import read_user_target
from pytest_ebpf.live.maps.events import EventStream
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.obj.object import MapDef

RING = 27


@pytest.mark.parametrize(
    ("target", "binary"),
    [
        ("bin/bash:readline", "/bin/bash"),
        ("bin/bash", "/bin/bash"),
        ("/bin/bash:readline", "/bin/bash"),
        ("libc.so.6:malloc", "libc.so.6"),
    ],
)
def test_paths_of_uprobes_lack_their_first_slash(target: str, binary: str) -> None:
    """``#[uprobe(path = "/bin/bash", function = "readline")]`` gives ``uprobe/bin/bash:readline``."""
    assert read_user_target(target)["binary"] == binary


def stream(name: str) -> EventStream:
    session = SimpleNamespace(target=SimpleNamespace(described=SimpleNamespace(byteorder="little")))
    return EventStream(
        cast(Any, session), handle=cast(Any, None), definition=MapDef(name, RING), types=ObjectTypes(None)
    )


def test_what_is_no_record_of_aya_log_stays_bytes() -> None:
    assert stream("AYA_LOGS").decode(b"\1\2\3\4\5\6\7\10", type=None) == b"\1\2\3\4\5\6\7\10"
