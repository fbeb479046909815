"""Why a kernel died, from what it wrote; which of its lines to show."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.vm.guest.console import console_tail, excerpt, find_complaint, find_death, find_last_words, last_line

SYSRQ = """\
[    5.278000] sysrq: Trigger a crash
[    5.278100] Kernel panic - not syncing: sysrq triggered crash
[    5.278200] CPU: 0 PID: 104 Comm: python3.11 Not tainted 6.1.0-50-amd64 #1  Debian 6.1.176-1
[    5.280198] Kernel Offset: disabled
"""
OOPS = """\
[   12.000001] BUG: kernel NULL pointer dereference, address: 08
[   12.000002] #PF: supervisor read access in kernel mode
[   12.000003] Oops: 0000 [#1] PREEMPT SMP PTI
[   12.000009] Kernel panic - not syncing: Fatal exception in interrupt
"""
DOUBLE_FAULT = """\
[   31.5] traps: PANIC: double fault, error_code: 0x0
[   31.5] Kernel panic - not syncing: Fatal exception in interrupt
"""
LOCKUP = """\
[   70.0] watchdog: BUG: soft lockup - CPU#0 stuck for 63s! [python3:104]
[   70.1] Kernel panic - not syncing: softlockup: hung tasks
"""


@pytest.mark.parametrize(
    ("console", "why"),
    [
        (SYSRQ, "kernel panic: sysrq triggered crash"),
        (
            OOPS,
            "kernel panic: Fatal exception in interrupt (BUG: kernel NULL pointer dereference, address: 08)",
        ),
        (DOUBLE_FAULT, "kernel panic: Fatal exception in interrupt (traps: PANIC: double fault, error_code: 0x0)"),
        (LOCKUP, "kernel panic: softlockup: hung tasks (BUG: soft lockup - CPU#0 stuck for 63s! [python3:104])"),
        ("[    1.0] Linux version 6.1\n", ""),
        ("", ""),
    ],
    ids=["sysrq", "null pointer", "double fault", "lock-up", "alive", "silent"],
)
def test_the_reason_is_the_panic_and_what_led_there(console: str, why: str) -> None:
    assert find_death(console) == why


@pytest.mark.parametrize(
    "after", ["pytest-ebpf: the agent ended", "[    9.1] sysrq: Resetting", "[ 9.1] reboot: Power down"]
)
def test_a3_a_kernel_that_speaks_later_did_not_die_of_a_text(after: str) -> None:
    assert find_death(f"[    3.1] Kernel panic - not syncing: by a test\n{after}\n") == ""


def test_a_warning_is_no_death() -> None:
    assert find_death("[ 1.0] WARNING: CPU: 0 PID: 1 at kernel/bpf/verifier.c:1 x+0x1/0x2\n[ 1.1] Call Trace:\n") == ""


def test_the_tail_is_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "console"
    path.write_bytes(b"".join(b"[    1.%06d] line %d\r\n" % (i, i) for i in range(100)))
    assert console_tail(path, lines=2) == "[    1.000098] line 98\n[    1.000099] line 99"
    assert last_line(path) == "line 99"


def test_no_console_is_an_empty_one(tmp_path: Path) -> None:
    assert console_tail(tmp_path / "none") == ""
    assert last_line(tmp_path / "none") == ""


def test_of_a_death_its_beginning_is_shown() -> None:
    console = [f"[ 1.0] boot {i}" for i in range(50)] + OOPS.splitlines() + [f"[ 12.1] trace {i}" for i in range(80)]
    shown = excerpt(console, lines=30)
    assert len(shown) == 30
    assert shown[0] == "[ 1.0] boot 46"
    assert OOPS.splitlines()[0] in shown
    assert "[…]" in shown
    assert shown[-1] == "[ 12.1] trace 79"


def test_a_short_death_is_shown_whole() -> None:
    console = ["[ 1.0] boot"] * 50 + SYSRQ.splitlines()
    assert excerpt(console, lines=40) == ["[ 1.0] boot"] * 3 + SYSRQ.splitlines()


def test_qemus_complaint_is_its_first_error() -> None:
    text = "qemu-system-x86_64: warning: host doesn't support it\nqemu-system-x86_64: error: failed to set MSR 0x10a\n"
    assert find_complaint(text) == "failed to set MSR 0x10a"
    assert find_complaint("qemu-system-x86_64: warning: host doesn't support it\n") == ""


def test_last_words_of_process_1() -> None:
    assert find_last_words("[ 1.0] boot\npytest-ebpf: process 1: OSError: no port\n[ 1.1] reboot\n") == (
        "process 1: OSError: no port"
    )
    assert find_last_words("[ 1.0] boot\n") == ""


def test_last_words_after_memory_ran_out() -> None:
    console = (
        "[  101.2] Out of memory: Killed process 97 (python3) total-vm:91000kB, anon-rss:60000kB\n"
        "pytest-ebpf: the agent ended with wait status 0x9\n"
    )
    assert find_last_words(console) == "the agent ended with wait status 0x9, it ran out of memory"
    assert find_last_words("[  101.2] Memory cgroup stats\n") == ""
