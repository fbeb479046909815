"""Where a program wants to be attached, read out of the rest of its section name.

The notations are libbpf's (src/libbpf.c: attach_kprobe, attach_uprobe, attach_usdt and their like, v1.7).
"""

from __future__ import annotations

import re

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.sections import SectionSpec

__all__ = ["AttachPoint", "attach_point"]

_KERNEL = re.compile(r"(?P<name>[A-Za-z0-9_.]+)(?:\+(?P<offset>0x[0-9a-fA-F]+|\d+))?")
_USER = re.compile(r"(?P<binary>[^:]+):(?P<name>[^+\n]+?)(?:\+(?P<offset>0x[0-9a-fA-F]+|\d+))?")
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")
_EVENTS = {
    "tracepoint": "tracepoint",
    "tp": "tracepoint",
    "raw_tracepoint": "raw tracepoint",
    "raw_tp": "raw tracepoint",
    "tp_btf": "raw tracepoint",
    "iter": "iterator",
    "lsm": "lsm hook",
    "lsm_cgroup": "lsm hook",
    "freplace": "bpf function",
    "struct_ops": "struct_ops member",
}


@dataclass(frozen=True, slots=True)
class AttachPoint:
    """``kind``: "kernel function", "kernel functions" (``name`` is a pattern), "system call", "user function", "user
    functions", "usdt", "tracepoint" (``group`` is its category), "raw tracepoint", "iterator", "lsm hook",
    "bpf function" or "struct_ops member".

    ``offset``: bytes into the function, or into the file when ``name`` is "". ``binary``: path or library.
    ``group``: category of a tracepoint, provider of a USDT probe, kernel module of a function. ``at_return``: when the
    function returns; ``session``: at both ends.
    """

    kind: str
    name: str
    offset: int = 0
    binary: str = ""
    group: str = ""
    at_return: bool = False
    session: bool = False


def attach_point(spec: SectionSpec) -> AttachPoint | None:
    """None for a section that names no place, or not in a notation that anybody knows: the test then has to."""
    base = spec.prefix.removesuffix(".s").removesuffix(".w")
    stem, _, way = base.partition(".")
    if not spec.target:
        return None
    if stem in ("kprobe", "kretprobe"):
        return _kernel(spec.target, at_return=stem == "kretprobe", way=way)
    if stem in ("uprobe", "uretprobe"):
        return _user(spec.target, at_return=stem == "uretprobe", way=way)
    if stem in ("ksyscall", "kretsyscall"):
        return AttachPoint("system call", spec.target, at_return=stem == "kretsyscall")
    if stem in ("fentry", "fexit", "fmod_ret", "fsession"):
        module, _, name = spec.target.rpartition(":")
        return AttachPoint(
            "kernel functions" if way == "multi" else "kernel function",
            name,
            group=module,
            at_return=stem == "fexit",
            session=stem == "fsession",
        )
    if stem == "usdt":
        binary, provider, name = _split(spec.target)
        return AttachPoint("usdt", name, binary=binary, group=provider) if name else None
    if stem not in _EVENTS:
        return None
    group, _, name = spec.target.rpartition("/")
    return AttachPoint(_EVENTS[stem], name, group=group)


def _kernel(target: str, *, at_return: bool, way: str) -> AttachPoint | None:
    if way in ("multi", "session"):
        return AttachPoint("kernel functions", target, at_return=at_return, session=way == "session")
    found = _KERNEL.fullmatch(target)
    if found is None:
        return None
    return AttachPoint("kernel function", found["name"], int(found["offset"] or "0", 0), at_return=at_return)


def _user(target: str, *, at_return: bool, way: str) -> AttachPoint | None:
    found = _USER.fullmatch(target)
    if found is None:
        return None
    if way in ("multi", "session"):
        return AttachPoint(
            "user functions", found["name"], binary=found["binary"], at_return=at_return, session=way == "session"
        )
    name, offset = found["name"], found["offset"]
    if offset is None and _NUMBER.fullmatch(name):  # no function, a place in the file
        name, offset = "", name
    return AttachPoint("user function", name, int(offset or "0", 0), binary=found["binary"], at_return=at_return)


def _split(target: str) -> tuple[str, str, str]:
    """path:provider:name; the path may hold colons."""
    rest, _, name = target.rpartition(":")
    binary, _, provider = rest.rpartition(":")
    return (binary, provider, name) if binary and provider else ("", "", "")
