"""Line 13: programs come with the tables that use them; tables that are not loaded are named; members can be set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf import Bpf, BpfUsageError, ObjectError
from pytest_ebpf.agent.ops import Data, ReadFile

CONTROLS = "/proc/sys/net/ipv4/tcp_available_congestion_control"


LINKS = pytest.mark.bpf_kernel(">=6.4")  # the first that registers a table through a link


def registered(bpf: Bpf, name: str) -> bool:
    (answer,) = bpf.session.run([ReadFile(CONTROLS)])
    assert isinstance(answer, Data)
    return name in answer.data.decode().split()


@LINKS
def test_a_program_is_loaded_with_the_table_that_uses_it(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "struct_ops_tables.bpf.o")
    assert list(obj.programs) == ["ssthresh", "cong_avoid", "undo_cwnd", "optional_undo"]
    with obj.struct_ops["uses_optional"].attach():
        assert registered(bpf, "p2_optional")
    assert not registered(bpf, "p2_optional")


@LINKS
def test_a_table_that_is_off_is_named(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "struct_ops_tables.bpf.o")
    with pytest.raises(KeyError, match=r"struct_ops 'off' was not loaded: it is switched off \(section \?\.struct_ops"):
        obj.struct_ops["off"]
    assert [problem.symbol for problem in obj.problems] == ["off"]


@LINKS
def test_it_is_loaded_when_asked_for_with_its_programs(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "struct_ops_tables.bpf.o", struct_ops={"off": True, "uses_optional": False})
    assert list(obj.struct_ops) == ["plain", "off"]
    assert set(obj.programs) == {"ssthresh", "cong_avoid", "undo_cwnd", "only_off"}
    with obj.struct_ops["off"].attach():
        assert registered(bpf, "p2_off")


@LINKS
@pytest.mark.parametrize("asked", [{"only": "only_off"}, {"programs": {"only_off": True}}])
def test_it_comes_with_a_program_of_its_own_that_is_asked_for(bpf: Bpf, built: Path, asked: dict[str, Any]) -> None:
    obj = bpf.load(built / "struct_ops_tables.bpf.o", **asked)
    assert "only_off" in obj.programs
    assert "off" in obj.struct_ops


@LINKS
def test_a_program_that_is_asked_for_by_name_is_what_counts(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "struct_ops_tables.bpf.o", struct_ops={"plain": False}, programs={"undo_cwnd": False})
    assert "undo_cwnd" not in obj.programs


@LINKS
def test_plain_members_are_set_before_the_load(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "struct_ops_tables.bpf.o", struct_ops={"plain": {"name": "p2_renamed", "flags": 0}})
    with obj.struct_ops["plain"].attach():
        assert registered(bpf, "p2_renamed")
        assert not registered(bpf, "p2_plain")


@LINKS
def test_an_opened_object_takes_them_too(bpf: Bpf, built: Path) -> None:
    spec = bpf.open(built / "struct_ops_tables.bpf.o")
    spec.struct_ops["plain"] = {"name": "p2_spec"}
    with spec.load().struct_ops["plain"].attach():
        assert registered(bpf, "p2_spec")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"nowhere": True}, "no struct_ops table 'nowhere' to change"),
        ({"plain": {"flag": 7}}, "struct_ops plain: there is no member 'flag'"),
        ({"plain": {"ssthresh": 7}}, "struct_ops plain: member 'ssthresh' is program 'ssthresh'"),
        ({"plain": {"name": "x" * 40}}, "struct_ops plain cannot hold"),
    ],
)
def test_what_cannot_be(bpf: Bpf, built: Path, asked: dict[str, object], message: str) -> None:
    with pytest.raises(ObjectError, match=message):
        bpf.load(built / "struct_ops_tables.bpf.o", struct_ops=asked)


def test_wrong_shapes(bpf: Bpf, built: Path) -> None:
    with pytest.raises(BpfUsageError, match="is not True, False or a dict of members"):
        bpf.load(built / "struct_ops_tables.bpf.o", struct_ops={"plain": 7})
