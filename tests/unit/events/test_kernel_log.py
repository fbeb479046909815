"""Warnings of the kernel (issue 14, A3): each kind by its first line, as kernels from 5.10 to 7.3 print them."""

from __future__ import annotations

import pytest

from pytest_ebpf.events.kernel_log import KERN, find_splats

USER = 1

FIRST_LINES = [
    "WARNING: CPU: 0 PID: 312 at net/core/dev.c:5042 __netif_receive_skb_core+0x9a1/0x1010",
    "WARNING: net/core/dev.c:5042 at __netif_receive_skb_core+0x9a1/0x1010, CPU#0: python3/312",
    "WARNING: possible circular locking dependency detected",
    "WARNING: suspicious RCU usage",
    "WARNING: inconsistent lock state",
    "BUG: KASAN: slab-out-of-bounds in bpf_prog_test_run_xdp+0x1/0x2",
    "BUG: KFENCE: use-after-free read in x+0x1/0x2",
    "BUG: scheduling while atomic: python3/312/0x00000002",
    "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:283",
    "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [python3:312]",
    "BUG: soft lockup - CPU#0 stuck for 22s! [python3:312]",
    "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 41s!",
    "BUG kmalloc-64 (Not tainted): Poison overwritten",
    "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
    "kernel BUG at lib/list_debug.c:47!",
    "UBSAN: array-index-out-of-bounds in kernel/bpf/core.c:1992:3",
    "Oops: 0002 [#1] SMP NOPTI",
    "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP",
    "INFO: task python3:312 blocked for more than 120 seconds.",
    "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
    "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 0-... } 21 jiffies s: 53 root: 0x1/.",
    "INFO: rcu_tasks detected stalls on tasks:",
    "INFO: trying to register non-static key.",
    "refcount_t: underflow; use-after-free.",
    "refcount_t: addition on 0; use-after-free.",
]

HARMLESS = [
    "bpf_testmod: loading out-of-tree module taints kernel.",
    "hrtimer: interrupt took 5021873 ns",
    "perf: interrupt took too long (2501 > 2500), lowering kernel.perf_event_max_sample_rate to 79750",
    "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.2 msecs",
    "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable",
    "IPv6: ADDRCONF(NETDEV_CHANGE): veth0: link becomes ready",
    "python3[312]: segfault at 0 ip 00007f sp 00007f error 4 in libc.so.6",
    "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible via Spectre v2 BHB attacks!",
    "workqueue: bpf_map_free_deferred hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
    "rcu: \tHierarchical SRCU implementation.",
]


def log(*texts: str, start: float = 10.0, step: float = 0.001) -> list[str]:
    return [f"[{start + number * step:12.6f}] {text}" for number, text in enumerate(texts)]


@pytest.mark.parametrize("first", FIRST_LINES)
def test_a3_each_kind_of_warning_is_seen(first: str) -> None:
    lines = log("before", first, "Modules linked in: veth", "Call Trace:", " x+0x1/0x2")
    (splat,) = find_splats(lines, facilities=[KERN] * len(lines))
    assert (splat.title, splat.lines) == (first, tuple(lines[1:]))


@pytest.mark.parametrize("line", HARMLESS)
def test_a3_other_lines_are_no_warnings(line: str) -> None:
    assert find_splats(log(line), facilities=[KERN]) == []


def test_a3_only_what_the_kernel_itself_says_counts() -> None:
    lines = log("Kernel panic - not syncing: by a test", "BUG: written to /dev/kmsg", "WARNING: suspicious RCU usage")
    assert [splat.title for splat in find_splats(lines, facilities=[USER, USER, KERN])] == [
        "WARNING: suspicious RCU usage"
    ]


def test_a3_a_warning_is_whole_and_two_are_two() -> None:
    cut = "------------[ cut here ]------------"
    one = [cut, "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2", "Call Trace:", "---[ end trace 0000000000000000 ]---"]
    lines = log("before", *one, "between", cut, "WARNING: CPU: 0 PID: 1 at b.c:2 g+0x1/0x2") + log("late", start=20.0)
    first, second = find_splats(lines, facilities=[KERN] * len(lines))
    assert first.lines == tuple(lines[1:5])
    assert second.lines == tuple(lines[6:8])
