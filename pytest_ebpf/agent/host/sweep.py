"""What a run that was killed left on this machine: removed by the next one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from types import MappingProxyType

from pytest_ebpf.agent.base.leaks import end_marked
from pytest_ebpf.agent.base.ledger import dead_ledgers, ledger_folder, read_ledger
from pytest_ebpf.agent.base.syscalls import umount
from pytest_ebpf.agent.host.attached import detach
from pytest_ebpf.agent.host.files import remove_path
from pytest_ebpf.agent.host.machine import remove_tree
from pytest_ebpf.agent.host.netns import remove_namespace
from pytest_ebpf.agent.host.network_state import hanging, remove_hanging

__all__ = ["sweep"]


def sweep(folder: str = "") -> list[str]:
    """Remove it: one text for each thing, with what could not be removed."""
    told: list[str] = []
    for path in dead_ledgers(folder or ledger_folder()):
        left = read_ledger(path)
        if ("commands", "") in left:
            boot = os.path.basename(path).partition(".")[0]
            told += [f"process {pid} ({name})" for pid, name in end_marked(f"{boot}-")]
        told += [words for kind, name in left if (words := _remove(kind, name))]
    return told


def _remove(kind: str, name: str) -> str:
    """What was done, "" for nothing."""
    remove = _REMOVE.get(kind)
    if remove is None:
        return ""
    try:
        return f"{kind} {name}" if remove(name) is not False else ""
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{kind} {name} (not removed: {error.strerror or error})"


def _remove_directory(path: str) -> bool:
    there = os.path.lexists(path)
    remove_tree(path)
    return there


def _remove_file(path: str) -> bool:
    there = os.path.lexists(path)
    remove_path(path)
    return there


def _remove_mount(place: str) -> bool:
    with contextlib.suppress(OSError):
        umount(place)
        return True
    return False


def _remove_program(number: str) -> bool:
    """From the interfaces where it hangs."""
    found = [one for one in hanging() if one.program == int(number)]
    for one in found:
        remove_hanging(one)
    return bool(found)


def _remove_qdisc(interface: str) -> bool:
    """Unless somebody has put a filter there."""
    here = [one for one in hanging() if one.interface == int(interface)]
    qdiscs = [one for one in here if one.kind == "qdisc" and " clsact " in one.name]
    if any(one.kind == "tc filter" for one in here):
        return False
    for one in qdiscs:
        remove_hanging(one)
    return bool(qdiscs)


_REMOVE: MappingProxyType[str, Callable[[str], object]] = MappingProxyType(
    {
        "attachment": detach,
        "pin": os.unlink,
        "netns": remove_namespace,
        "directory": _remove_directory,
        "file": _remove_file,
        "mount": _remove_mount,
        "program": _remove_program,
        "qdisc": _remove_qdisc,
    }
)
