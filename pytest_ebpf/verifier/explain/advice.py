"""Advice that follows from the instruction and the source line shown, where the message alone is not enough."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_ebpf.verifier.explain.helper_versions import HELPER_VERSIONS
from pytest_ebpf.verifier.explain.register_text import describe
from pytest_ebpf.verifier.log.state import Register
from pytest_ebpf.verifier.log.trace import Instruction
from pytest_ebpf.verifier.log.values import ParsedLog
from pytest_ebpf.verifier.rejection.classify import Rejection

__all__ = ["advice_for", "with_bounds"]

_STORE = re.compile(r"(?:lock )?\*\(")
_NEAR = 20_000  # characters before the end of the log that are looked at
_ATOMIC = re.compile(r"lock \*|.*\b(?:atomic|xchg|cmpxchg)|.*(?:load_acquire|store_release)")
_LENGTH = re.compile(r"\(1f\) r(\d+) -= r\d+")
_SECTION = re.compile(r" in (?P<what>rcu_read_lock|preempt\S*|IRQ\S*|irq\S*|\S*lock\S*)\s?\S* (?:region|section)")
# Helpers of old kernels, and the ones that replaced them for all types of programs in 5.5.
_PROBE_READ = re.compile(r"bpf_probe_read(_str)?$")


@dataclass(frozen=True, slots=True)
class _Fault:
    """The message, the text of the instruction at fault ("" where it is not known), and the end of the log."""

    message: str
    insn: str
    log: str


def advice_for(rejection: Rejection, log: ParsedLog, *, insn: Instruction | None) -> str:
    """What people do about a rejection; the rule's own advice where nothing more is known. ``insn``: the "
    "instruction at
    fault."""
    text = insn.text if insn is not None else ""
    make = {
        "misaligned": _misaligned,
        "scalar-deref": _not_a_pointer,
        "map-helper": _map_of_helper,
        "stack-unset": _unset,
        "may-sleep": _sleeping,
        "packet-access": _packet,
    }.get(rejection.rule_id)
    if rejection.class_id == "unknown-func":
        return _helper(rejection)
    found = make(_Fault(rejection.message, text, log.text[-_NEAR:])) if make is not None else ""
    return found or rejection.advice


def with_bounds(rejection: Rejection, registers: Sequence[Register]) -> Rejection:
    """Of a value that the kernel calls unbounded, the bound that is missing, where the register's state shows it: with
    a negative minimum it is the lower one."""
    if rejection.rule_id not in ("index-unbounded", "size-unbounded"):
        return rejection
    name = rejection.field("reg")
    texts = [describe(one) for one in registers if one.name == name]
    if not any(re.search(r"(?<![\w-])-(?:0x)?[0-9a-f]+ to ", text) for text in texts):
        return rejection
    return replace(
        rejection,
        headline=f"{name} may be negative, which as an unsigned number is far too large",
        advice="The lower bound is missing: keep the value in an unsigned variable, or exclude negative values before "
        "the use (if (x < 0 || x > MAX) return), and use that variable itself.",
    )


def _misaligned(fault: _Fault) -> str:
    if "stack" in fault.message:
        return (
            "Stack accesses have to be aligned on every architecture. Align the variable "
            "(__attribute__((aligned(8)))), order its fields so that wide ones come first, or access it in "
            "smaller parts."
        )
    if _ATOMIC.match(fault.insn):
        return (
            "Atomic operations need natural alignment on every architecture: align the field (aligned(8) for 64 "
            "bits, "
            "no packed structure), at an offset that is a multiple of its size."
        )
    return ""


def _not_a_pointer(fault: _Fault) -> str:
    if not _STORE.match(fault.insn):
        return ""
    return (
        "The store goes through a number. Keep the original pointer in a variable of its own: arithmetic, casts to "
        "integers, partial copies and calls that release or move memory turn a pointer into a number. Memory of the "
        "kernel cannot be written by plain stores."
    )


def _map_of_helper(fault: _Fault) -> str:
    if "prog array" in fault.message or "tail_call" in fault.message:
        return "bpf_tail_call() takes a map of the type BPF_MAP_TYPE_PROG_ARRAY: pass the prog array, not another map."
    return ""


def _unset(fault: _Fault) -> str:
    at = re.search(r"off (?P<off>-?\d+)\+(?P<byte>\d+) size (?P<size>\d+)", fault.message)
    if at is None or "call" not in fault.insn:
        return ""
    return (
        f"Byte {at['byte']} of the {at['size']} passed was never written. If all fields are set, it is padding "
        "that the compiler added: clear the whole variable first (__builtin_memset(&v, 0, sizeof(v)), as = {} may "
        "leave padding out), or make the padding a field. Linux 6.4 and later accept it from privileged loaders."
    )


def _sleeping(fault: _Fault) -> str:
    section = _SECTION.search(fault.message)
    if section is None:
        return ""
    what = section["what"]
    leave = "bpf_rcu_read_unlock()" if what == "rcu_read_lock" else "the call that ends the section"
    return (
        f"A section ({what}) is open here, perhaps in the caller: make the call outside of it, before it is entered or "
        f"after {leave}. It may be opened again afterwards."
    )


def _packet(fault: _Fault) -> str:
    ends = set(re.findall(r"\bR(\d+)(?:_\w+)?=pkt_end", fault.log))
    if not any(found[1] in ends for found in _LENGTH.finditer(fault.log)):
        return ""
    return (
        "A length was compared (data_end - data), which proves nothing to the verifier: the subtraction makes a "
        "number. "
        "Compare pointers instead: if (data + off + size > data_end) return, with the same pointer that is read."
    )


def _helper(rejection: Rejection) -> str:
    name = rejection.field("func") or rejection.field("func2")
    if found := _PROBE_READ.match(name):
        better = f"bpf_probe_read_kernel{found[1] or ''}()"
        return (
            f"{name}() is for tracing programs only. Call {better}, which later kernels (5.5 and later) have for more "
            "types of programs, or read the field directly where the pointer is trusted. A macro in the source, "
            "such as "
            "BPF_CORE_READ(), may call it: rebuild with headers of a newer libbpf."
        )
    number = rejection.field("id")
    named = HELPER_VERSIONS.get(int(number)) if number.isdigit() else None
    known = named or next((row for row in HELPER_VERSIONS.values() if row[0] == name), None)
    if known is None or rejection.kind != "feature-missing":
        return rejection.advice
    return f"{known[0]}() exists since Linux {known[1]}: use a newer kernel, or a fallback. {rejection.advice}"
