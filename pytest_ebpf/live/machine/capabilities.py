"""The names of capabilities (include/uapi/linux/capability.h, Linux 6.18)."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from pytest_ebpf.errors import BpfUsageError

__all__ = ["CAPABILITIES", "capability_bits"]

# In the order of their numbers. The last three came with Linux 5.8 (perfmon, bpf) and 5.9 (checkpoint_restore).
_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct "
    "sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control "
    "setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
CAPABILITIES: tuple[str, ...] = tuple(_NAMES.split())


def capability_bits(names: Iterable[str]) -> int:
    """A bit for each: "CAP_NET_ADMIN" and "net_admin" are the same. ``BpfUsageError`` names the nearest that there
    is."""
    if isinstance(names, str):
        raise BpfUsageError(f"capabilities= is a list of names, not {names!r}")
    bits = 0
    for name in names:
        plain = str(name).lower().removeprefix("cap_")
        if plain not in CAPABILITIES:
            close = get_close_matches(plain, CAPABILITIES, n=2)
            meant = " or ".join(f"CAP_{one.upper()}" for one in close)
            raise BpfUsageError(f"there is no capability {name!r}", hint=f"Did you mean {meant}?" if meant else "")
        bits |= 1 << CAPABILITIES.index(plain)
    return bits
