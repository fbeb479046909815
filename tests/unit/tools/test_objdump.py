"""Which disassembler is taken."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_ebpf.tools.objdump import find_objdump


def put(folder: Path, *names: str) -> str:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch(mode=0o755)
    return str(folder)


def test_the_newest_of_whatever_versions_there_are(tmp_path: Path) -> None:
    path = os.pathsep.join(
        [
            put(tmp_path / "a", "llvm-objdump-9", "llvm-objdump-15"),
            put(tmp_path / "b", "llvm-objdump-131", "llvm-objdump-x"),
            str(tmp_path / "nowhere"),
        ]
    )
    assert find_objdump(path) == str(tmp_path / "b" / "llvm-objdump-131")


def test_one_without_a_version_comes_first(tmp_path: Path) -> None:
    assert find_objdump(put(tmp_path, "llvm-objdump-20", "llvm-objdump")) == str(tmp_path / "llvm-objdump")


def test_none_or_only_one_that_is_too_old(tmp_path: Path) -> None:
    assert find_objdump(str(tmp_path)) is None
    assert find_objdump(put(tmp_path, "llvm-objdump-13")) is None
