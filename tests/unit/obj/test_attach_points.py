"""What sections say about the place of their programs, in libbpf's notations."""

from __future__ import annotations

import pytest

from pytest_ebpf.obj.attach_points import AttachPoint, attach_point
from pytest_ebpf.obj.object import ProgramDef
from pytest_ebpf.obj.sections import parse_section


@pytest.mark.parametrize(
    ("section", "point"),
    [
        ("kprobe/do_exit", AttachPoint("kernel function", "do_exit")),
        ("?kretprobe/do_exit", AttachPoint("kernel function", "do_exit", at_return=True)),
        ("kprobe/do_exit+0x10", AttachPoint("kernel function", "do_exit", 16)),
        ("kprobe/no such thing", None),
        ("kprobe.multi/tcp_*", AttachPoint("kernel functions", "tcp_*")),
        ("kretprobe.multi/tcp_*", AttachPoint("kernel functions", "tcp_*", at_return=True)),
        ("kprobe.session/tcp_*", AttachPoint("kernel functions", "tcp_*", session=True)),
        ("ksyscall/openat", AttachPoint("system call", "openat")),
        ("kretsyscall/openat", AttachPoint("system call", "openat", at_return=True)),
        ("uprobe//bin/sh:main", AttachPoint("user function", "main", binary="/bin/sh")),
        ("uprobe.s/libc.so.6:malloc+4", AttachPoint("user function", "malloc", 4, "libc.so.6")),
        ("uretprobe/libc.so.6:0x1234", AttachPoint("user function", "", 0x1234, "libc.so.6", at_return=True)),
        ("uprobe/libc.so.6", None),
        ("uprobe.multi.s//bin/x:f_*", AttachPoint("user functions", "f_*", binary="/bin/x")),
        ("uprobe.session//bin/x:f_*", AttachPoint("user functions", "f_*", binary="/bin/x", session=True)),
        ("usdt//usr/lib/libc.so.6:libc:setjmp", AttachPoint("usdt", "setjmp", 0, "/usr/lib/libc.so.6", "libc")),
        ("usdt.s/c:/x:libc:setjmp", AttachPoint("usdt", "setjmp", 0, "c:/x", "libc")),
        ("usdt/setjmp", None),
        ("tp/sched/sched_switch", AttachPoint("tracepoint", "sched_switch", group="sched")),
        ("tracepoint.s/syscalls/sys_enter", AttachPoint("tracepoint", "sys_enter", group="syscalls")),
        ("raw_tp.w/nbd", AttachPoint("raw tracepoint", "nbd")),
        ("tp_btf/sched_switch", AttachPoint("raw tracepoint", "sched_switch")),
        ("fentry/nf_conntrack:nf_ct_put", AttachPoint("kernel function", "nf_ct_put", group="nf_conntrack")),
        ("fexit.s/do_unlinkat", AttachPoint("kernel function", "do_unlinkat", at_return=True)),
        ("fsession/do_unlinkat", AttachPoint("kernel function", "do_unlinkat", session=True)),
        ("fentry.multi/tcp_*", AttachPoint("kernel functions", "tcp_*")),
        ("iter.s/task", AttachPoint("iterator", "task")),
        ("lsm_cgroup/socket_bind", AttachPoint("lsm hook", "socket_bind")),
        ("freplace/f", AttachPoint("bpf function", "f")),
        ("struct_ops/init", AttachPoint("struct_ops member", "init")),
        ("xdp", None),
        ("kprobe", None),
        ("cgroup/connect4", None),
    ],
)
def test_the_rest_of_the_section(section: str, point: AttachPoint | None) -> None:
    spec = parse_section(section)
    assert spec is not None
    assert attach_point(spec) == point
    assert ProgramDef("p", section, spec, b"").attach_point == point


def test_a_program_of_no_known_section() -> None:
    assert ProgramDef("p", "mystery", None, b"").attach_point is None
