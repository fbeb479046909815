"""Advice about values that are no pointers, or not the ones that are needed."""

from __future__ import annotations

import re

from pytest_ebpf.verifier.explain.fault import Fault, number

__all__ = ["POINTER_ADVICE"]

_STORE = re.compile(r"(?:lock )?\*\(")
_FIELDS = re.compile(r"[A-Za-z_]\w*(?:(?:->|\.)[A-Za-z_]\w*)+")
_MAP_STRUCT = re.compile(r"\bbpf_(?:map|array|htab|[a-z]+_map)\b")
_CONTEXT = re.compile(r"(?:ctx|skb|args|regs|msg|skops|xdp|md)->")
_RELEASES = {
    "ringbuf_reserve": "bpf_ringbuf_submit() or bpf_ringbuf_discard()",
    "sk_lookup": "bpf_sk_release()",
    "skc_lookup": "bpf_sk_release()",
    "task_acquire": "bpf_task_release()",
    "task_from_": "bpf_task_release()",
    "cgroup_acquire": "bpf_cgroup_release()",
    "cgroup_from_": "bpf_cgroup_release()",
    "cpumask_create": "bpf_cpumask_release()",
    "cpumask_acquire": "bpf_cpumask_release()",
    "obj_new": "bpf_obj_drop()",
    "kptr_xchg": "the release function of its type",
}
# Helpers that give an address as a number.
_NUMBERS = re.compile(r"call bpf_get_current_task#")


def _not_a_pointer(fault: Fault) -> str:
    if _STORE.match(fault.insn):
        return (
            "Keep the original pointer in a variable of its own. The store goes through a number: arithmetic, casts to "
            "integers, partial copies and calls that release or move memory make one of a pointer. Memory of the "
            "kernel cannot be written by plain stores."
        )
    if _is_null(fault):
        return (
            f"Compare the pointer with NULL before this line: on this path {fault.name} is 0, from an initialisation "
            "or a lookup that found nothing, and it is used all the same. Where the source has the check, the compiler "
            "merged two paths: return early, or keep the uses in the branch that has the pointer."
        )
    register = fault.register
    lost = register.attribute("lost") if register is not None else ""
    if lost:
        what = "Load data and data_end again, and check again" if "packet" in lost else "Do not use it afterwards"
        return f"{what}, or keep the original: {fault.name} was {lost}, and a call or arithmetic made a number of it."
    return _kernel_memory(fault)


def _is_null(fault: Fault) -> bool:
    """Whether what is used as a pointer is the constant 0, also one that was kept on the stack."""
    register = fault.register
    if register is not None and register.constant is not None:
        return register.constant == 0
    last = next((cause.insn.text for cause in reversed(fault.causes) if cause.kind == "update"), "")
    slot = re.search(r" = \*\(u64 \*\)\(r10 (-\d+)\)$", last)
    states = re.findall(rf"\bfp{slot[1]}(?:_\w+)?=(\S+)", fault.log) if slot is not None else []
    return bool(states) and states[-1] in ("00000000", "0", "P0", "inv0", "invP0")


def _kept_record(fault: Fault) -> str:
    if fault.rejection.field("what") not in ("scalar", "inv", "map_value"):
        return ""
    return (
        "Submit or discard the record in the same run of the program that reserved it: a pointer to a record that was "
        "stored in a map comes back as a number. To collect over several events, keep the data in the map itself and "
        "reserve and fill a record at the end."
    )


def _kernel_memory(fault: Fault) -> str:
    """A value that was read from somewhere is an address that the verifier knows nothing about."""
    made = [cause for cause in fault.causes if cause.kind == "update"]
    if any(_is_context(cause.insn.text, fault.log) for cause in made):
        return (
            "Read the field once into a local variable, before the branches or through a volatile pointer: the "
            f"compiler computed its address first, and {fault.name}, made from the pointer to the context by "
            "arithmetic, is a number for older kernels."
        )
    read = _core_read(fault.source)
    current = any(_NUMBERS.match(cause.insn.text) for cause in made)
    task = " For the current task bpf_get_current_task_btf() (5.11) gives a pointer with a type." if current else ""
    context = any("loaded from the context" in cause.what for cause in made)
    typed = " fentry, fexit and tp_btf programs (5.5) get arguments with types." if context else ""
    return (
        f"Read kernel memory with {read}, user memory with bpf_probe_read_user(): {fault.name} holds an address that "
        "the verifier knows only as a number, read from kernel or user memory, from a kprobe's context or a map, or "
        "made a number by arithmetic, a cast or a partial copy. Keep a pointer of the program's own in a separate "
        f"variable.{task}{typed}"
    )


