"""What goes wrong in and around a guest, at which moments, and what has to be said of it (the campaign of issue 16).

Each case is one test of ci/fault_suite, which runs in a session with all others: a witness behind each shows that
nothing of it reached the next test. ``support/losses.py`` has those that need a run of their own: guests that are lost
while they boot and at the end of the session; ``support/cache_faults.py`` has what is wrong before a run begins.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CASES", "Case", "Expected", "MOMENTS"]

MOMENTS = ("idle", "in a call", "in a batch", "behind the last call", "teardown")
_FEW = ("in a call", "teardown")
_IN_CALL = ("in a call",)


@dataclass(frozen=True, slots=True)
class Expected:
    """``kind`` is ``bpf_kind`` of the failing phase, "" for a test that passes; ``words`` are a regular expression for
    its message. "infrastructure" is tried again, and passes then."""

    kind: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """``script`` runs in a shell of the guest, where ``{agent}`` is the agent's process; or ``host`` is a signal for
    QEMU. ``slow`` ones are left out of the short form."""

    name: str
    expected: Expected
    script: str = ""
    host: str = ""
    moments: tuple[str, ...] = _FEW
    slow: bool = False

    @property
    def ends_the_guest(self) -> bool:
        return self.expected.kind in ("panic", "hang", "failed", "infrastructure")


def _left(kind: str, script: str, *, name: str = "", words: str = "") -> Case:
    return Case(f"left: {name or kind}", Expected("leak", words or rf"{kind} '.*', left by a command"), script)


_PANIC = Expected("panic", "panic")
_LOST = Expected("failed", "was lost")
_INFRASTRUCTURE = Expected("infrastructure", "")

CASES: tuple[Case, ...] = (
    # The guest ends.
    Case("panic", _PANIC, "echo c >/proc/sysrq-trigger", moments=MOMENTS),
    Case("agent killed", _LOST, "kill -KILL {agent}", moments=MOMENTS),
    Case("agent ended", _LOST, "kill -TERM {agent}; sleep 1; kill -KILL {agent}", moments=_FEW),
    Case("agent stopped", Expected("hang", "no sign of life|stopped reading"), "kill -STOP {agent}", slow=True),
    Case("agent aborts", _LOST, "kill -ABRT {agent}", moments=_FEW),
    Case("process 1 ends", _PANIC, "kill -SEGV 1; kill -ABRT 1; echo c >/proc/sysrq-trigger", moments=_FEW),
    Case("power off", Expected("failed", "turned itself off|was lost"), "echo o >/proc/sysrq-trigger", moments=MOMENTS),
    Case("reset", Expected("failed", "turned itself off|was lost"), "echo b >/proc/sysrq-trigger", moments=MOMENTS),
    Case("QEMU killed", _INFRASTRUCTURE, host="KILL", moments=MOMENTS),
    Case("QEMU terminated", _INFRASTRUCTURE, host="TERM", moments=MOMENTS),
    Case("QEMU interrupted", _INFRASTRUCTURE, host="INT", moments=_FEW),
    Case("QEMU aborted", _INFRASTRUCTURE, host="ABRT", moments=_FEW),
    Case("QEMU stopped", Expected("hang", "no sign of life|stopped reading"), host="STOP", slow=True),
    # What only looks like an end, or takes all there is.
    Case("text of a panic", Expected(), 'echo "Kernel panic - not syncing: not at all" >/dev/kmsg', moments=MOMENTS),
    Case("text of a warning", Expected(), 'echo "WARNING: CPU: 0 PID: 1 at kernel/x.c:1" >/dev/kmsg', moments=MOMENTS),
    Case("text of an oops", Expected(), 'echo "BUG: unable to handle page fault" >/dev/kmsg', moments=_FEW),
    Case("full /tmp", Expected(), "head -c 3G /dev/zero >/tmp/full 2>/dev/null; rm /tmp/full", moments=_IN_CALL),
    Case("full /run", Expected(), "head -c 3G /dev/zero >/run/full 2>/dev/null; rm /run/full", moments=_IN_CALL),
    Case("full /dev/shm", Expected(), "head -c 3G /dev/zero >/dev/shm/full 2>/dev/null; rm /dev/shm/full",
         moments=_IN_CALL),
    Case("memory runs out", Expected(), "tail /dev/zero 2>/dev/null || true", moments=_IN_CALL, slow=True),
    Case("many processes", Expected(), "for i in $(seq 200); do sleep 30 & done; true", moments=_IN_CALL),
    Case("much output", Expected(), "head -c 20M /dev/urandom", moments=_IN_CALL),
    Case("a deaf daemon", Expected(), "trap '' TERM HUP INT; setsid sh -c 'trap \"\" TERM HUP; sleep 100' & true"),
    Case("an interrupt of the agent", Expected(), "true; kill -WINCH {agent}", moments=_FEW),
    Case("the port is read", Expected(), "timeout 1 head -c 1 /dev/vport0p1 || true", moments=_IN_CALL, slow=True),
    # What a test leaves behind.
    _left("sysctl", "echo 55 >/proc/sys/vm/swappiness"),
    _left("sysctl", "echo 1 >/proc/sys/net/ipv4/ip_forward", name="a sysctl of the network"),
    _left("module", "modprobe nf_conntrack"),
    _left("qdisc", "tc qdisc add dev lo clsact"),
    _left("qdisc", "tc qdisc add dev lo clsact; tc filter add dev lo ingress matchall action drop", name="tc filter"),
    _left("xdp", "ip link set dev lo xdpgeneric obj xdp_firewall.bpf.o sec xdp"),
    _left("interface", "ip link add left0 type veth peer name left1"),
    _left("netns", "ip netns add left"),
    _left("mount", "mkdir -p /tmp/left; mount -t tmpfs none /tmp/left; mkdir /tmp/left/in;"
          " mount -t tmpfs none /tmp/left/in"),
    _left("cgroup", "mkdir -p /sys/fs/cgroup/left/below"),
    _left("cgroup", "mkdir /sys/fs/cgroup/busy; setsid sh -c 'echo 0 >/sys/fs/cgroup/busy/cgroup.procs; sleep 100' & "
          "sleep 0.3", name="a cgroup in use"),
    _left("host name", "hostname another"),
    _left("clock", "date -s @1000000000 >/dev/null", name="clock, back"),
    _left("clock", "date -s @4000000000 >/dev/null", name="clock, forward"),
    Case("left: what cannot be undone", Expected("leak", "could not be removed.*(?s:.*)fresh guest"),
         "echo 1 >/proc/sys/kernel/kexec_load_disabled", moments=_IN_CALL),
)  # fmt: skip
