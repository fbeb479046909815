"""Saved states of guests: made once, restored many times.

A state is a directory of the cache, ``warm/<release>-<key>``: ``memory``, mapped copy-on-write by every guest that is
restored from it, ``state``, all else that QEMU saves, and ``entry.json``. The key covers all that could differ, because
QEMU refuses some mismatches, ignores others, and hangs on a few; the files are checked before, and a deadline guards
each restore. A state that fails is thrown away. Nothing in it is ever written to again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.files import fresh_folder
from pytest_ebpf.frozen import asdict, dataclass
from pytest_ebpf.vm.guest.command import MemoryFile, qemu_argv
from pytest_ebpf.vm.guest.launch import (
    CLOCK_ATTEMPTS,
    Launch,
    Parts,
    Saved,
    clock_agrees,
    end_reason,
    failed,
    greet,
    read_line,
    start,
    wrong_clock,
)
from pytest_ebpf.vm.guest.qmp import Monitor
from pytest_ebpf.vm.guest.turns import size_of_memory
from pytest_ebpf.vm.guest.virtiofs import NOT_SAVED
from pytest_ebpf.vm.images.cache import Store
from pytest_ebpf.vm.images.expiry import drop_stale, mark_used

__all__ = ["Entry", "Unusable", "read_entry", "restore", "snapshot_path"]

_FORMAT = 1  # of what is saved, and of how it is restored
_ENTRY = "entry.json"
_KEPT = 5  # states of one release: of different agents, options, QEMUs
_ROOM = 400 << 20  # bytes of the disk for a state
_MIN_DEADLINE = 6.0  # seconds for a restore
_SLACK = 3.0  # a restore may take this many times what the boot before the saving took
_SAVING = 60.0


class Unusable(Exception):
    """Why there is no state to restore; the guest boots cold."""


@dataclass(frozen=True, slots=True)
class Entry:
    """``memory`` and ``state`` are (size, date in ns); ``seconds`` is what the boot took before it was saved.
    ``problem`` is why this guest cannot be saved or restored, "" for nothing."""

    memory: tuple[int, int] = (0, 0)
    state: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    problem: str = ""


def restore(launch: Launch) -> tuple[Parts, dict[str, Any]]:
    """A guest from a saved state, which is made first if there is none: its parts, and what its agent said.

    ``Unusable`` when that does not work, for whatever reason; the state is gone by then.
    """
    if launch.daemon:
        raise Unusable(NOT_SAVED)
    home = snapshot_path(launch)
    made = False
    entry = read_entry(home)
    if entry is None:
        made, entry = True, _make_alone(launch, home)
    if entry.problem:
        raise Unusable(entry.problem)
    try:
        answer = _restore(launch, home, entry=entry)
        mark_used(home)
    except (BootFailed, OSError) as error:
        _throw_away(home)
        reason = _words(error)
        if made:  # it is no older damage: this guest cannot be restored
            _keep_problem(home, f"its saved state does not run ({reason})")
        raise Unusable(f"its saved state could not be used and was thrown away ({reason})") from error
    return answer


def snapshot_path(launch: Launch) -> Path:
    """Where the state of this guest is or would be."""
    bare = qemu_argv(launch.composition.argv, launch.guest(park=True))
    facts = [_FORMAT, bare, str(launch.composition.path), launch.accel.kind, _cpu(launch.accel.kind)]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return Store(launch.config.cache.resolve()).warm / f"{launch.image.release}-{key}"


def _cpu(kind: str) -> str:
    """Under KVM a guest sees this machine's processor."""
    if kind != "kvm":
        return ""
    first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    return "\n".join(line for line in first if line.startswith(("vendor", "cpu family", "model", "flags", "microcode")))


