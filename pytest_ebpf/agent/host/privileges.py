"""Who a command runs as: user, groups, capabilities."""

from __future__ import annotations

from pytest_ebpf.agent.base.handles import Refused
from pytest_ebpf.agent.base.syscalls import capset, prctl
from pytest_ebpf.agent.base.sysfs import read_text
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.uapi.numbers import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_GET_SECUREBITS,
    PR_SET_SECUREBITS,
    SECBIT_NO_SETUID_FIXUP,
)

__all__ = ["find_user", "limit_capabilities"]


def find_user(user: str) -> tuple[int, int]:
    """uid and gid of a user by name or number; a number without a user is also the group."""
    import pwd

    if user.isdecimal():
        try:
            return int(user), pwd.getpwuid(int(user)).pw_gid
        except KeyError:
            return int(user), int(user)
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        meant = did_you_mean(user, (one.pw_name for one in pwd.getpwall()), most=2, otherwise="give a number")
        raise Refused(f"there is no user {user!r} on this machine; {meant}") from None
    return found.pw_uid, found.pw_gid


def limit_capabilities(wanted: int, *, uid: int) -> None:
    """Let what this thread starts as user ``uid`` have the capabilities ``wanted`` (a bit for each) and no others. Root
    gets them from the bounding set; another user from the ambient set, which has to survive the change of user
    (capabilities(7))."""
    last = int(read_text("/proc/sys/kernel/cap_last_cap", default="40"))
    permitted, effective = _own("CapPrm"), _own("CapEff")
    if wanted >> last + 1:
        raise Refused(f"this kernel has no capability number {wanted.bit_length() - 1}; its last is {last}")
    if missing := wanted & ~permitted:
        raise Refused(f"this process lacks capability number {missing.bit_length() - 1} itself")
    numbers = [number for number in range(last + 1) if wanted >> number & 1]
    for number in range(last + 1):
        if number not in numbers:
            prctl(PR_CAPBSET_DROP, number)
    capset(effective=effective, permitted=permitted, inheritable=wanted)
    if uid and numbers:
        prctl(PR_SET_SECUREBITS, prctl(PR_GET_SECUREBITS, 0) | SECBIT_NO_SETUID_FIXUP)
        for number in numbers:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, more=number)


def _own(name: str) -> int:
    """A capability set of this thread."""
    for line in read_text("/proc/thread-self/status").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1], 16)
    return 0
