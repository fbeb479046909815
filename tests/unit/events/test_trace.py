"""Lines of trace_pipe, as kernels print them, and matching of records."""

from __future__ import annotations

import pytest

from pytest_ebpf.events.match import matches
from pytest_ebpf.events.trace import TraceLine, parse_trace

LINES = [
    (
        "            bash-1234    [001] d..21  5671.234567: bpf_trace_printk: hello 42",
        TraceLine("hello 42", "bash", 1234, 1, 5671.234567, "bpf_trace_printk"),
    ),
    (  # Linux 5.10
        "           <...>-99      [000] ....   12.000001: bpf_trace_printk: a: b",
        TraceLine("a: b", "<...>", 99, 0, 12.000001, "bpf_trace_printk"),
    ),
    (  # a task name with a dash, a space and brackets; the record-tgid option
        "  my-t [x] y-77      (     70) [003] dN.1.    1.5: bpf_trace_printk: x",
        TraceLine("x", "my-t [x] y", 77, 3, 1.5, "bpf_trace_printk"),
    ),
    ("CPU:1 [LOST 5 EVENTS]", TraceLine("CPU:1 [LOST 5 EVENTS]")),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_line(line: str, expected: TraceLine) -> None:
    assert parse_trace(line + "\n\n") == (expected,)


@pytest.mark.parametrize(
    ("record", "wanted", "answer"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2}}, True),
        ({"a": [1, {"x": 2, "z": 3}]}, {"a": [1, {"x": 2}]}, True),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"pid": 7}, {"pid": lambda pid: pid > 6}, True),
        (5, 5, True),
        (5, {"a": 5}, False),
        ({}, {}, True),
    ],
)
def test_matches(record: object, wanted: object, answer: bool) -> None:
    assert matches(record, wanted) is answer
