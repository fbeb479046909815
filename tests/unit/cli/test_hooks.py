"""``pytest-ebpf hooks``: arguments of hooks from BTF, records of tracepoints from the running kernel."""

from __future__ import annotations

import pytest

from pytest_ebpf.btf.hooks import Hook, find_hook, hook_names
from pytest_ebpf.btf.parse import Btf, parse_btf
from support.btf_writer import BtfWriter


@pytest.fixture
def kernel() -> Btf:
    w = BtfWriter()
    s32, u32 = w.int("int", 4, signed=True), w.int("unsigned int", 4)
    name = w.ptr(w.fwd("filename"))
    w.func("do_unlinkat", w.func_proto(s32, [("dfd", s32), ("name", name)]))
    w.func("bpf_lsm_file_open", w.func_proto(s32, [("file", w.ptr(w.fwd("file")))]))
    w.func("__traceiter_sched_switch", w.func_proto(s32, [("__data", w.ptr(0)), ("prev_state", u32)]))
    w.func("printk", w.func_proto(s32, [("fmt", w.ptr(0)), ("", 0)]))
    return parse_btf(w.build())


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("fentry", "do_unlinkat", Hook("do_unlinkat", ("int dfd", "struct filename *name"), "int")),
        ("kprobe", "printk", Hook("printk", ("void *fmt", "..."), "int")),
        ("lsm", "file_open", Hook("file_open", ("struct file *file",), "int")),
        ("tracepoint", "sched:sched_switch", Hook("sched:sched_switch", ("unsigned int prev_state",))),
        ("fentry", "file_open", None),
    ],
)
def test_arguments_are_those_of_the_function(kernel: Btf, kind: str, name: str, expected: Hook | None) -> None:
    assert find_hook(kernel, kind, name=name) == expected


def test_names_of_a_kind(kernel: Btf) -> None:
    assert hook_names(kernel, "lsm") == {"file_open"}
    assert hook_names(kernel, "tracepoint") == {"sched_switch"}
