"""``pytest-ebpf hooks`` of the running kernel, whose types are megabytes."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result

from pytest_ebpf.cli.hooks import hooks


def run(*words: str) -> Result:
    return CliRunner().invoke(hooks, words)


def test_the_running_kernel() -> None:
    """The functions are as old as BPF LSM and the tracepoint is older; kernels differ in the rest."""
    opened = run("lsm", "file_open")
    assert opened.exit_code == 0
    assert 'SEC("lsm/file_open")\n    int BPF_PROG(file_open_hook, struct file *file)' in opened.output
    (seen,) = json.loads(run("tracepoint", "sched:sched_switch", "--json").output)
    assert {"field": "char prev_comm[16]", "offset": 8, "size": 16} in seen["record"]
    assert "struct task_struct *prev" in seen["arguments"]


def test_what_is_not_there_is_status_1_with_near_names() -> None:
    wrong = run("kprobe", "vfs_raed")
    assert wrong.exit_code == 1
    assert "not there: did you mean vfs_read" in wrong.output
    assert "sched:sched_switch" in run("tracepoint", "sched:sched_swich").output
    assert "sched:sched_switch" in run("tracepoint", "sched_switch").output
