"""Ops on the machine around the programs: facts, files, directories, mounts."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import time
from errno import EBUSY

from pytest_ebpf.agent import ops
from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.syscalls import mount as do_mount, umount
from pytest_ebpf.agent.base.sysfs import possible_cpus, read_bytes, read_text
from pytest_ebpf.agent.host.switches import open_in
from pytest_ebpf.uapi.numbers import CAP_BPF, CAP_SYS_ADMIN, MS_BIND, MS_REMOUNT

__all__ = ["describe", "kill_cgroup", "list_dir", "make_dir", "mount", "open_file", "read_file", "remove_tree"]

_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")  # for commands: other users may enter there
_CGROUP_PATIENCE = 2.0  # seconds for killed members of a cgroup to go
_MOUNT_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def describe(op: ops.Describe, batch: Batch) -> ops.Result:
    """Facts, none of which needs a privilege to be read."""
    uname = os.uname()
    lockdown = read_text("/sys/kernel/security/lockdown")
    return ops.Described(
        release=uname.release,
        version=uname.version,
        machine=uname.machine,
        cpus=possible_cpus(),
        page_size=os.sysconf("SC_PAGE_SIZE"),
        boot=read_text("/proc/sys/kernel/random/boot_id"),
        byteorder=sys.byteorder,
        has_btf=os.path.exists("/sys/kernel/btf/vmlinux"),
        jit=int(read_text("/proc/sys/net/core/bpf_jit_enable", default="0") or 0),
        euid=os.geteuid(),
        cap_bpf=bool(_capabilities() & (1 << CAP_BPF | 1 << CAP_SYS_ADMIN)),
        unprivileged_bpf_disabled=int(read_text("/proc/sys/kernel/unprivileged_bpf_disabled", default="0") or 0),
        lockdown=lockdown.partition("[")[2].partition("]")[0],
        cmdline=read_text("/proc/cmdline"),
        python=next((path for path in _PYTHONS if os.access(path, os.X_OK)), sys.executable),
    )


def _capabilities() -> int:
    """The effective set. CAP_SYS_ADMIN stands in for CAP_BPF, which is younger (Linux 5.8)."""
    for line in read_text("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def read_file(op: ops.ReadFile, batch: Batch) -> ops.Result:
    """A file's bytes."""
    if not op.filesystem:
        return ops.Data(read_bytes(op.path, limit=op.limit))
    with os.fdopen(open_in(op.filesystem, op.path, flags=os.O_RDONLY), "rb") as file:
        return ops.Data(file.read(op.limit or -1))


def list_dir(op: ops.ListDir, batch: Batch) -> ops.Result:
    """The names in a directory."""
    return ops.Data(b"".join(os.fsencode(name) + b"\0" for name in sorted(os.listdir(op.path))))


def open_file(op: ops.OpenFile, batch: Batch) -> ops.Result:
    """An fd of a file or directory."""
    fd = os.open(op.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    kind = "dir" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
    return ops.Made(batch.own(fd, kind, name=op.path, site=op.site, own=False).handle)


def make_dir(op: ops.MakeDir, batch: Batch) -> ops.Result:
    """A directory that is removed, with its content, when its handle is closed."""
    os.mkdir(op.path, 0o755)
    try:
        fd = os.open(op.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        os.rmdir(op.path)
        raise
    entry = batch.own(fd, "dir", name=op.path, site=op.site)
    batch.undo(entry, lambda: remove_tree(op.path), kind="directory", name=op.path)
    return ops.Made(entry.handle)


def remove_tree(path: str) -> None:
    """A directory with everything in it; a cgroup with its members."""
    if os.path.exists(f"{path}/cgroup.procs"):
        _remove_cgroup(path)
        return
    with contextlib.suppress(FileNotFoundError), os.scandir(path) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(path)


def _remove_cgroup(path: str) -> None:
    """Children first; members are killed, and given time to go."""
    with contextlib.suppress(FileNotFoundError), os.scandir(path) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                _remove_cgroup(entry.path)
    deadline = time.monotonic() + _CGROUP_PATIENCE
    while True:
        kill_cgroup(path)
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def kill_cgroup(path: str) -> None:
    """SIGKILL to every member (cgroup.kill would do it at once, but came with Linux 5.14)."""
    for pid in read_text(f"{path}/cgroup.procs").split():
        if int(pid) not in (0, os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def mount(op: ops.Mount, batch: Batch) -> ops.Result:
    """A mount that is removed with its scope, unless the same kind of file system is already mounted there."""
    if not op.flags & (MS_REMOUNT | MS_BIND) and _mounted(op.target) == op.fstype:
        return ops.Done()
    try:
        do_mount(op.source, op.target, fstype=op.fstype, flags=op.flags, data=op.data)
    except OSError as error:
        if error.errno == EBUSY and _mounted(op.target) == op.fstype:
            return ops.Done()
        raise
    if not op.flags & MS_REMOUNT:
        entry = batch.own(-1, "mount", name=op.target)
        batch.undo(entry, lambda: umount(op.target), kind="mount", name=op.target)
    return ops.Done()


def _mounted(target: str) -> str:
    """The type of the file system mounted last at a path; "" for none."""
    path, found = os.path.realpath(target), ""
    for line in read_text("/proc/self/mounts").splitlines():
        _, place, fstype, *_ = line.split(" ")
        for escape, char in _MOUNT_ESCAPES.items():
            place = place.replace(escape, char)
        if place == path:
            found = fstype
    return found
