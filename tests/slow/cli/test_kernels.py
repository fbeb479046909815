"""``pytest-ebpf kernels``, as typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_ebpf.cli.kernels import kernels
from pytest_ebpf.errors import BpfUsageError, ImageError
from support.fake_mirror import Mirror, serve, single, split, write_ring
from support.openpgp import make_key

KEY = make_key(1)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    with serve() as running:
        running.add_suite("bookworm", [single("6.1.0-9-amd64", "6.1.9-1")], key=KEY)
        monkeypatch.setenv("PYTEST_EBPF_MIRROR", running.url)
        monkeypatch.setenv("PYTEST_EBPF_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("PYTEST_EBPF_KEYRING", str(write_ring(tmp_path, KEY)))
        yield running


def run(*arguments: str) -> Result:
    return CliRunner().invoke(kernels, arguments, catch_exceptions=False)


def test_a_matrix_for_github_actions(mirror: Mirror) -> None:
    """Two lines for GITHUB_OUTPUT; the key of the cache changes with the newest release that the archive has."""
    first = run("list", "6.1", "--refresh", "--format=gha").stdout
    matrix, key = first.splitlines()
    assert matrix == 'matrix={"kernel":["6.1"]}'
    assert key.startswith("key=kernels-")
    assert run("list", "6.1", "--format=gha").stdout == first
    assert run("list", "oldest", "newest", "--format=gha").stdout.startswith('matrix={"kernel":["oldest","newest"]}')
    mirror.add_suite("bookworm", [single("6.1.0-10-amd64", "6.1.10-1")], key=KEY)
    assert run("list", "6.1", "--refresh", "--format=gha").stdout.splitlines()[1] != key
    (row,) = json.loads(run("list", "6.1", "--format", "json").stdout)
    assert row["newest"] == "6.1.0-10-amd64 (6.1.10-1)"
    with pytest.raises(BpfUsageError, match=r"no series '6\.01'"):
        run("list", "6.01")


def test_fetch_then_path(mirror: Mirror, tmp_path: Path) -> None:
    result = run("fetch", "6.1", "host")
    assert result.exit_code == 0
    assert result.stdout == "6.1: 6.1.0-9-amd64 (Debian 6.1.9-1 from bookworm (verified by signature))\n"
    assert "6.1 (6.1.0-9-amd64): fetching" in result.stderr
    assert "6.1 (6.1.0-9-amd64): ready" in result.stderr
    folder = Path(run("path", "6.1").stdout.strip())
    assert folder.parent == tmp_path / "cache/images"
    assert {"vmlinux", "bzImage", "vmlinux.btf", "config", "lib"} <= {path.name for path in folder.iterdir()}


def test_quiet(mirror: Mirror) -> None:
    result = run("fetch", "-q", "6.1")
    assert (result.exit_code, result.output) == (0, "")


def test_path_fetches_nothing(mirror: Mirror) -> None:
    with pytest.raises(ImageError, match="run: pytest-ebpf kernels fetch newest"):
        run("path", "newest")
    assert mirror.requests == []


def test_list_is_offline_until_told_to_refresh(mirror: Mirror) -> None:
    before = run("list")
    assert before.exit_code == 0
    assert mirror.requests == []
    assert rows(before.stdout)["6.1"] == ["6.1", "–", "?", "–"]
    mirror.add_suite("trixie-backports", split("7.1.2+deb13-amd64", "7.1.2-1")[:1], key=KEY)
    run("fetch", "6.1")
    partly = rows(run("list").stdout)
    assert partly["6.1"][2] == "6.1.0-9-amd64 (6.1.9-1)"
    assert partly["6.12"] == ["6.12", "–", "?", "–"]  # one of its suites is known by now, the others are not
    after = rows(run("list", "--refresh").stdout)
    assert after["6.1"] == ["6.1", "6.1.0-9-amd64 (6.1.9-1)", "6.1.0-9-amd64 (6.1.9-1)", "–"]
    assert after["7.1"] == ["7.1", "–", "in parts only", "–"]
    assert after["6.12"] == ["6.12", "–", "none", "–"]
    assert "oldest" in after["5.10"]
    asked = len(mirror.requests)
    assert rows(run("list").stdout)["6.1"] == after["6.1"]
    assert len(mirror.requests) == asked


def rows(table: str) -> dict[str, list[str]]:
    import re

    split_rows = [re.split(r" {2,}", line.strip()) for line in table.splitlines()[1:]]
    return {row[0]: row for row in split_rows}


def test_prune(mirror: Mirror, tmp_path: Path) -> None:
    assert "removed 0 images" in run("prune").stdout
    run("fetch", "6.1")
    mirror.add_suite("bookworm", [single("6.1.0-10-amd64", "6.1.10-1")], key=KEY)
    for file in (tmp_path / "cache/indexes").iterdir():
        file.unlink()
    run("fetch", "6.1")
    assert "removed 1 images" in run("prune").stdout
    assert run("path", "6.1").stdout.strip().rpartition("/")[2].startswith("6.1.0-10-amd64-")
    assert "removed 1 images" in run("prune", "--all").stdout
    with pytest.raises(ImageError, match="not in the cache"):
        run("path", "6.1")


def test_saved_states_are_listed_with_their_size_and_pruned(mirror: Mirror, tmp_path: Path) -> None:
    run("fetch", "6.1")
    state = tmp_path / "cache/warm/6.1.0-9-amd64-0123456789abcdef"
    state.mkdir(parents=True)
    (state / "memory").write_bytes(b"x" * 3_000_000)
    assert rows(run("list").stdout)["6.1"][-1] == "3 MB"
    assert "removed 0 images and 1 saved states, freed 3 MB" in run("prune").stdout
    assert not state.exists()
    assert rows(run("list").stdout)["6.1"][-1] == "–"


def test_a_terminal_gets_bars(mirror: Mirror) -> None:
    import io

    from pytest_ebpf.vm.images.fetch import fetch
    from pytest_ebpf.vm.images.progress import reporter_for

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    with reporter_for(screen) as reporter:
        fetch(["6.1"], reporter=reporter)
        reporter.say("note: [brackets] stay")
    assert "6.1 (6.1.0-9-amd64)" in screen.getvalue()
    assert "ready" in screen.getvalue()
    assert "[brackets]" in screen.getvalue()


def test_ctrl_c(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_ebpf.vm.images.fetch.fetch", interrupted)
    result = run("fetch", "6.1")
    assert result.exit_code == 130
    assert "the same command continues" in result.stderr
