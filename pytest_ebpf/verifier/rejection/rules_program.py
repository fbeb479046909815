"""Rules about the shape of a program, its limits, and the system it is loaded into.

Wordings: verifier.c of Linux 5.10 to 7.1, and real logs up to 7.3.
"""

from __future__ import annotations

from pytest_ebpf.verifier.rejection.rule import Rule

__all__ = ["PROGRAM_RULES"]

PROGRAM_RULES: tuple[Rule, ...] = (
    # -- loops and limits
    Rule(
        "infinite-loop",
        "loop",
        r"infinite loop detected at insn (?P<at>\d+)",
        "the loop at instruction {at} repeats with an unchanged state",
        advice="Give the loop a constant bound and a counter that changes in each round, in a local variable: what is "
        "kept in a map or other memory is a number of any value each time it is read. Else use bpf_loop() (5.17), "
        "bpf_for() (6.4) or may_goto (6.9). Old kernels and compilers also take some loops that end for endless ones.",
    ),
    Rule(
        "back-edge",
        "loop",
        r"back-edge from insn (?P<at>\d+) to (?P<to>\d+)",
        "instruction {at} jumps back to {to}: a loop or a recursion that is not allowed",
        advice="Unroll the loop (#pragma unroll with a constant bound) or use tail calls: Linux 5.3 and later accept "
        "loops that end (with privileges), older ones none. Turn recursion into a loop.",
        wordings="of recursion up to 6.1, of loops in unprivileged programs",
    ),
    Rule(
        "recursion",
        "loop",
        r"recursive call from (?P<caller>\S*) to (?P<callee>\S*)",
        "{caller} calls {callee} again: recursion",
        wordings="7.2; before, back-edge (5.10) or call stack (6.12)",
    ),
    Rule(
        "call-depth",
        "loop",
        r"the call stack of (?P<frames>\d+) frames is too deep",
        "calls are nested {frames} deep, 8 are allowed (or a function calls itself)",
        kind="limit",
    ),
    Rule(
        "stack-chain",
        "stack-limit",
        r"combined stack size of (?P<calls>\d+) calls is (?P<size>\d+)",
        "{calls} nested calls use {size} bytes of stack together, 512 are allowed",
    ),
    Rule(
        "stack-frame",
        "stack-limit",
        r"stack size of subprog (?P<prog>\d+) is (?P<size>\d+)|stack size (?P<size2>\d+)\(extra"
        r"|stack depth \d+ exceeds",
        "one function uses more stack than is allowed",
    ),
    Rule(
        "stack-tail-call",
        "stack-limit",
        r"tail_calls are not allowed when call stack of previous frames is (?P<size>\d+) bytes",
        "a tail call below functions that use {size} bytes of stack, 256 are allowed",
    ),
    Rule(
        "too-many-insns",
        "too-complex",
        r"BPF program is too large\. Proc+essed (?P<insns>\d+) insn",
        "the verifier walked {insns} instructions and gave up",
        advice="Shorten loops or use bpf_loop() (5.17), move parts into global functions (5.6; checked once each), "
        "join branches early, split the program with tail calls. The limit is of instructions walked on all paths: "
        "1,000,000 since Linux 5.2, 131,072 or fewer before. Compilers differ: another clang may load.",
    ),
    Rule(
        "too-many-jumps",
        "too-complex",
        r"The sequence of (?P<jumps>\d+) jumps is too complex",
        "more than {jumps} branches wait to be checked",
        wordings="EFAULT",
    ),
    Rule(
        "too-many-parts",
        "too-complex",
        r"too many (?:subprograms|states|iterations)|liveness analysis exceeded|program too large"
        r"|BPF program is too complex|\S+: too many iterations"
        r"|The total number of maps per program|.* exceeds complexity",
        "the program has more parts than the verifier accepts",
    ),
    Rule(
        "jump-distance",
        "too-complex",
        r"insn (?P<at>\d+) cannot be patched due to 16-bit",
        "a jump at instruction {at} is too far for 16 bits once the kernel has added its own instructions",
        advice="Make the program shorter (less inlining and unrolling), put parts of it into functions that are not "
        "inlined (__noinline), or split it with tail calls: it is too long, not too complex. clang's -mcpu=v4 has "
        "longer jumps (Linux 6.6).",
    ),
    # -- instructions
    Rule(
        "unreachable",
        "bad-code",
        r"unreachable insn (?P<at>\d+)",
        "instruction {at} can never be reached",
    ),
    Rule(
        "jump-out",
        "bad-code",
        r"jump out of range from insn (?P<at>\d+) to (?P<to>-?\d+)|jump into the middle of ldimm64|invalid insn idx"
        r"|indirect jump out of range|.*jump table|the sum of R\d+ um\w+_value \d+ is too big"
        r"|register R\d+ doesn't point to any offset in map",
        "a jump leads out of its function, or into the middle of an instruction",
        advice="The target of the jump is not an instruction of the same function. The end of the function must "
        "be an "
        "exit or a jump, and a 64-bit constant counts as two instructions. With instructions built by hand, pass the "
        "address of the first element and their number, not their bytes.",
    ),
    Rule(
        "no-exit",
        "bad-code",
        r"last insn is not an exit or jmp|subprog doesn't end|cannot call exit(?:\(\))? from subprog"
        r"|fall through|no program starts",
        "the code runs past its end: the last instruction is neither an exit nor a jump",
        advice="In C this is a missing return, or undefined behaviour that the compiler cut the code off at: a "
        "variable without a value, a loop without an end. In Rust it is a panic that was left in the program: a panic "
        "handler that loops, unwrap(), an index or a length that is not checked; use get() and checked arithmetic.",
    ),
    Rule(
        "bad-call",
        "bad-code",
        r"call to invalid destination|verifier bug\. No program starts|Invalid destination",
        "a call to a function that does not exist",
    ),
    Rule(
        "trap",
        "bad-code",
        r"unexpected __bpf_trap\(\)",
        "the compiler put a trap here: an uninitialised variable, or other undefined behaviour",
        wordings="6.17, with clang 21",
    ),
    Rule(
        "opcode",
        "bad-code",
        r"(?:unknown opcode (?P<code>\w+)|unknown insn class|BPF_ATOMIC uses invalid atomic opcode"
        r"|invalid BPF_(?:ALU|JMP|JMP/JMP32) opcode|unrecognized bpf_ld_imm64 in|invalid BPF_LD mode)",
        "an instruction that this kernel does not know",
        kind="feature-missing",
    ),
    Rule(
        "reserved-fields",
        "bad-code",
        r"(?P<code>BPF_(?!CALL)\S+) uses (?:reserved fields|unsupported \S+)|BPF_LD_\[ABS\|IND\] uses reserved",
        "a field of a {code} instruction is set that this kernel does not know",
        kind="feature-missing",
        wordings="how an older kernel refuses newer instructions: atomics, sign extension, gotol, load-acquire",
    ),
    Rule(
        "operand",
        "bad-code",
        r"div by zero|invalid shift|invalid atomic operand|invalid BPF_LD_IMM insn|invalid bpf_ld_imm64"
        r"|invalid may_goto|BPF_MOV with 0x|addr_space_cast insn can only be used with",
        "an instruction with an operand that is never valid",
    ),
    Rule("write-r10", "bad-code", r"frame pointer is read only", "R10, the frame pointer, is written to"),
    Rule(
        "ld-abs",
        "bad-code",
        r"BPF_LD_\[ABS\|IND\] instructions not allowed|at the time of BPF_LD_ABS\|IND|cannot use BPF_LD_\[ABS"
        r"|(?:LD_ABS|tail_call) is (?:not|only) allowed in",
        "this instruction or tail call is not allowed in this type of program or function",
    ),
    Rule(
        "arena",
        "bad-code",
        r"addr_space_cast insn can only (?:convert|be used in)|sign extending loads from arena|Only one arena"
        r"|arena's user address|.*requires a program with an associated arena|.* arena pointer cannot be"
        r"|.*arena.* not (?:supported|allowed)",
        "the arena is used in a way that this kernel does not accept",
    ),
    # -- maps and the program's type
    Rule(
        "map-program",
        "map-use",
        r"Sleepable programs can only use|.* programs can only use (?:array|preallocated)|.*preallocated hash map"
        r"|offload device mismatch|bpf_struct_ops map cannot be used|only one cgroup storage|map type \d+ is not"
        r"|.*excl_prog_hash",
        "this type of program cannot use a map of this type",
    ),
    Rule(
        "map-descriptor",
        "map-use",
        r"fd \d+ is not pointing to valid bpf_map|(?:kfunc )?fd_idx |(?:invalid )?fd_array",
        "the program refers to a map that the loader did not provide",
        kind="environment",
        advice="The file descriptor in the instruction is closed, or is not that of a map: the loader has to "
        "create the map "
        "first, write its descriptor into the instruction and keep it open until the program is loaded.",
    ),
    # -- attach targets
    Rule(
        "attach-hook-off",
        "attach-target",
        r"attach_btf_id \d+ points to disabled hook (?:bpf_lsm_)?(?P<hook>\S+)",
        "this kernel has the LSM hook {hook} but does not let eBPF programs use it",
        kind="feature-missing",
    ),
    Rule(
        "attach-missing",
        "attach-target",
        r"The address of function (?P<func>\S+) cannot be found|Subprog \S+ doesn't exist"
        r"|attach_btf_id \d+ (?!points to disabled hook).*"
        r"|struct_ops module \S+ is not found|attach to (?:invalid|unsupported) member|Tracing programs? must provide"
        r"|Target program|.* is not a supported struct|.* is not a typedef",
        "this kernel does not have the attach target of the program",
    ),
    Rule(
        "attach-arguments",
        "attach-target",
        r"func '(?P<func>[^']+)' doesn't have (?P<arg>\d+)-th argument",
        "the program reads argument {arg} of {func}, which has fewer in this kernel",
        advice="Arguments differ between releases: compare the prototype in BPF_PROG() with this kernel's (bpftool btf "
        "dump file /sys/kernel/btf/vmlinux format c | grep {func}) and leave out what is not there, with a variant of "
        "the program for each prototype (autoload) or a read by CO-RE. In fexit programs the return value follows the "
        "last argument.",
    ),
    Rule(
        "attach-refused",
        "attach-target",
        r".* is not modifiable|can't modify return codes|.*Cannot (?:replace|extend|nest|recursively|attach)"
        r"|.*(?:programs )?cannot (?:attach|replace) |Can attach to only|Only FENTRY/FEXIT|FENTRY/FEXIT program can"
        r"|Extension program|Attaching .* is rejected|Attach to function|.*BPF_LSM_CGROUP that attach"
        r"|.* not traceable"
        r"|func '.* (?:arg\d+ .* has type .*|size \d+ must be \d+)"
        r"|.*is not multiple of 8"
        r"|ret type \S+ not allowed for fmod_ret|invalid btf_id for context argument"
        r"|Tracing program can only be attached to another program annotated",
        "the target exists, but this program cannot be attached to it",
    ),
    Rule(
        "sleepable-target",
        "sleepable",
        r"Only .* can be sleepable|Syscall programs can only be sleepable|\S+ is not sleepable|.*cannot be sleepable",
        "this program, or what it attaches to, cannot be sleepable",
    ),
    # -- type information
    Rule(
        "callbacks-unseen",
        "btf",
        r"number of funcs in func_info doesn't match number of subprogs",
        "the kernel and the object count different numbers of functions: no callbacks (5.13), or damaged BTF",
        advice="Functions that are only passed as callbacks (bpf_for_each_map_elem(), bpf_timer, bpf_loop()) "
        "are counted "
        "since Linux 5.13: older kernels cannot load such a program, use a loop there. If it has no callbacks, "
        "load the "
        "object as the compiler made it.",
        kind="feature-missing",
    ),
    Rule(
        "func-info",
        "btf",
        r"(?!invalid exception)(?:invalid|nonzero|same or smaller|missing|func_info|Invalid|btf).*(?:func[_ ]info"
        r"|line_info|core_relo)"
        r"|.*func_info BTF section doesn't match|missing btf func_info|Invalid (?:core_relo|line_info)"
        r"|(?!in-kernel).*BTF .*(?:malformed|invalid)|BTF of func|invalid type id \d+ in func info"
        r"|Invalid insn code at line_info",
        "the records that link the code to its source and types are damaged",
    ),
    Rule(
        "kernel-btf",
        "btf",
        r"kernel is missing BTF|in-kernel BTF is malformed|btf_vmlinux is malformed|Please fix kernel include"
        r"|kern ctx type id"
        r"|calling kernel functions? (?:is|are) not supported without"
        r"|invalid module BTF object|ldimm64 (?:insn specifies|unable)|pseudo btf_id|Invalid type of function"
        r"|type '\S+' has multiple type tags|function signature member has multiple|func_info undefined"
        r"|arg#\d+ struct doesn't have a name|Global functions need valid BTF|.*program without BTF"
        r"|.*requires BTF|unable to resolve the size of type",
        "this needs type information (BTF) that the kernel or the program does not have",
    ),
    Rule(
        "core-words",
        "core-reloc",
        r"(?:.*failed to resolve CO-RE relocation <?\w+>? \[\d+\] (?P<what>.*?)(?: \([\d:]+ @ offset \d+\))?$)"
        r"|.*failed to resolve CO-RE relocation(?! <?\w+>? \[)",
        "code is reached that needs a type, field or value that this kernel does not have: {what}",
        advice="This kernel does not have {what} (removed, renamed, or newer than it). Guard it with "
        "bpf_core_field_exists(), bpf_core_type_exists() or bpf_core_enum_value_exists(); for a renamed field "
        "declare "
        "the other name in a structure with a suffix (___new) and read the one that exists.",
        wordings="what libbpf writes into the log",
    ),
    Rule(
        "kernel-symbol",
        "btf",
        r"ldimm64 failed to find the address for kernel symbol '(?P<what>[^']+)'",
        "the kernel variable {what} has no address that programs can use",
        advice="The kernel's symbol table has no variable {what}: variables are in /proc/kallsyms only with "
        "CONFIG_KALLSYMS_ALL=y, and static or renamed ones may not be there at all. Look with grep {what} "
        "/proc/kallsyms; declare it __weak and test its address where it may be absent.",
    ),
    Rule(
        "signature",
        "privilege",
        r"signed (?:program|payload) |signature verification failed|cannot resolve signing keyring",
        "the program is signed, and the signature or what it covers does not fit",
        advice="Sign the program again with the maps it uses, and load it with the loader that goes with the "
        "signature.",
    ),
    Rule(
        "core-words-place",
        "core-reloc",
        r".*<invalid CO-RE relocation>|.*<invalid BPF map reference>|.*<invalid kfunc call>",
        "code is reached that needs something this kernel does not have",
        second=True,
        wordings="what libbpf writes into the log",
    ),
    # -- JIT
    Rule(
        "jit",
        "jit",
        r"JIT (?:doesn't|does not|is required)|.*non-JITed programs|.*not supported by (?:the )?jit|.*interpreter"
        r"|mixing of tail_calls and bpf-to-bpf|tail_calls are not allowed in programs with bpf-to-bpf"
        r"|program requires BPF JIT"
        r"|address of kernel func_id|64-bit (?:load-acq|store-rel)\w+ are only supported|adding tail call poke"
        r"|tracking tail call|Private stack",
        "the JIT of this kernel cannot do this, or is off",
    ),
    # -- the verifier itself
    Rule(
        "verifier-bug",
        "verifier-bug",
        r"(?i:verifier (?:internal error|bug)(?!: unrecognized arg|\. No program))|REG INVARIANTS VIOLATION"
        r"|BUG (?!: in callback)|.*internal bug|bpf verifier (?:is|narrow)|bug: |kernel subsystem misconfigured func",
        "the verifier found a bug in itself",
    ),
    Rule(
        "misconfigured",
        "map-use",
        r"kernel subsystem misconfigured verifier",
        "the arguments of the helper do not go together",
        advice="bpf_tail_call() takes a prog array; this is how kernels up to 6.12 refuse another map there.",
    ),
)
