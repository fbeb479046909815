"""Lines of trace_pipe -> records.

Format: ``kernel/trace/trace_output.c`` (trace_print_context) and ``bpf_trace_printk`` in ``kernel/trace/bpf_trace.c``:
``  task-pid  [cpu] flags  time: bpf_trace_printk: message``; a task's name may hold spaces, dashes and brackets.
"""

from __future__ import annotations

import re

from pytest_ebpf.frozen import dataclass

__all__ = ["TraceLine", "parse_trace"]

_LINE = re.compile(
    r"\s*(?P<task>.{1,16}?)-(?P<pid>\d+)\s+(?:\([\s\d-]+\)\s+)?\[(?P<cpu>\d+)\]\s+(?P<flags>[^\s:]+)?\s*"
    r"(?P<time>\d+\.\d+):\s(?:(?P<source>[\w.]+):\s)?(?P<message>.*)"
)


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One line. ``time`` in seconds of the kernel's trace clock; ``source`` is "bpf_trace_printk" for bpf_printk()."""

    message: str
    task: str = ""
    pid: int = 0
    cpu: int = 0
    time: float = 0.0
    source: str = ""


def parse_trace(text: str) -> tuple[TraceLine, ...]:
    """All lines that are not empty; a line of another form becomes the message of a record."""
    return tuple(_parse_line(line) for line in text.splitlines() if line.strip())


def _parse_line(line: str) -> TraceLine:
    found = _LINE.match(line)
    if found is None:
        return TraceLine(line.strip())
    return TraceLine(
        message=found["message"],
        task=found["task"].strip(),
        pid=int(found["pid"]),
        cpu=int(found["cpu"]),
        time=float(found["time"]),
        source=found["source"] or "",
    )
