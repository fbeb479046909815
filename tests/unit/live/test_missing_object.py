"""Every directory that was looked in, with near names (B5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.live.loader import find_object


def test_b5_every_directory_is_listed_with_near_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tests", "build"):
        (tmp_path / name).mkdir()
    (tmp_path / "build" / "filter.bpf.o").touch()
    (tmp_path / "tests" / "filtr.bpf.c").touch()
    with pytest.raises(ObjectError) as missing:
        find_object("filtr.bpf.o", [tmp_path / "tests", tmp_path / "build", tmp_path / "gone"])
    text = str(missing.value)
    assert text.startswith("filtr.bpf.o: no such file\ndid you mean filter.bpf.o?\n")
    assert f"{tmp_path / 'tests' / 'filtr.bpf.c'} is there: was it compiled?" in text
    assert f"Looked in {tmp_path / 'tests'}, {tmp_path / 'build'}, {tmp_path / 'gone'} (not there), {tmp_path};" in text
    assert "bpf_object_dirs" in text
    assert find_object("filter.bpf.o", [tmp_path / "tests", tmp_path / "build"]) == tmp_path / "build" / "filter.bpf.o"
