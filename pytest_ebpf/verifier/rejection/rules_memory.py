"""Rules about registers, pointers and memory. Wordings: verifier.c of Linux 5.10 to 7.1, and real logs up to 7.3."""

from __future__ import annotations

from pytest_ebpf.verifier.rejection.rule import Rule

__all__ = ["MEMORY_RULES"]

_REG = r"(?P<reg>R\d+)"

MEMORY_RULES: tuple[Rule, ...] = (
    Rule("register-unset", "uninit-read", rf"{_REG} !read_ok", "{reg} is read, but nothing was written to it"),
    Rule("register-number", "bad-code", rf"{_REG} is invalid$", "there is no register {reg}"),
    # -- pointers that may be NULL
    Rule(
        "null-deref",
        "null-deref",
        rf"{_REG} invalid mem access '?(?P<what>\w*or_null\w*)'?",
        "{reg} is used as a pointer, but it may be NULL ({what})",
    ),
    Rule(
        "null-arith",
        "null-deref",
        rf"{_REG} pointer arithmetic on (?P<what>\S+) prohibited, null-check it first",
        "an offset is added to {reg}, which may be NULL ({what})",
    ),
    Rule(
        "null-arg",
        "null-deref",
        r"Possibly NULL pointer passed to (?:trusted |helper )?(?P<arg>arg ?#?\d+|R\d+)",
        "{arg} of the call may be NULL, which the callee does not accept",
        wordings="6.3: arg0 counted from 0; 7.2: R1",
    ),
    Rule(
        "null-arg-global",
        "null-deref",
        r"(?P<arg>arg#\d+|R\d+) is expected to be non-NULL",
        "{arg} of the function must not be NULL",
    ),
    Rule(
        "null-arg-type",
        "null-deref",
        rf"{_REG} type=(?P<what>\w*or_null\w*) expected=(?P<want>.*)",
        "{reg} may be NULL ({what}), which the helper does not accept",
    ),
    # -- values that are not pointers
    Rule(
        "scalar-deref",
        "bad-pointer",
        rf"{_REG} invalid mem access '(?P<what>inv|imm|scalar)'",
        "{reg} is used as a pointer, but it is a number",
        wordings="imm (a constant) up to 4.13, inv up to 5.17, scalar since",
    ),
    Rule(
        "mem-access",
        "bad-pointer",
        rf"{_REG} invalid mem access '(?P<what>(?!inv'|imm'|scalar')(?!\w*or_null)\w*)'",
        "memory cannot be accessed through {reg}: it is a pointer of the kind {what}",
    ),
    Rule(
        "modified-pointer",
        "bad-pointer",
        rf"(?:dereference of modified"
        rf"|negative offset) (?P<what>(?!ctx )\S+) ptr {_REG} off=(?P<off>-?\d+) disallowed",
        "{reg} ({what}) was moved by {off}; such a pointer must be used unmodified",
    ),
    Rule(
        "variable-pointer",
        "bad-pointer",
        r"variable (?P<what>(?!ctx )\S+) access var_off=(?P<off>.*) disallowed",
        "a pointer ({what}) was moved by an amount that is not known",
    ),
    Rule(
        "btf-pointer-access",
        "bad-pointer",
        rf"{_REG} is ptr_(?P<what>\S*) (?:invalid negative access|invalid variable offset|access (?:user"
        rf"|percpu) memory)",
        "{reg} (a kernel pointer, {what}) is used at a negative or unknown offset, or points to user or per-CPU memory",
    ),
    Rule(
        "merged-pointers",
        "bad-pointer",
        r"same insn cannot be used with (?:different pointers|and without arena pointer)",
        "one instruction accesses two kinds of pointers, depending on the path",
        advice="The compiler merged two branches: write the accesses so that each branch has its own (barrier_var()).",
    ),
    Rule(
        "struct-access",
        "bad-pointer",
        r"access beyond (?:struct|the end of member) (?P<what>.*)"
        r"|(?:Type '|struct )\S+ (?:is not a struct|doesn't have field at offset).*|field \S+ doesn't have size.*"
        r"|FWD .*|direct access to \S+ is disallowed",
        "the access does not fit the type of the kernel object",
        advice="The types the program was built with differ from this kernel's: read with BPF_CORE_READ(), "
        "guard with "
        "bpf_core_field_exists().",
    ),
    Rule(
        "struct-member",
        "bad-pointer",
        r"cannot access ptr member (?P<what>.*)",
        "the access does not fit the type of the kernel object: {what}",
        second=True,
    ),
    Rule(
        "release-offset",
        "bad-release",
        rf"{_REG} must have zero offset when passed to release func",
        "{reg} was moved; the releasing call needs the pointer that was acquired",
    ),
    # -- arithmetic
    Rule(
        "pointer-kind-arith",
        "pointer-arith",
        rf"{_REG} pointer arithmetic on (?P<what>\S+) prohibited$",
        "{reg} is a pointer ({what}) that may not be moved",
    ),
    Rule(
        "pointer-operator",
        "pointer-arith",
        rf"{_REG} (?P<what>bitwise operator \S+ on pointer|pointer arithmetic with \S+ operator"
        r"|32-bit pointer arithmetic|pointer \S+ pointer|pointer arithmetic"
        r"|subtraction from stack pointer) prohibited$",
        "{reg} is a pointer, and this operation is not defined for one: {what}",
    ),
    Rule(
        "pointer-subtracted",
        "pointer-arith",
        rf"{_REG} tried to subtract pointer from scalar",
        "a pointer is subtracted from the number in {reg}",
    ),
    Rule(
        "offset-too-big",
        "pointer-arith",
        r"math between (?P<what>\S+) pointer and (?P<off>-?\d+) is not allowed",
        "the offset {off} is too big for a pointer ({what})",
    ),
    Rule(
        "offset-unbounded",
        "pointer-arith",
        r"math between (?P<what>\S+) pointer and register with unbounded min value is not allowed",
        "a number of unknown sign is added to a pointer ({what})",
    ),
    Rule(
        "offset-out-of-range",
        "pointer-arith",
        r"value (?P<off>-?\d+) makes (?P<what>\S+) pointer be out of bounds",
        "the number added to the pointer ({what}) can be {off}, far outside of what it points to",
    ),
    Rule(
        "offset-constant",
        "pointer-arith",
        r"(?P<what>\S+) pointer offset (?P<off>-?\d+) is not allowed",
        "the offset {off} is too big for a pointer ({what})",
    ),
    Rule(
        "pointer-part",
        "privilege",
        rf"{_REG} (?P<what>partial copy|sign-extension part) of pointer",
        "half of the pointer in {reg} is copied, which only privileged programs may do",
    ),
    # -- packets
    Rule(
        "packet-access",
        "packet-bounds",
        rf"invalid access to packet, off=(?P<off>-?\d+) size=(?P<size>\d+), {_REG}\(",
        "{size} bytes at offset {off} of the packet are accessed through {reg}, without proof that it is long enough",
    ),
    Rule(
        "packet-outside",
        "packet-bounds",
        rf"{_REG} offset is outside of the packet",
        "the access through {reg} is outside of the bytes that the packet was proven to have",
        second=True,
        wordings="second line up to 7.0",
    ),
    Rule(
        "packet-to-helper",
        "packet-bounds",
        r"helper access to the packet is not allowed|R\d+ is a packet pointer, but func#\d+ may change packet data",
        "packet memory may not be passed to this call",
        advice="Copy the bytes to the stack first.",
    ),
    Rule(
        "flow-keys",
        "packet-bounds",
        r"invalid access to flow keys off=(?P<off>-?\d+) size=(?P<size>\d+)"
        r"|R\d+ invalid variable offset to flow keys",
        "the access is outside of the flow keys, or at an offset that is not known",
    ),
    # -- map values, records, buffers
    Rule(
        "map-value",
        "memory-bounds",
        r"invalid access to map value, value_size=(?P<room>\d+) off=(?P<off>-?\d+) size=(?P<size>[1-9]\d*)",
        "{size} bytes at offset {off} of a map value are accessed, but the value has {room} bytes",
    ),
    Rule(
        "map-key",
        "memory-bounds",
        r"invalid access to map key, key_size=(?P<room>\d+) off=(?P<off>-?\d+) size=(?P<size>\d+)",
        "{size} bytes at offset {off} of a map key are accessed, but the key has {room} bytes",
    ),
    Rule(
        "map-value-pointer",
        "memory-bounds",
        r"(?:invalid access to map value pointer, value_size=\d+ off=|direct value offset of )(?P<off>\d+)",
        "the address of a global variable is taken at offset {off}, beyond the map value",
    ),
    Rule(
        "map-value-direct",
        "map-use",
        r"no direct value access support for this map type",
        "values of this type of map have no address to take",
    ),
    Rule(
        "memory-region",
        "memory-bounds",
        r"invalid access to memory, mem_size=(?P<room>\d+) off=(?P<off>-?\d+) size=(?P<size>\d+)",
        "{size} bytes at offset {off} are accessed, but the memory has {room} bytes",
    ),
    Rule(
        "outside-range",
        "memory-bounds",
        rf"{_REG} (?P<what>min|max) value is outside of the (?:allowed memory range|array range)",
        "the {what}imum of {reg} is outside of the memory it points to",
        second=True,
        wordings="second line; of a packet too since 7.1",
    ),
    Rule(
        "index-unbounded",
        "memory-bounds",
        rf"{_REG} unbounded memory access, make sure to bounds check any such access",
        "{reg} has an offset without upper bound",
    ),
    Rule(
        "index-negative",
        "memory-bounds",
        rf"{_REG} min value is negative(?:, either use unsigned index or do a if \(index >=0\) check|$)",
        "{reg} has an offset that may be negative",
    ),
    Rule(
        "buffer-access",
        "memory-bounds",
        rf"{_REG} invalid (?:(?:rdonly|rdwr|tracepoint|\S+) buffer access|variable buffer offset|negative \S+ buffer)"
        r"|invalid (?:variable|negative \S+) buffer offset",
        "the access is outside of the buffer, or at an offset that is not known",
    ),
    Rule(
        "mem-negative",
        "memory-bounds",
        rf"{_REG} is (?P<what>(?!ptr_)\S+) invalid negative access: off=(?P<off>-?\d+)",
        "{reg} ({what}) is accessed at the negative offset {off}",
    ),
    Rule(
        "mem-field",
        "bad-pointer",
        rf"{_REG} invalid (?!mem access)(?P<what>\S+) access off=(?P<off>-?\d+) size=(?P<size>\d+)",
        "{size} bytes at offset {off} of {reg} ({what}) may not be accessed",
    ),
    # -- stack
    Rule(
        "stack-range",
        "stack-bounds",
        rf"invalid (?:indirect |unbounded |zero-sized )?(?P<what>read|write|access)(?: from| to)? stack {_REG} "
        r"off=(?P<off>-?\d+) (?:size|access_size)=(?P<size>-?\d+)",
        "{what} of {size} bytes at offset {off} of the stack, outside of the 512 bytes of a frame",
    ),
    Rule(
        "stack-unset",
        "stack-bounds",
        r"invalid (?:indirect )?(?P<what>read|access) from stack(?: R\d+)? (?:off|var_off) \S+",
        "stack bytes are read that were never written",
        wordings="not an error of privileged loads to helpers since 6.4",
    ),
    Rule(
        "stack-variable",
        "stack-bounds",
        rf"invalid (?:unbounded )?variable-offset(?: indirect)?(?: read| write| access)?(?: from| to)? stack {_REG}",
        "the stack is accessed through {reg} at an offset that is not known well enough",
    ),
    Rule(
        "stack-other",
        "stack-bounds",
        r"invalid stack (?:type )?(?:R\d+ )?off=(?P<off>-?\d+)",
        "the access is outside of the stack",
    ),
    Rule(
        "spill-part",
        "stack-bounds",
        r"invalid size of register (?P<what>spill|fill)",
        "a pointer saved on the stack is written or read in part",
        advice="Save and load pointers with 8 bytes; the slot may belong to a variable that is too big for the stack.",
    ),
    Rule(
        "stack-escapes",
        "stack-bounds",
        r"cannot (?:return stack pointer to the caller|spill pointers to stack into stack frame of the caller)",
        "the address of a local variable leaves its function",
    ),
    Rule(
        "stack-spilled",
        "stack-bounds",
        r"(?:spilled ptr|uninit stack) in range of var-offset|variable offset stack pointer cannot be passed"
        r"|slot poisoned|stack slot .* poison|reading from stack .*slot poisoned",
        "stack at an unknown offset holds a saved pointer or was never written",
    ),
    Rule(
        "stack-corrupt",
        "privilege",
        r"attempt to corrupt spilled pointer on stack|leaking pointer from stack",
        "a pointer saved on the stack is overwritten or read in part, which only privileged programs may do",
    ),
    # -- alignment
    Rule(
        "misaligned",
        "misaligned",
        r"misaligned (?P<what>\S+ ?)?access off (?P<off>.+) size (?P<size>\d+)",
        "access of {size} bytes at an address that is not a multiple of {size}",
        wordings="the offset is printed in other terms in 6.6, 6.12 and 7.1",
    ),
    # -- context
    Rule(
        "ctx-field",
        "ctx-access",
        r"invalid bpf_context access off=(?P<off>-?\d+) size=(?P<size>\d+)",
        "{size} bytes at offset {off} of the context: not a field that this type of program may access like this",
        advice="Read the field by its name, with its own width, from the context struct of this program type. "
        "The kernel "
        "decides which fields this type may read or write: a field that is newer than this kernel needs a newer "
        "kernel. "
        "Where the compiler merged or widened accesses, read into a volatile variable.",
    ),
    Rule(
        "ctx-moved",
        "ctx-access",
        rf"(?:dereference of modified"
        rf"|negative offset) ctx ptr {_REG} off=(?P<off>-?\d+)(?:\+\d+)?(?: disallowed|, ctx\+const)",
        "the pointer to the context ({reg}) was moved by {off} before the access",
        advice="The compiler computed an address in the context first, often for a field that is read in several "
        "branches or as an array: read the field once into a local variable, before the branches or through a volatile "
        "pointer; in tracing programs bpf_probe_read_kernel() from the address works. Clang 18 and later keep the "
        "offset with __attribute__((preserve_static_offset)) on the structure; another version may do it by itself.",
    ),
    Rule(
        "ctx-variable",
        "ctx-access",
        r"variable ctx access var_off=(?P<off>.*) disallowed",
        "the context is accessed at an offset that is not constant",
    ),
    Rule(
        "ctx-region",
        "ctx-access",
        r"invalid access to context, ctx_size=(?P<room>\d+) off=(?P<off>-?\d+) size=(?P<size>\d+)",
        "{size} bytes at offset {off} of the context, which has {room} bytes",
    ),
    # -- stores
    Rule(
        "map-write",
        "rdonly-write",
        r"write into map forbidden",
        "a store to a map that is read-only for programs (constants are, too)",
    ),
    Rule("map-read", "rdonly-write", r"read from map forbidden", "a load from a map that is write-only for programs"),
    Rule(
        "rdonly-write",
        "rdonly-write",
        rf"{_REG} cannot write into (?P<what>\S+)|cannot write into (?P<packet>packet)"
        r"|the prog does not allow writes to packet data|write to change key R\d+ not allowed",
        "a store to memory that this program may only read",
    ),
    Rule(
        "kernel-write",
        "rdonly-write",
        r"only read (?:is supported|from (?P<what>\S+) is supported)|no write support to \S+"
        r"|Writes through BTF pointers are not allowed",
        "a store into a structure of the kernel, which a program may only read",
        advice="A program cannot write to this structure of the kernel: use a helper or kernel function that "
        "changes the "
        "field, or keep the value in a map (task, inode or socket storage).",
    ),
    Rule(
        "atomic-target",
        "rdonly-write",
        rf"BPF_(?:ATOMIC|XADD|ST|STX) (?P<what>stores|loads) (?:into|from) {_REG} (?P<kind>\S+) is not allowed",
        "this kind of access is not allowed through {reg} ({kind})",
    ),
    Rule(
        "rdonly-arg",
        "rdonly-write",
        r"\S+\(\) may write into memory pointed by (?P<reg>R\d+) type=(?P<what>\S+)",
        "the helper may write to what {reg} points to, which is read-only ({what})",
    ),
)