def read_entry(home: Path) -> Entry | None:
    """What is there and whole."""
    try:
        record = json.loads((home / _ENTRY).read_text())
        entry = Entry(tuple(record["memory"]), tuple(record["state"]), record["seconds"], record["problem"])
        whole = entry.problem or (entry.memory, entry.state) == (_stamp(home / "memory"), _stamp(home / "state"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return entry if whole else None


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _restore(launch: Launch, home: Path, *, entry: Entry) -> tuple[Parts, dict[str, Any]]:
    seconds = max(_MIN_DEADLINE, entry.seconds * _SLACK) * launch.accel.pace
    state = os.open(home / "state", os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = start(launch, saved=Saved(_memory(home / "memory", launch, shared=False), state))
    finally:
        os.close(state)
    try:
        monitor = Monitor(parts.monitor, deadline=parts.started + seconds)
        monitor.share_memory()
        monitor.ask("migrate-incoming", uri=f"fd:{state}")
        monitor.wait_running()  # what is written to the port before is lost
        return parts, greet(parts, launch, timeout=seconds)
    except BootFailed as error:
        parts.qemu.wait(0.2)
        why = end_reason(parts, otherwise=error.message)
        parts.take_apart()
        raise BootFailed(why) from error
    except BaseException:
        parts.take_apart()
        raise


def _make_alone(launch: Launch, home: Path) -> Entry:
    """Make the state, unless another process did while we waited for it."""
    store = Store(launch.config.cache.resolve())
    say = launch.config.on_progress
    try:
        with store.lock(f"warm-{home.name}", waiting=lambda: say("waiting for another process that saves this guest")):
            entry = read_entry(home)
            if entry is not None:
                return entry
            _throw_away(home)
            return _make(launch, home)
    except BootFailed as error:
        raise Unusable(f"it could not be saved ({_words(error)})") from error
    except OSError as error:
        raise Unusable(f"there is no place for its saved state ({error.strerror or error})") from error


def _make(launch: Launch, home: Path) -> Entry:
    home.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(home.parent).free < _ROOM:
        raise OSError(f"less than {_ROOM >> 20} MB are free on the disk of {home.parent}")
    launch.config.on_progress(f"booting {launch.image.spec} under {launch.accel.label}, to save its state")
    with fresh_folder(home.parent / f"new-{home.name}") as folder:  # the lock of this state is ours
        scratch = folder / "made"
        scratch.mkdir()
        for _ in range(CLOCK_ATTEMPTS):
            if seconds := _save(launch, scratch):
                break
        else:
            raise wrong_clock(launch)
        entry = Entry(_stamp(scratch / "memory"), _stamp(scratch / "state"), seconds)
        (scratch / _ENTRY).write_text(json.dumps(asdict(entry)))
        scratch.rename(home)
    _drop_others(home, release=launch.image.release)
    return entry


def _save(launch: Launch, folder: Path) -> float:
    """Boot a guest and write its state into ``folder``; the seconds that the boot took, 0 if its clock is wrong."""
    memory = _memory(folder / "memory", launch, shared=True)
    memory.path.unlink(missing_ok=True)  # of an attempt before this
    parts = start(launch, saved=Saved(memory))
    try:
        parked = read_line(parts, launch, timeout=launch.timeout)
        if not clock_agrees(parts, uptime=parked["uptime"]):
            return 0.0
        seconds = time.monotonic() - parts.started
        monitor = Monitor(parts.monitor, deadline=time.monotonic() + _SAVING)
        monitor.share_memory()
        monitor.ask("migrate", uri=f"exec:cat >{shlex.quote(str(folder / 'state'))}")
        monitor.wait_migrated()
        return seconds
    except BootFailed as error:
        parts.qemu.wait(0.2)
        raise failed(parts, launch.image.spec, why=end_reason(parts, otherwise=error.message)) from error
    finally:
        parts.take_apart()


def _memory(path: Path, launch: Launch, *, shared: bool) -> MemoryFile:
    return MemoryFile(path, size_of_memory(launch.config.memory), shared)


def _throw_away(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)


def _keep_problem(home: Path, problem: str) -> None:
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        (home / _ENTRY).write_text(json.dumps(asdict(Entry(problem=problem))))


def _drop_others(home: Path, *, release: str) -> None:
    """States are large: few are kept of each release, and none that was not used for a month. A guest that runs from
    one keeps its files."""
    same = [path for path in home.parent.glob(f"{release}-*") if path != home]
    with contextlib.suppress(OSError):
        for old in sorted(same, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT - 1 :]:
            _throw_away(old)
    drop_stale(home.parent)


def _words(error: Exception) -> str:
    return error.message if isinstance(error, BootFailed) else str(error)
