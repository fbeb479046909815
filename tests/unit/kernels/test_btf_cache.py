"""Types whose index is kept between processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.kernels.btf_cache import KEPT, indexed_btf
from support.btf_writer import BtfWriter


def types(name: str) -> bytes:
    writer = BtfWriter()
    writer.struct(name, 4, [("a", writer.int("int", 4, signed=True), 0)])
    return writer.build()


def indexes(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


def told(btf: Btf, name: str) -> list[str]:
    return [str(btf.type(found)) for found in btf.find(name)]


def test_the_second_process_reads_what_the_first_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = indexed_btf(types("task"), folder=tmp_path / "new")
    (kept,) = indexes(tmp_path / "new")
    monkeypatch.setattr("pytest_ebpf.kernels.btf_cache.parse_btf", None)  # nothing is to be parsed now
    second = indexed_btf(types("task"), folder=kept.parent)
    assert told(second, "task") == told(first, "task") != []
    assert indexes(kept.parent) == [kept]


def test_other_types_have_an_index_of_their_own(tmp_path: Path) -> None:
    indexed_btf(types("task"), folder=tmp_path)
    assert indexed_btf(types("sock"), folder=tmp_path).find("sock")
    assert len(indexes(tmp_path)) == 2


@pytest.mark.parametrize("damage", [b"", b"btfidx01", b"x" * 100])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    indexed_btf(types("task"), folder=tmp_path)
    (kept,) = indexes(tmp_path)
    sound = kept.read_bytes()
    kept.write_bytes(damage)
    assert indexed_btf(types("task"), folder=tmp_path).find("task")
    assert kept.read_bytes() == sound


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert indexed_btf(types("task"), folder=tmp_path / "file" / "types").find("task")


def test_the_least_recently_used_goes(tmp_path: Path) -> None:
    for number in range(KEPT):
        indexed_btf(types(f"t{number}"), folder=tmp_path)
    for age, path in enumerate(indexes(tmp_path)):
        os.utime(path, (1000 + age, 1000 + age))
    oldest, second = indexes(tmp_path)[:2]
    oldest_name = next(f"t{n}" for n in range(KEPT) if _kept_as(tmp_path, f"t{n}") == oldest)
    indexed_btf(types(oldest_name), folder=tmp_path)  # used: no longer the oldest
    indexed_btf(types("one more"), folder=tmp_path)
    assert len(indexes(tmp_path)) == KEPT
    assert oldest.exists()
    assert not second.exists()


def _kept_as(folder: Path, name: str) -> Path:
    import hashlib

    return folder / f"{hashlib.sha256(types(name)).hexdigest()}.index"


def test_what_is_not_btf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ObjectError):
        indexed_btf(b"\x7fELF", folder=tmp_path)
    assert indexes(tmp_path) == []
