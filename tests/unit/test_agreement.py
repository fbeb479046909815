"""The comparison with libbpf: what a cut run keeps, which objects are taken, and what the page says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_ebpf.agent.ops import Exited
from support.paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import agree  # type: ignore[import-not-found]
import agree_kept  # type: ignore[import-not-found]
import agreement  # type: ignore[import-not-found]
import compare  # type: ignore[import-not-found]
import selftests  # type: ignore[import-not-found]
from ours import Ours, Verdict  # type: ignore[import-not-found]
from peer import Peer, PeerError  # type: ignore[import-not-found]

PATH = Path("/corpus/tools/probe.bpf.o")


def made(difference: str = "", **changed: Any) -> Any:
    verdict = Verdict("probe", "kprobe/f", "loaded", walked=9, type=(2, 0))
    theirs = {"loaded": True, "walked": 9, "told": False, "warnings": "", "log": ""}
    same = "" if difference else "loaded"
    program = compare.Program("tools", PATH.name, "kprobe/f", "probe", same, difference, theirs, verdict)
    return compare.Comparison("tools", Ours(PATH, (verdict,)), (program,), **changed)


def test_a_cut_run_goes_on_behind_what_it_kept(tmp_path: Path) -> None:
    file = tmp_path / "kept.jsonl"
    agree_kept.open_kept(file).put("6.1", PATH, made())
    with file.open("a") as opened:
        opened.write('{"kernel": "6.1", "pa')
    second = agree_kept.open_kept(file)
    assert second.get("6.1", PATH) == made()
    assert second.get("newest", PATH) is None
    second.put("newest", PATH, made("only libbpf loads it"))
    third = agree_kept.open_kept(file)
    assert third.get("newest", PATH) == made("only libbpf loads it")
    assert third.get("6.1", PATH) == made()


def test_the_newest_line_of_an_object_counts(tmp_path: Path) -> None:
    kept = agree_kept.open_kept(tmp_path / "kept.jsonl")
    kept.put("6.1", PATH, made("only libbpf loads it", cut=True))
    kept.put("6.1", PATH, made())
    assert agree_kept.open_kept(tmp_path / "kept.jsonl").get("6.1", PATH) == made()


def test_a_share_of_each_project_is_taken_at_even_distances() -> None:
    paths = sorted(Path(f"/corpus/{project}/{number}.o") for project in "ab" for number in range(10))
    taken = {
        project: [path.stem for path in found] for project, found in compare.share(paths, below=Path("/corpus"), most=4)
    }
    assert taken == {"a": ["0", "2", "5", "7"], "b": ["0", "2", "5", "7"]}
    assert all(len(found) == 10 for _, found in compare.share(paths, below=Path("/corpus")))


def test_the_page_counts_each_kernel_and_shows_words_where_no_reason_is_known() -> None:
    pages = [
        agreement.Page("6.1", "6.1.9", (made(),)),
        agreement.Page("newest", "7.3.4", (made("only libbpf loads it"), made(apart="map 'x' is bad"))),
    ]
    text = agreement.render_report(pages, libbpf="v1.8", part=" Some were taken.")
    assert "| 6.1.9 | 1 | 1 | 1 | 0 | 0 | 0 |" in text
    assert "| 7.3.4 | 2 | 2 | 1 | 1 | 1 | 0 |" in text
    assert "## Linux 7.3.4" in text
    assert "- `tools/probe.bpf.o kprobe/f probe`: only libbpf loads it" in text
    assert "| map … is bad | 1 | 1 |" in text
    assert "not counted. Some were taken." in text


def test_results_of_selftests_stay_and_the_newest_of_an_object_counts(tmp_path: Path) -> None:
    case = '<testcase classname="{}.bpf.o" name="{}[newest]">{}</testcase>'
    lost = case.format("b", "lost", '<failure message="m">the guest was lost</failure>')
    for number, cases in enumerate([case.format("a", "good", "") + lost, case.format("b", "lost", "")]):
        (tmp_path / f"newest-{number}.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    found = selftests._kept(tmp_path, kernel="newest")
    assert {name: [item.outcome for item in items] for name, items in found.items()} == {
        "a": ["passed"],
        "b": ["passed"],
    }
    assert selftests._kept(tmp_path, kernel="6.1") == {}


def test_only_what_did_not_pass_is_run_again() -> None:
    item = selftests.Item("a", "f", "newest", "failed", "another message")
    assert selftests._is_to_run(None, again=False)
    assert not selftests._is_to_run([item], again=False)
    assert selftests._is_to_run([item], again=True)
    assert not selftests._is_to_run([selftests.Item("a", "f", "newest", "passed")], again=True)


def test_libbpf_finds_the_configuration_of_a_guest_where_distributions_have_it(tmp_path: Path) -> None:
    """Without it libbpf refuses what reads CONFIG_ variables, which says nothing about the kernel."""
    ran: list[Any] = []

    def run(ops: list[Any]) -> list[Any]:
        ran.extend(ops)
        return [Exited(0, b"{}", b"")]

    kernel = SimpleNamespace(image=SimpleNamespace(kconfig=tmp_path / "config"), kernel=SimpleNamespace(run=run))
    assert agree._run_in(kernel, ["libbpf_load", "version"]) == (0, "{}", "")
    (spawned,) = ran
    assert spawned.argv[:2] == ("sh", "-c")
    assert "/boot/config-$(uname -r)" in spawned.argv[2]
    assert spawned.argv[3:] == (str(tmp_path / "config"), "libbpf_load", "version")


def test_a_loader_that_is_not_done_in_time_is_a_result() -> None:
    late = SimpleNamespace(run=lambda ops: [Exited(-9, b"", b"", timed_out=True)])
    with pytest.raises(PeerError, match="not done after"):
        agree._run_in(SimpleNamespace(image=None, kernel=late), ["libbpf_load", "version"])


def test_what_only_libbpf_loads_is_tried_alone(tmp_path: Path) -> None:
    """libbpf loads each program alone; with us a neighbour may have claimed the program array first."""
    path = tmp_path / "tails.bpf.o"
    path.write_bytes(b"\x7fELF\2" + (b"\1" if sys.byteorder == "little" else b"\2"))
    theirs = {
        "name": "f",
        "section": "tc",
        "type": 3,
        "loaded": True,
        "errno": 0,
        "walked": 8,
        "log": "",
        "warnings": "",
    }
    answer = json.dumps({"file": str(path), "open_errno": 0, "warnings": "", "programs": [theirs]})
    refused = Verdict("f", "tc", "rejected", errno=22, walked=8, type=(3, 0), stage="verifier")
    loaded = Verdict("f", "tc", "loaded", walked=8, type=(3, 0))
    libbpf = Peer(tmp_path / "libbpf_load", "v1.8", run=lambda command: (0, answer, ""))
    for alone, difference in ((loaded, ""), (refused, "only libbpf loads it")):
        found = compare.compare(
            Ours(path, (refused,)), project="tools", libbpf=libbpf, alone=lambda name, alone=alone: Ours(path, (alone,))
        )
        assert [program.difference for program in found.programs] == [difference]
