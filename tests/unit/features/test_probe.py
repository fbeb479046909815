"""Answers are asked for once, in one batch, and what is conclusive is kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf.agent.ops import Done, Failed, MapCreate, ProgLoad, ProgRejected, ScopeClose, ScopeOpen
from pytest_ebpf.errors import BpfUsageError, PlanError
from pytest_ebpf.features.base import Answer
from pytest_ebpf.features.cache import AnswerFile
from pytest_ebpf.features.probe import Features
from pytest_ebpf.features.table import TABLE
from pytest_ebpf.uapi.sections import MAP_TYPES

TargetOn = Callable[..., Any]
ARENA, QUEUE = MAP_TYPES.index("ARENA"), MAP_TYPES.index("QUEUE")


def maps(op: MapCreate) -> Any:
    return Failed("MapCreate", {ARENA: 22, QUEUE: 12}[op.type], "no") if op.type in (ARENA, QUEUE) else Done()


def batches(target: Any) -> list[Any]:
    """What was asked, without scopes coming and going."""
    return [batch for batch in target.kernel.batches if not isinstance(batch[0], ScopeOpen | ScopeClose)]


def test_one_batch_asks_for_everything(target_on: TargetOn) -> None:
    target = target_on({MapCreate: maps, ProgLoad: ProgRejected(22)})
    features = Features(target)
    table = features.table()
    assert list(table) == list(TABLE)
    assert len(batches(target)) == 1
    assert table["map:ringbuf"].supported is True
    assert table["map:arena"].supported is False
    assert features.has("map:array")
    assert len(batches(target)) == 1


def test_what_cannot_be_told_is_asked_again(target_on: TargetOn) -> None:
    target = target_on({MapCreate: maps})
    features = Features(target)
    with pytest.raises(PlanError, match="map type QUEUE: ENOMEM"):
        features.has("queue")
    assert features.answer("queue").supported is None
    assert len(batches(target)) == 2


def test_a_wrong_name_is_told_before_anything_is_tried(target_on: TargetOn) -> None:
    target = target_on({MapCreate: maps})
    with pytest.raises(BpfUsageError, match="'ringbuff'"):
        Features(target).answers(["ringbuf", "ringbuff"])
    assert not batches(target)


def test_the_next_process_need_not_ask(target_on: TargetOn, tmp_path: Path) -> None:
    path = tmp_path / "features" / "image.json"
    first = Features(target_on({MapCreate: maps}), memory=AnswerFile(path)).answers(["ringbuf", "arena", "queue"])
    target = target_on({MapCreate: Failed("MapCreate", 22, "would be another answer")})
    again = Features(target, memory=AnswerFile(path))
    assert again.answers(["ringbuf", "arena"]) == {name: first[name] for name in ("ringbuf", "arena")}
    assert not batches(target)
    assert again.answer("queue").supported is False  # was not conclusive, so it is asked
    assert [path.name for path in path.parent.iterdir()] == ["image.json"]


def test_only_what_is_conclusive_is_kept(tmp_path: Path) -> None:
    file = AnswerFile(tmp_path / "a.json")
    file.put(
        {
            "yes": Answer(True, "works", "5.8"),
            "no": Answer(False, "EINVAL"),
            "denied": Answer(False, "EPERM", cause="denied"),
            "off": Answer(False, "not active", cause="off"),
            "unknown": Answer(None, "ENOMEM"),
        }
    )
    other = AnswerFile(tmp_path / "a.json")
    assert other.get("yes") == Answer(True, "works", "5.8")
    assert other.get("no") == Answer(False, "EINVAL")
    assert [other.get(name) for name in ("denied", "off", "unknown", "never")] == [None] * 4


def test_two_processes_add_to_one_file(tmp_path: Path) -> None:
    one, two = AnswerFile(tmp_path / "a.json"), AnswerFile(tmp_path / "a.json")
    assert two.get("a") is None
    one.put({"a": Answer(True, "a")})
    two.put({"b": Answer(True, "b")})
    three = AnswerFile(tmp_path / "a.json")
    assert three.get("a") == Answer(True, "a")
    assert three.get("b") == Answer(True, "b")


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", '{"probes": "of another version", "answers": {"a": [true, "a", ""]}}', '{"answers": 1}'],
)
def test_a_file_that_is_not_ours_counts_for_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert AnswerFile(path).get("a") is None
    AnswerFile(path).put({"a": Answer(True, "fresh")})
    assert AnswerFile(path).get("a") == Answer(True, "fresh")


def test_a_directory_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    file = AnswerFile(blocked / "a.json")
    file.put({"a": Answer(True, "a")})
    assert file.get("a") == Answer(True, "a")
