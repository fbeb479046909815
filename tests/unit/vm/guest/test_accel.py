"""KVM or emulation, and why; what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest.accel import Accel, choose_accel, device_problem, recall, remember


def works() -> str:
    return ""


def hangs() -> str:
    return "a kernel printed nothing in 8 s under it"


def unasked() -> str:
    raise AssertionError("nobody should need to know")


def test_auto_takes_kvm_if_it_works() -> None:
    assert choose_accel("auto", require_kvm=False, problem=works) == Accel("kvm", "a kernel ran under it")


def test_auto_falls_back_and_says_why() -> None:
    accel = choose_accel("auto", require_kvm=False, problem=hangs)
    assert accel.kind == "tcg"
    assert accel.label == "TCG (no KVM: a kernel printed nothing in 8 s under it)"


def test_tcg_asks_nothing() -> None:
    assert choose_accel("tcg", require_kvm=False, problem=unasked).label == "TCG (asked for)"


@pytest.mark.parametrize(("mode", "required"), [("kvm", False), ("auto", True), ("kvm", True)])
def test_kvm_demanded_and_broken_is_an_error_with_the_reason(mode: str, required: bool) -> None:
    with pytest.raises(BootFailed, match="a kernel printed nothing in 8 s under it"):
        choose_accel("kvm" if mode == "kvm" else "auto", require_kvm=required, problem=hangs)


def test_kvm_demanded_without_permission_names_the_group() -> None:
    with pytest.raises(BootFailed, match="no permission") as failed:
        choose_accel("kvm", require_kvm=False, problem=lambda: "no permission for /dev/kvm")
    assert "usermod -aG kvm" in failed.value.hint


def test_emulation_and_kvm_required_contradict() -> None:
    with pytest.raises(BootFailed, match="drop one"):
        choose_accel("tcg", require_kvm=True, problem=unasked)


def test_deadlines_stretch_under_emulation() -> None:
    assert Accel("kvm", "").factor == 1
    assert Accel("tcg", "").factor > 3


def test_a_missing_device_is_a_problem(tmp_path: Path) -> None:
    assert device_problem(tmp_path / "kvm") == f"there is no {tmp_path / 'kvm'}"
    (tmp_path / "kvm").touch()
    assert device_problem(tmp_path / "kvm") == ""


@pytest.mark.parametrize("problem", ["", "QEMU was killed by SIGABRT"])
def test_the_answer_is_kept_for_this_qemu(tmp_path: Path, problem: str) -> None:
    qemu = tmp_path / "qemu"
    qemu.write_text("1")
    cache = tmp_path / "cache"
    assert recall(cache, qemu=str(qemu)) is None
    remember(cache, problem, qemu=str(qemu))
    assert recall(cache, qemu=str(qemu)) == problem
    qemu.write_text("another")
    assert recall(cache, qemu=str(qemu)) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"for": 1}'])
def test_a_damaged_record_is_no_answer(tmp_path: Path, content: str) -> None:
    (tmp_path / "kvm.json").write_text(content)
    (tmp_path / "qemu").touch()
    assert recall(tmp_path, qemu=str(tmp_path / "qemu")) is None


def test_a_cache_that_cannot_be_written_is_lived_with(tmp_path: Path) -> None:
    (tmp_path / "qemu").touch()
    (tmp_path / "cache").write_text("a file in the way")
    remember(tmp_path / "cache", "", qemu=str(tmp_path / "qemu"))
    assert recall(tmp_path / "cache", qemu=str(tmp_path / "qemu")) is None