def _is_context(text: str, log: str) -> bool:
    """Whether an instruction copies the pointer to the context."""
    moved = re.match(r"r\d+ = r(\d+)$", text)
    return moved is not None and re.search(rf"\bR{moved[1]}(?:_\w+)?=ctx\b", log) is not None


def _core_read(source: str) -> str:
    """``task->mm->owner`` -> ``BPF_CORE_READ(task, mm, owner)``, where the line shown has one such chain."""
    chains = [found[0] for found in _FIELDS.finditer(source.partition(" = ")[2] or source) if "->" in found[0]]
    known = f"BPF_CORE_READ({', '.join(chains[0].split('->'))}) or bpf_probe_read_kernel()" if len(chains) == 1 else ""
    return known or "bpf_probe_read_kernel() or BPF_CORE_READ()"


def _null(fault: Fault) -> str:
    kind = fault.rejection.field("what")
    if kind.startswith(("rcu_", "trusted_", "ptr_", "untrusted_")):
        return (
            "Load the pointer once into a local variable, compare that with NULL, and use that variable: each load of "
            "a field is a new value for the verifier. This kernel knows that it may be NULL, which older ones did not "
            "check."
        )
    made = next((cause for cause in fault.causes if cause.insn.text.startswith("call bpf_")), None)
    name = re.match(r"call (\w+)", made.insn.text) if made is not None else None
    who = f" that {name[1]}() returned (instruction {made.insn.index})" if made is not None and name else ""
    copies = " Before 4.10 a check counts only for the register that is compared, not for copies." * _one_is_checked(
        fault, kind
    )
    return (
        f"Compare the pointer{who} with NULL first (if (!p) return) and use it only in the branch where it is not; "
        f"check the very variable that is used, right after the call.{copies}"
    )


def _one_is_checked(fault: Fault, kind: str) -> bool:
    """Whether a copy is known not to be NULL: kernels before 4.10 print such states without ids."""
    known = kind.removesuffix("_or_null")
    return re.search(rf"R\d+={known}\(ks=[^\n]*R\d+={re.escape(kind)}\(ks=", fault.log) is not None


def _of_the_map(fault: Fault) -> str:
    if not _MAP_STRUCT.search(fault.message) and "'map_ptr'" not in fault.message:
        return ""
    return (
        "Get a pointer to the value with bpf_map_lookup_elem() first: the instruction accesses the map itself (its "
        "structure in the kernel), not a value in it. Where the source has a global variable, the loader did not "
        "relocate it (.bss, .data and .rodata are maps whose value is addressed directly): use a newer loader. The "
        "inner map of a map of maps is what the lookup in the outer one returns."
    )


def _wrong_kind(fault: Fault) -> str:
    return _of_the_map(fault) if fault.rejection.field("what") == "map_ptr" else ""


def _never_set(fault: Fault) -> str:
    if fault.insn == "exit":
        return (
            "End every path with return and a value, also after the last if or loop: R0 is what the function returns, "
            "and on this path nothing was put there. What a function without a result (void) returns is not set."
        )
    if fault.callee and fault.name in ("R1", "R2", "R3", "R4", "R5"):
        return (
            f"Give {fault.callee}() all its arguments, and compare its prototype with the declaration in the source: "
            f"it takes an argument in {fault.name}, which is not set here (calls destroy R1-R5)."
        )
    return ""


