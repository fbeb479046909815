"""Writing a file in one step."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.files import fresh_folder, replace_file


def test_a_file_is_replaced_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    replace_file(path, "one é\n")
    assert path.read_text() == "one é\n"
    replace_file(path, b"\x00two")
    assert path.read_bytes() == b"\x00two"
    assert [each.name for each in path.parent.iterdir()] == ["file.json"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "file.json"
    folder.mkdir()
    with pytest.raises(OSError, match=r"file\.json"):
        replace_file(folder, b"content")
    assert [each.name for each in tmp_path.iterdir()] == ["file.json"]


def test_a_folder_is_fresh_and_gone_at_the_end(tmp_path: Path) -> None:
    """What a process that was killed had left in it does not stay."""
    place = tmp_path / "deep" / "new-one"
    place.mkdir(parents=True)
    (place / "half").write_text("x")
    with fresh_folder(place) as folder:
        assert not list(folder.iterdir())
        (folder / "made").mkdir()
    assert not place.exists()
