"""Advice that follows from the instruction and the source line shown, where the message alone is not enough."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pytest_ebpf.frozen import replace
from pytest_ebpf.helper_history import HELPER_HISTORY
from pytest_ebpf.verifier.explain.advice_bounds import BOUNDS_ADVICE
from pytest_ebpf.verifier.explain.advice_pointers import POINTER_ADVICE
from pytest_ebpf.verifier.explain.fault import Fault
from pytest_ebpf.verifier.explain.register_text import describe
from pytest_ebpf.verifier.log.state import Register
from pytest_ebpf.verifier.rejection.classify import Rejection

__all__ = ["advice_for"]

_ATOMIC = re.compile(r"lock \*|.*\b(?:atomic|xchg|cmpxchg)|.*(?:load_acquire|store_release)")
_SECTION = re.compile(r" in (?P<what>rcu_read_lock|preempt\S*|IRQ\S*|irq\S*|\S*lock\S*)\s?\S* (?:region|section)")
# Helpers of old kernels, and the ones that replaced them for all types of programs in 5.5.
_PROBE_READ = re.compile(r"bpf_probe_read(_str)?$")


def advice_for(fault: Fault) -> Rejection:
    """The rejection with what people do about it; the rule's own advice where nothing more is known."""
    rejection = fault.rejection
    if rejection.class_id == "unknown-func" and rejection.rule_id != "helper-locked":
        return replace(rejection, advice=_helper(fault))
    make = _ADVICE.get(rejection.rule_id)
    advice = make(fault) if make is not None else ""
    return _with_bounds(replace(rejection, advice=advice or rejection.advice), fault.registers)


def _with_bounds(rejection: Rejection, registers: Sequence[Register]) -> Rejection:
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


def _misaligned(fault: Fault) -> str:
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


def _map_of_helper(fault: Fault) -> str:
    if "prog array" in fault.message or "tail_call" in fault.message:
        return "bpf_tail_call() takes a map of the type BPF_MAP_TYPE_PROG_ARRAY: pass the prog array, not another map."
    return ""


def _sleeping(fault: Fault) -> str:
    section = _SECTION.search(fault.message)
    if section is None:
        return ""
    what = section["what"]
    leave = "bpf_rcu_read_unlock()" if what == "rcu_read_lock" else "the call that ends the section"
    return (
        f"A section ({what}) is open here, perhaps in the caller: make the call outside of it, before it is entered or "
        f"after {leave}. It may be opened again afterwards."
    )


def _helper(fault: Fault) -> str:
    rejection = fault.rejection
    name = rejection.field("func") or rejection.field("func2")
    if found := _PROBE_READ.match(name):
        better = f"bpf_probe_read_kernel{found[1] or ''}()"
        return (
            f"{name}() is for tracing programs only. Call {better}, which later kernels (5.5 and later) have for more "
            "types of programs, or read the field directly where the pointer is trusted. A macro in the source, "
            "such as BPF_CORE_READ(), may call it: rebuild with headers of a newer libbpf. libbpf also puts it in the "
            "place of the newer one where the kernel refuses that: under lockdown, or without CAP_PERFMON."
        )
    number = rejection.field("id")
    if number.isdigit() and 0 < int(number) <= len(HELPER_HISTORY):
        name = tuple(HELPER_HISTORY)[int(number) - 1]
    if name not in HELPER_HISTORY or rejection.kind != "feature-missing":
        return rejection.advice
    since, _commit = HELPER_HISTORY[name]
    return f"{name}() exists since Linux {since}: use a newer kernel, or a fallback. {rejection.advice}"


_ADVICE: dict[str, Callable[[Fault], str]] = {
    "misaligned": _misaligned,
    "map-helper": _map_of_helper,
    "may-sleep": _sleeping,
    **BOUNDS_ADVICE,
    **POINTER_ADVICE,
}
