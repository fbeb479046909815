"""Why the kernel said EPERM: capabilities, the sysctl, lockdown, the memory limit, or a policy of the machine."""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import BtfLoad, LinkCreate, MapCreate, ProgLoad
from pytest_ebpf.features.skip_rule import is_older
from pytest_ebpf.live.hints.base import Case, Hint, this_kernel
from pytest_ebpf.uapi.sections import PROG_TYPES

__all__ = ["RIGHTS"]

_CHARGED = (BtfLoad, MapCreate, ProgLoad)
# kernel/bpf/syscall.c: is_perfmon_prog_type(), is_net_admin_prog_type()
_PERFMON = frozenset(
    ("KPROBE", "TRACEPOINT", "PERF_EVENT", "RAW_TRACEPOINT", "RAW_TRACEPOINT_WRITABLE", "TRACING", "LSM", "EXT")
)
_UNPRIVILEGED = frozenset(("SOCKET_FILTER", "CGROUP_SKB"))


def _no_capability(case: Case) -> str:
    if case.described.cap_bpf:
        return ""
    sysctl = case.described.unprivileged_bpf_disabled
    if sysctl:
        return (
            f"This process has neither CAP_BPF nor CAP_SYS_ADMIN, and kernel.unprivileged_bpf_disabled is {sysctl}: "
            "run as root, let --bpf-kernels=host use sudo, or test in a guest (--bpf-kernels=6.1), which needs no root."
        )
    return (
        "This process has neither CAP_BPF nor CAP_SYS_ADMIN: without them a process may only load socket and cgroup "
        "filters. Run as root, or test in a guest (--bpf-kernels=6.1), which needs no root."
    )


def _lockdown(case: Case) -> str:
    """security/lockdown: LOCKDOWN_BPF_WRITE_USER from "integrity" on, LOCKDOWN_BPF_READ_KERNEL at confidentiality."""
    level = case.described.lockdown
    if level not in ("integrity", "confidentiality"):
        return ""
    what = "reading kernel memory" if level == "confidentiality" else "writing user memory"
    return (
        f"Kernel lockdown is at {level!r}, which forbids programs {what}, whoever asks. "
        "Boot without lockdown (it comes with secure boot), or test in a guest."
    )


def _memlock(case: Case) -> str:
    """Linux 5.11 (80ee81e0403c and others) charges cgroups instead of RLIMIT_MEMLOCK."""
    if not isinstance(case.op, _CHARGED) or not is_older(case.described.release, "5.11"):
        return ""
    return (
        f"Before Linux 5.11 maps and programs count against RLIMIT_MEMLOCK, and {this_kernel(case)}: the limit of "
        "this process is used up and it may not raise it. Raise it (ulimit -l unlimited), or load less at once."
    )


def _half_capable(case: Case) -> str:
    if case.described.euid == 0 or not isinstance(case.op, ProgLoad):
        return ""
    name = PROG_TYPES[case.op.type] if case.op.type < len(PROG_TYPES) else ""
    if name in _UNPRIVILEGED:
        return ""
    more = "CAP_PERFMON" if name in _PERFMON else "CAP_NET_ADMIN"
    return f"This process has CAP_BPF; to load a {name} program it needs {more} as well (or CAP_SYS_ADMIN)."


def _policy(case: Case) -> str:
    return (
        "This process has the capabilities, so a policy of this machine forbids it: a security module (SELinux, the "
        "BPF LSM), the seccomp filter of a container, or a hardened kernel. A guest (--bpf-kernels=6.1) has none."
    )


def _cgroup(case: Case) -> str:
    """kernel/bpf/cgroup.c: hierarchy_allows_attach()."""
    if not isinstance(case.op, LinkCreate) or isinstance(case.op.target, int) or not case.described.cap_bpf:
        return ""
    return (
        "A program is attached to this cgroup, or to one above it, that allows no other beside it (without "
        "BPF_F_ALLOW_MULTI): detach it, or use a fresh group from bpf.cgroup()."
    )


_CALLS = ("MapCreate", "ProgLoad", "BtfLoad", "LinkCreate", "RawTracepointOpen", "ProgAttach")
_RULES = (_no_capability, _cgroup, _lockdown, _memlock, _half_capable, _policy)
RIGHTS: tuple[Hint, ...] = (
    *(Hint(op, (errno.EPERM,), rule) for op in _CALLS for rule in _RULES),
    Hint("PerfEventOpen", (errno.EPERM, errno.EACCES), _no_capability),
)
