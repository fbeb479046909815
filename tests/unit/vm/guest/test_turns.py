"""Boots in parallel, of all processes that share a cache."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.vm.guest.turns import size_of_memory, turn_to_boot
from pytest_ebpf.vm.images.cache import Store


def test_as_many_boots_as_places(tmp_path: Path) -> None:
    """Six boots want two places; files are locked, so threads are as good as processes."""
    store, lock = Store(tmp_path), threading.Lock()
    now = most = 0
    said: list[str] = []

    def boot() -> None:
        nonlocal now, most
        with turn_to_boot(store, memory=0, say=said.append, places=2):
            with lock:
                now += 1
                most = max(most, now)
            threading.Event().wait(0.02)
            with lock:
                now -= 1

    threads = [threading.Thread(target=boot) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2
    assert said[0] == "waiting: 2 other guests are booting, which is all that this machine's processors carry"


def test_a_boot_that_waits_opens_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, holding = Store(tmp_path), ExitStack()
    opened: list[int] = []
    holding.enter_context(store.claim("boot-0"))

    def pause(seconds: float) -> None:
        opened.append(len(list(Path("/proc/self/fd").iterdir())))
        if len(opened) == 5:
            holding.close()

    monkeypatch.setattr("pytest_ebpf.vm.guest.turns.time.sleep", pause)
    with turn_to_boot(store, memory=0, say=lambda text: None, places=1):
        pass
    assert opened == opened[:1] * 5


def test_a_boot_waits_for_memory(tmp_path: Path) -> None:
    free = iter([100 << 20, 100 << 20, 2 << 30])
    said: list[str] = []
    with turn_to_boot(Store(tmp_path), memory=1 << 30, say=said.append, places=1, free=lambda: next(free)):
        pass
    assert said == ["waiting: 100 MB of memory are free, a guest may take 1024 MB"]
    assert next(free, None) is None


def test_memory_that_stays_short_does_not_stop_a_boot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with turn_to_boot(Store(tmp_path), memory=1 << 30, say=lambda text: None, free=lambda: 5 << 20, patience=0.0):
        pass
    assert "5 MB of memory are free, a guest may take 1024 MB: it boots all the same" in caplog.text


def test_a_machine_that_does_not_say_does_not_wait(tmp_path: Path) -> None:
    said: list[str] = []
    with turn_to_boot(Store(tmp_path), memory=1 << 60, say=said.append, free=lambda: None):
        pass
    assert not said


@pytest.mark.parametrize(
    ("text", "size"), [("1G", 1 << 30), ("512M", 512 << 20), ("512", 512 << 20), ("1.5g", 3 << 29)]
)
def test_sizes_of_memory_as_qemu_reads_them(text: str, size: int) -> None:
    assert size_of_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "1X", "-1G"])
def test_what_is_no_size_of_memory(text: str) -> None:
    with pytest.raises(BpfUsageError, match="is no size of memory"):
        size_of_memory(text)
