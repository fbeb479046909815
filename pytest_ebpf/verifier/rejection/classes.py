"""The classes of rejections: ids that are the same for all kernels, however a kernel phrases the message.

A class is what went wrong, a ``kind`` is who has to act on it, and ``advice`` is how to fix it. The rules that
assign messages to classes are in ``rules``; ``docs/verifier-logs.md`` is generated from both.
"""

from __future__ import annotations

from pytest_ebpf.frozen import dataclass

__all__ = ["CLASSES", "KINDS", "ErrorClass"]

# kind -> what it means
KINDS: dict[str, str] = {
    "safety": "the program breaks a rule; no kernel should take it as it is",
    "feature-missing": "this kernel lacks what the program uses; a newer one may have it",
    "limit": "the program is too big, too deep or has too many branches for the verifier",
    "environment": "not the code: the loader, its privileges, the kernel's configuration, BTF or the attach target",
    "kernel-bug": "the verifier reports a bug in itself",
}


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """A class: its ``id``, the default ``kind`` of its rules, and texts for people."""

    id: str
    kind: str
    title: str
    advice: str


_ROWS = (
    ErrorClass(
        "uninit-read",
        "safety",
        "A register is read before anything was written to it on this path",
        "Give the variable a value on every path. A call destroys R1-R5: what is needed after it must be in a "
        "variable "
        "that the compiler can keep elsewhere. A function that returns nothing leaves R0 unset.",
    ),
    ErrorClass(
        "null-deref",
        "safety",
        "A pointer that may be NULL is used without a check",
        "Compare the pointer with NULL first and use it only in the branch where it is not; check the very variable "
        "that is used, right after the call that returned it.",
    ),
    ErrorClass(
        "bad-pointer",
        "safety",
        "The value is not a pointer that may be used like this",
        "Keep the original pointer in a separate variable: arithmetic, casts to integers, partial copies and calls "
        "that move packet data turn it into a number. Read kernel memory with bpf_probe_read_kernel() or "
        "BPF_CORE_READ().",
    ),
    ErrorClass(
        "pointer-arith",
        "safety",
        "Arithmetic on a pointer that the verifier does not allow",
        "Do the arithmetic on an unsigned integer, bound it with a comparison or a mask, then add it once to the "
        "pointer.",
    ),
    ErrorClass(
        "packet-bounds",
        "safety",
        "Packet bytes are accessed without proof that it is long enough",
        "Compare with data_end just before the access, for all bytes it reads: if (data + off + size > data_end) "
        "return. After a helper that changes the packet, load data and data_end again and check again.",
    ),
    ErrorClass(
        "memory-bounds",
        "safety",
        "Access outside a map value or other memory of known size, or with an index without bounds",
        "Check the index just before the access, as an unsigned number, against the number of elements (or mask it), "
        "and use the checked variable itself; the compiler may keep a copy that the verifier knows nothing about.",
    ),
    ErrorClass(
        "stack-bounds",
        "safety",
        "Stack access out of range, at an unknown offset, or of bytes never written",
        "Initialise the whole variable (= {}) before its address is passed on, keep indices into arrays on the stack "
        "bounded, and do not read past the 512 bytes of a frame.",
    ),
    ErrorClass(
        "stack-limit",
        "limit",
        "The call chain needs more stack than a program has (512 bytes), or too many frames",
        "Move big variables into a per-CPU array map, pass pointers instead of copies, split the call chain.",
    ),
    ErrorClass(
        "misaligned",
        "safety",
        "The access is not aligned as its width demands",
        "Access the field at its natural alignment, or copy it with __builtin_memcpy(). Only strict alignment "
        "(BPF_F_STRICT_ALIGNMENT, some architectures) asks for this.",
    ),
    ErrorClass(
        "ctx-access",
        "safety",
        "This field of the context may not be accessed like this",
        "Read fields by name with their own width, with the context struct of this program type. If the compiler "
        "computed an address into the context first, keep the pointer unmodified (a barrier, or __ctx as volatile).",
    ),
    ErrorClass(
        "rdonly-write",
        "safety",
        "A store to memory that the program may only read, or a read of memory it may only write",
        "Write to a copy, or use the helper that writes this object. Constants (.rodata) and maps created with "
        "BPF_F_RDONLY_PROG stay as they are.",
    ),
    ErrorClass(
        "helper-arg",
        "safety",
        "An argument of a helper or kernel function has the wrong type, size or range",
        "Compare the arguments with the prototype: pass the pointer itself, not a number; bound a length from both "
        "sides just before the call (if (len > MAX) return; or len &= MAX - 1).",
    ),
    ErrorClass(
        "map-use",
        "safety",
        "The map does not fit this helper, or this type of program",
        "Use a map of the type that the helper expects; look in bpf-helpers(7) for which types that are.",
    ),
    ErrorClass(
        "map-create",
        "environment",
        "A map was not created, so that no program could be loaded",
        "It is the map, not a program: compare its type, sizes and flags with what this kernel takes, and with the "
        "map that "
        "is pinned under its name.",
    ),
    ErrorClass(
        "special-field",
        "safety",
        "A timer, lock, kptr, list, tree or other special field of a value is used wrongly",
        "Declare the map with BTF types, access such fields only through their helpers, at a constant offset.",
    ),
    ErrorClass(
        "leaked-ref",
        "safety",
        "An acquired object is not released on every path",
        "Release (submit, discard, put, destroy) on every path that leaves, also in the early returns.",
    ),
    ErrorClass(
        "bad-release",
        "safety",
        "An object is released, or passed on as owned, that this program does not own",
        "Release once, with the pointer that the acquiring call returned; do not use it afterwards. Kernel functions "
        "that want trusted pointers need them from an argument, an acquire, or under bpf_rcu_read_lock().",
    ),
    ErrorClass(
        "lock",
        "safety",
        "A lock, RCU, preemption or interrupt section is left open, closed twice, or holds what it may not",
        "Close the section on every path, in reverse order, and keep calls out of it that it does not allow.",
    ),
    ErrorClass(
        "object-state",
        "safety",
        "A dynptr, iterator or flag on the stack is used out of order",
        "Initialise, use, destroy, in that order, always through the same variable, and check what the constructor "
        "returned only after it is certain to be destroyed.",
    ),
    ErrorClass(
        "return-value",
        "safety",
        "The program or callback may return a value outside the allowed range",
        "Return one of the constants of this program type on every path; clamp computed values first.",
    ),
    ErrorClass(
        "subprog",
        "safety",
        "The contract of a global function, a callback or an exception callback is broken",
        "A global function is checked on its own, with arguments of any value: check pointers for NULL in it and "
        "pass "
        "sizes along, or make it static. A callback has the prototype that its helper asks for.",
    ),
    ErrorClass(
        "unknown-func",
        "safety",
        "The helper does not exist in this kernel, or not for this type of program",
        "Check first: bpf_core_enum_value_exists() and a fallback in C, bpf_features or a marker in the test. For a "
        "helper of other program types, move the call into a program that may use it.",
    ),
    ErrorClass(
        "kfunc",
        "feature-missing",
        "The kernel function does not exist here, or not for this type of program",
        "Declare it __weak and check bpf_ksym_exists() before the call, with a fallback; require a kernel that has it "
        "in the test.",
    ),
    ErrorClass(
        "licence",
        "safety",
        "A function only for GPL programs, in a program with another licence",
        'Declare the licence: char LICENSE[] SEC("license") = "GPL"; (or "Dual MIT/GPL" and the like).',
    ),
    ErrorClass(
        "privilege",
        "environment",
        "The loader lacks a capability, and the program does what only privileged programs may do",
        "Load with CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN), or leave out what shows kernel addresses.",
    ),
    ErrorClass(
        "sleepable",
        "safety",
        "Something that may sleep, where sleeping is not allowed",
        'Make the program sleepable (its section name with .s, as in SEC("fentry.s/...")) where its type can be, and '
        "call it outside RCU, lock and preemption sections.",
    ),
    ErrorClass(
        "attach-target",
        "environment",
        "The attach target does not exist in this kernel, or cannot be attached to",
        "Look the target up first (bpftool btf dump, bpf_features); functions are inlined, renamed and marked notrace.",
    ),
    ErrorClass(
        "btf",
        "environment",
        "The type information of the program, or of the kernel, does not fit",
        "Build with -g and load the object as the compiler made it; strip only with llvm-strip -g. The kernel needs "
        "CONFIG_DEBUG_INFO_BTF.",
    ),
    ErrorClass(
        "core-reloc",
        "feature-missing",
        "The code needs a type, field or value that this kernel does not have",
        "Guard it: bpf_core_field_exists(), bpf_core_type_exists(), bpf_core_enum_value_exists(), with a fallback "
        "for "
        "kernels without it.",
    ),
    ErrorClass(
        "jit",
        "environment",
        "The program needs the JIT, or a JIT of this architecture that can do more",
        "Switch the JIT on (net.core.bpf_jit_enable=1), or do without the feature on this architecture.",
    ),
    ErrorClass(
        "loop",
        "safety",
        "A loop, a recursion or a chain of calls without proof that it ends",
        "Give the loop a constant bound and a counter that changes, or use bpf_loop(), bpf_for() or may_goto; turn "
        "recursion into a loop.",
    ),
    ErrorClass(
        "bad-code",
        "safety",
        "Instructions that are malformed, unreachable or unknown to this kernel",
        "Undefined behaviour in C often ends as missing or unreachable code: initialise, return on every path. "
        "Instructions of a newer set come from -mcpu=v4 or new atomics: build with a lower -mcpu for old kernels.",
    ),
    ErrorClass(
        "too-complex",
        "limit",
        "The verifier gave up: too many instructions, jumps or states to walk",
        "Shorten loops or use bpf_loop(), move parts into global functions (checked once each), join branches early, "
        "split the program with tail calls.",
    ),
    ErrorClass(
        "verifier-bug",
        "kernel-bug",
        "The verifier reports a bug in itself",
        "Look at the kernel log, try a newer stable release of this kernel, and report it with the object.",
    ),
    ErrorClass(
        "no-verdict",
        "environment",
        "The log does not hold the reason: it is empty or was cut off",
        "Empty: the kernel rejected the program before the verifier ran; the errno and the loader's messages say why. "
        "Cut off: load again with a bigger buffer, or at log level 4, which prints the error without the trace.",
    ),
    ErrorClass(
        "unknown",
        "safety",
        "A message that no rule knows",
        "The message is shown in full above; it is new, or from a patched kernel. The trace shows where it happened.",
    ),
)

CLASSES: dict[str, ErrorClass] = {row.id: row for row in _ROWS}