def _field(fault: Fault) -> str:
    chains = [found[0] for found in _FIELDS.finditer(fault.source) if _CONTEXT.match(found[0])]
    what = f"The line accesses {chains[0]}. " if len(chains) == 1 else ""
    narrow = " Kernels before 4.13 take no access that is narrower than the field." * (number(fault, "size") < 4)
    return what + fault.rejection.advice + narrow


def _argument(fault: Fault) -> str:
    what, want = fault.rejection.field("what"), fault.rejection.field("want")
    memory = re.match(r"(?:fp|map_value|pkt)\b", want) is not None
    if what in ("inv", "scalar", "imm") and memory:
        return (
            "Pass the address of a variable on the stack or of a map's value (&x, not x): "
            f"{fault.subject} has to be the address of memory that the program owns. {fault.state}What is in kernel "
            "memory must be copied into a local variable first, with bpf_probe_read_kernel() or BPF_CORE_READ(); a "
            "pointer that went through arithmetic, a cast or a map is a number."
        )
    if what.startswith(("ptr_", "trusted_ptr_", "rcu_ptr_", "untrusted_ptr_")) and memory:
        return (
            "Copy the value into a local variable first and pass its address: "
            f"{fault.subject} points into a structure of the kernel, which this helper does not take."
        )
    if want.startswith("map_ptr"):
        return (
            "Pass &map of a map that the object declares (the loader puts the map there), or what a lookup in a map of "
            f"maps returned, checked for NULL: {fault.subject} has to be the map itself."
        )
    if want.startswith("ctx"):
        return f"Pass ctx itself, unchanged and of the program's own type: {fault.subject} has to be the context."
    return ""


def _reference(fault: Fault) -> str:
    acquired = next((cause for cause in fault.causes if cause.kind == "acquire"), None)
    text = acquired.insn.text if acquired is not None else ""
    call = re.search(r"call (bpf_\w+)", text)
    release = next((way for part, way in _RELEASES.items() if part in text), "")
    if call is None or not release:
        return ""
    kept = (
        " A record cannot be kept: a pointer to it that is stored in a map is no reference, so submit it in the same "
        "run of the program, or collect the data in a map and copy it into a record at the end."
        if "ringbuf" in text
        else " bpf_kptr_xchg() moves it into a map that has a field for it (5.19)."
    )
    at = acquired.insn.index if acquired is not None else ""
    return (
        f"Call {release} on every path to the end, also on those that return early: {call[1]}() took it at "
        f"instruction {at}.{kept}"
    )


def _section_open(fault: Fault) -> str:
    if fault.insn != "exit" or not re.search(r"\bframe[1-9]:", fault.log[-2000:]) or "rcu" not in fault.message:
        return ""
    return (
        "Close the section on every path, in reverse order. If the function is called within a section that its caller "
        "closes afterwards, it is all right for newer kernels: before 6.9 the state of RCU sections was not carried "
        "into functions. There make the function __always_inline."
    )


def _poisoned(fault: Fault) -> str:
    if not fault.source:
        return ""
    chains = [found[0] for found in _FIELDS.finditer(fault.source) if "->" in found[0]]
    what = f" ({chains[0]})" if len(chains) == 1 else ""
    return (
        "Guard the line with bpf_core_field_exists(), bpf_core_type_exists() or bpf_core_enum_value_exists(), and a "
        f"fallback for kernels without it. What this kernel does not have is read in this line{what}: "
        f"{fault.source.strip()[:100]}. It was renamed, removed, or is newer than the kernel; the loader's debug "
        "output names the relocation (relo #N)."
    )


POINTER_ADVICE = {
    "scalar-deref": _not_a_pointer,
    "null-deref": _null,
    "null-arith": _null,
    "null-arg-type": _null,
    "struct-member": _of_the_map,
    "struct-access": _of_the_map,
    "kernel-write": _of_the_map,
    "arg-type": _argument,
    "leaked-ref": _reference,
    "mem-access": _wrong_kind,
    "release-type": _kept_record,
    "register-unset": _never_set,
    "ctx-field": _field,
    "core-unresolved": _poisoned,
    "lock-open": _section_open,
}
