"""Rules about calls: arguments, functions, privileges.

Wordings: verifier.c of Linux 5.10 to 7.1, and real logs up to 7.3.
"""

from __future__ import annotations

from pytest_ebpf.verifier.rejection.rule import Rule

__all__ = ["CALL_RULES"]

_REG = r"(?P<reg>R\d+)"
_ARG = r"(?P<arg>arg ?#?\d+|R\d+|Arg#\d+)"

# Helpers that only sleepable programs ever had.
_SLEEPABLE = r"(?:copy_from_user\w*|ima_inode_hash|ima_file_hash|sys_close|kallsyms_lookup_name)"
# Helpers that every type of program may call in some release (kernel/bpf/helpers.c: bpf_base_func_proto() of 6.12; of
# 6.18: get_current_comm, get_current_uid_gid): where one is refused, the kernel is older than that.
_FOR_ALL = (
    "cgrp_storage_delete|cgrp_storage_get|dynptr_data|dynptr_from_mem|dynptr_read|dynptr_write|for_each_map_elem"
    "|get_current_ancestor_cgroup_id|get_current_cgroup_id|get_current_comm|get_current_pid_tgid|get_current_task"
    "|get_current_task_btf|get_current_uid_gid|get_ns_current_pid_tgid|get_numa_node_id|get_prandom_u32"
    "|get_smp_processor_id|jiffies64|kptr_xchg|ktime_get_boot_ns|ktime_get_ns|ktime_get_tai_ns|loop"
    "|map_lookup_percpu_elem|map_peek_elem|map_pop_elem|map_push_elem|per_cpu_ptr|probe_read_kernel"
    "|probe_read_kernel_str|probe_read_user|probe_read_user_str|ringbuf_discard|ringbuf_discard_dynptr|ringbuf_output"
    "|ringbuf_query|ringbuf_reserve|ringbuf_reserve_dynptr|ringbuf_submit|ringbuf_submit_dynptr|snprintf|snprintf_btf"
    "|spin_lock|spin_unlock|strncmp|strtol|strtoul|tail_call|task_pt_regs|this_cpu_ptr|timer_cancel|timer_init"
    "|timer_set_callback|timer_start|trace_printk|trace_vprintk|user_ringbuf_drain"
)

CALL_RULES: tuple[Rule, ...] = (
    Rule(
        "release-type",
        "bad-release",
        rf"{_REG} type=(?P<what>(?!\w*or_null)\S*) expected=(?:mem|alloc_mem|ringbuf_mem)$",
        "{reg} holds {what}, not the record that was reserved: it was released before, or never acquired",
        wordings="mem in 5.10, alloc_mem in 6.1, ringbuf_mem since",
    ),
    Rule(
        "arg-type",
        "helper-arg",
        rf"{_REG} type=(?P<what>(?!\w*or_null)\S*) expected=(?!(?:mem|alloc_mem|ringbuf_mem)$)(?P<want>.*)",
        "{reg} holds {what}, but the helper expects {want}",
        wordings="names of types differ per kernel (inv: scalar since 5.18)",
    ),
    Rule(
        "arg-struct",
        "helper-arg",
        rf"{_REG} is of type (?P<what>\S+) but (?P<want>.+?) is expected",
        "{reg} points to {what}, but the call expects {want}",
    ),
    Rule(
        "arg-kfunc-type",
        "helper-arg",
        rf"kernel function (?P<func>\S+) (?:args?#\d+|R\d+) (?P<what>.*)|{_ARG} pointer type .* must point to .*"
        rf"|{_ARG.replace('arg>', 'arg2>')} (?:expected|expects) pointer to (?P<want>(?!func|stack or|an iterator"
        rf"|allocated).*)"
        r"|(?:arg#\d+|R\d+) is \S+ expected .*|(?:arg#\d+|R\d+) has type .*, expected .*",
        "an argument of the call points to a type that the callee does not accept",
    ),
    Rule(
        "arg-const",
        "helper-arg",
        rf"{_REG} (?:is not a known constant|must be a known constant|is not a const|is not a constant address)"
        r"|(?:arg#\d+|R\d+) must be a known constant",
        "an argument must be a constant that the verifier knows",
    ),
    Rule(
        "arg-number",
        "helper-arg",
        rf"{_REG} is not a (?:pointer to arena or )?scalar",
        "{reg} must be a number",
    ),
    Rule(
        "arg-string",
        "helper-arg",
        r"(?:Invalid format string|string is not zero-terminated|direct value access on string failed"
        r"|(?:R\d+|arg#\d+) (?:does not|doesn't) point to a (?:readonly map|const string)"
        r"|R\d+ points to \S+ map which cannot be used as const string)",
        "the string must be a constant in read-only memory, terminated, with formats that the helper knows",
    ),
    Rule(
        "size-unbounded",
        "helper-arg",
        rf"{_REG} unbounded (?:memory access|size), use 'var &= const'",
        "{reg}, a length, has no upper bound",
    ),
    Rule(
        "size-negative",
        "helper-arg",
        rf"{_REG} min value is negative, either use unsigned or 'var &= const'",
        "{reg}, a length, may be negative",
    ),
    Rule(
        "size-zero",
        "helper-arg",
        r"(?:R\d+ )?invalid zero-sized read|invalid access to map value, value_size=\d+ off=-?\d+ size=0$",
        "the length may be 0, which this helper does not accept",
        advice="The bounds of the length include 0: exclude it just before the call (if (len == 0 || len > MAX) "
        "return), "
        "or leave out the call for an empty range.",
        wordings="up to 6.1 an invalid access of size 0; with the register and its bounds since 6.8",
    ),
    Rule(
        "arg-memory",
        "helper-arg",
        r"\S+ (?:and )?\S+ memory, len pair leads to invalid memory access",
        "the memory and the length passed for it do not match",
        second=True,
    ),
    Rule(
        "arg-size-unknown",
        "helper-arg",
        r"(?:arg#\d+|R\d+) reference type\(.*\) (?:size cannot be determined|.*)|R\d+ rdonly/rdwr_buf_size",
        "the size of what an argument points to is not known",
    ),
    Rule(
        "arg-unsupported",
        "helper-arg",
        r"Unrecognized arg#\d|reg type unsupported for arg#\d"
        r"|(?:arg#\d+|R\d+) doesn't point to a map value|Helper has invalid btf|(?:unknown|invalid) return type \d"
        r"|arg#\d+ (?:type|has|should be|arena) .*|(?:arg#\d+|R\d+) expected for \S+"
        r"|Unsupported reg type|verifier bug: unrecognized arg|R\d+ memory size \d+ is too large"
        r"|R\d+ allocation size exceeds|only one (?:allocation size|constant) argument|func \S+: r1 != ctx",
        "an argument has a type that this kernel does not accept here",
    ),
    Rule(
        "arg-typeid",
        "helper-arg",
        r".*type ID argument must|local type ID argument|bpf_obj_new/bpf_percpu_obj_new|bpf_percpu_obj_new type"
        r"|kfunc bpf_rdonly_cast type ID|Unknown type ID \d+ passed to kfunc",
        "the type given by its BTF id does not fit this call",
    ),
    # -- maps and helpers
    Rule(
        "map-helper",
        "map-use",
        r"cannot pass map_type (?P<type>\d+) into func (?P<func>\S+)|cannot update sockmap in this context"
        r"|invalid arg_type for sockmap|expected prog array map for tail call|callback function not allowed for map"
        r"|invalid map_ptr to access map->|(?:arg#\d+|R\d+)? ?pointer in R\d+ isn't map pointer"
        r"|get_local_storage\(\) doesn't support|tail_call abusing map_ptr|(?:arg#\d+|R\d+) is not a map",
        "this helper does not work on a map of this type",
    ),
    Rule(
        "map-fields",
        "map-use",
        r"map_ptr access not supported",
        "the fields of this type of map cannot be read",
    ),
    # -- special fields
    Rule(
        "field-map-btf",
        "special-field",
        r"map '\S+' has to have BTF in order to use|(?:map )?'?\S* ?'\S+' has no valid \S+|map '\S+' has no valid",
        "the map has no type information that shows the special field",
    ),
    Rule(
        "field-place",
        "special-field",
        rf"{_REG} doesn't have constant offset\. |off -?\d+ doesn't point to 'struct bpf_|\S+ not found at offset="
        r"|(?!dynptr|iter)\S+ has to be at (?:a|the) constant offset|off=\d+ doesn't point to kptr"
        r"|off=\d+ kptr isn't referenced"
        r"|R\d+ has no valid kptr|\S+ doesn't point to map value or allocated object|(?:arg#\d+"
        r"|R\d+) offset=\d+, but expected|operation on \S+ expects (?:arg#\d+|R\d+)",
        "the argument does not point to the special field",
    ),
    Rule(
        "field-direct",
        "special-field",
        r"\S+ cannot be accessed (?:directly by load/store|indirectly by helper)|direct access to bpf_|kptr in map"
        r"|kptr cannot|\S+ access (?:cannot have variable offset|misaligned expected=|size must be BPF_DW)"
        r"|invalid kptr access|store to (?:referenced kptr|uptr) disallowed"
        r"|BPF_ST imm must be 0 when storing to kptr",
        "a special field is accessed with an ordinary load or store",
    ),
    Rule(
        "field-graph",
        "special-field",
        r"(?:timer|workqueue|task work|\S+) pointer in R1 map_uid=|rbtree_remove|can't (?:res_)?spin_\{lock,unlock\}"
        r"|R\d+ can only take non-owning or refcounted|.*not allowed in rbtree cb|.*types with NMI unsafe fields"
        r"|Calling bpf_rcu_read_\{lock,unlock\}|(?:arg#\d+|R\d+) doesn't point to a type with bpf_refcount"
        r"|(?:func|R\d+).* non-overwritten BPF_PTR_POISON|bpf_timer cannot be used|bpf_(?:timer|wq"
        r"|task_work) .*PREEMPT"
        r"|(?:socket filter|sleepable) progs cannot use bpf_|held lock and object are not in the same"
        r"|bpf_spin_lock at off=\d+ must be held",
        "a special field is used with a map, lock or place that it does not belong to",
    ),
    Rule(
        "field-tracing",
        "special-field",
        r"tracing progs cannot use (?P<what>bpf_\w+)",
        "{what} may not be used by programs of this type",
        advice="Keep such a map for programs of other types (tc, XDP, cgroup, struct_ops, fentry), and use atomic "
        "operations or per-CPU maps here: programs of kprobes, tracepoints, raw tracepoints and perf events cannot use "
        "maps with {what}.",
    ),
    # -- return values, functions
    Rule(
        "return-range",
        "return-value",
        r"(?P<where>At program exit|At \S+ \S+|At \S+ callback return"
        r"|In \S+ callback) ?the register R0 has (?P<has>.*?) "
        r"?should have been (?:in )?(?P<want>.*)",
        "the return value is not one of {want}: {has}",
        advice="Return a value of {want} on every path; clamp a computed one first, or return 0 for what it "
        "does not fit.",
        wordings="up to 4.19: should have been 0 or 1; 5.10 to 6.6: value (0x2; 0x0) ... in (0x0; 0x1); 6.8: "
        "smin=2 smax=2 ... in [0, 1]",
    ),
    Rule(
        "return-kind",
        "return-value",
        r"(?:At .*|In .*)?the register R\d+ is not a (?:known value|scalar value)|R0 not a scalar value"
        r"|.* register R0 has unknown scalar value$",
        "the value returned is not a number",
    ),
    Rule(
        "global-args",
        "subprog",
        r"Caller passes invalid args into func#\d+",
        "the arguments do not meet the requirements of the global function",
        second=True,
    ),
    Rule(
        "global-prototype",
        "subprog",
        r"The function (?P<func3>\S+) (?:has|return|with|arg).*|arg\d+ (?:in )?\S+\(.*|Return type .*"
        r"|\S+\(\) has \d+ args.*"
        r"|Global function (?P<func>\S+?)\(?\)? (?:doesn't return scalar|return value not|with)|Global function .*"
        r"|stack arg write offset|r11 load must be|invalid read from stack arg|callee expects \d+ args"
        r"|func#\d+ writes \d+ stack"
        r"|tail_calls are not allowed in programs with stack args|global function .*stack args not supported"
        r"|kernel supports at most \d+ parameters|freplace programs with >\d+ args|unreliable BTF for function"
        r"|Function (?P<func2>\S+) has \d+ > \d+ args|.* (?:cannot return void|is not a global function)",
        "the prototype of a global function is not one that the verifier can check on its own",
    ),
    Rule(
        "global-argument",
        "subprog",
        r"Arg#(?P<arg>\d+) type (?P<what>\S+) in (?P<func>\w+)\(\) is not supported yet",
        "argument {arg} of the global function {func} has a type ({what}) that this kernel does not accept there",
        kind="feature-missing",
        advice="Make the function static (static __noinline), which is checked with its caller, or pass numbers: "
        "global functions take pointers to memory since Linux 5.13, before only numbers and the context.",
        wordings="pointers to memory since 5.13",
    ),
    Rule(
        "exception",
        "subprog",
        r"bpf_throw (?!cannot be used inside)|exception c(?:b|allback)|insn \d+ cannot call exception cb"
        r"|cannot tail call within exception"
        r"|multiple exception callback|invalid exception callback",
        "exceptions or their callback are used wrongly",
    ),
    Rule(
        "callback",
        "subprog",
        r"callback function not static|callback function cannot be|arg\d+ expected pointer to func"
        r"|(?:R\d+|arg#\d+) expected pointer to func|kfunc \S+ failed callback verification"
        r"|(?!.*BPF_LD_).* within callback|BUG: in callback",
        "the callback is not a function that the helper can call",
    ),
    # -- helpers and kernel functions
    Rule(
        "map-unresolved",
        "core-reloc",
        r"invalid func \S*#200[01]\d{6}\b|BPF map '(?P<map>[^']+)' is referenced but wasn't created",
        "the program uses a map that could not be created on this kernel",
    ),
    Rule(
        "kfunc-unresolved",
        "kfunc",
        r"invalid func \S*#200[23]\d{6}\b|kfunc '(?P<func>[^']+)' is referenced but wasn't resolved"
        r"|invalid kernel function call not eliminated in verifier pass",
        "a kernel function that this kernel does not have is called: {func}",
        advice="This kernel and its modules do not have {func}: a newer kernel may, or the module that defines "
        "it has to "
        "be loaded. Declare it __weak and check bpf_ksym_exists({func}) before the call, with a fallback.",
    ),
    Rule(
        "core-unresolved",
        "core-reloc",
        r"invalid func \S*#195896080\b",
        "code is reached that needs a type, field or value this kernel does not have",
    ),
    Rule(
        "helper-missing",
        "unknown-func",
        r"invalid func (?P<func>\S*)#(?P<id>-?(?!195896080\b|200\d{7}\b)\d+)",
        "this kernel has no helper number {id}",
        kind="feature-missing",
    ),
    Rule(
        "helper-sleepable-old",
        "sleepable",
        rf"unknown func (?P<func>bpf_{_SLEEPABLE})#",
        "{func} is only for sleepable programs",
        wordings="up to 6.6; later: might sleep in a non-sleepable prog",
    ),
    Rule(
        "helper-locked",
        "unknown-func",
        r"program of this type cannot use helper (?P<func>bpf_probe_read_kernel(?:_str)?)#",
        "this kernel lets no program of this loader read kernel memory with {func}",
        kind="environment",
        advice="Look at /sys/kernel/security/lockdown and give the loader CAP_PERFMON: this kernel has {func}() for "
        "every type of program, so it is switched off here. Lockdown (confidentiality; Secure Boot may switch it on) "
        "forbids reads of kernel memory; fields of typed pointers (fentry, tp_btf) can be read without it.",
        wordings="these words are of 6.8 and later",
    ),
    Rule(
        "helper-later",
        "unknown-func",
        rf"(?:unknown func|program of this type cannot use helper(?! bpf_probe_read_kernel)) "
        rf"(?P<func>bpf_(?:{_FOR_ALL}))#",
        "this kernel gives {func} to other types of programs only; later ones give it to all",
        kind="feature-missing",
    ),
    Rule(
        "helper-not-here",
        "unknown-func",
        rf"(?:unknown func (?!bpf_{_SLEEPABLE}#)|program of this type cannot use helper )"
        rf"(?P<func>(?!bpf_(?:{_FOR_ALL})#)\S+)#\d+",
        "this type of program may not call {func}",
        wordings="unknown func up to 6.6, program of this type cannot use helper since 6.8",
    ),
    Rule(
        "helper-attach",
        "unknown-func",
        r"func (?P<func>\S+)#\d+ (?:supported only for|not supported for|is not supported)"
        r"|helper call is not allowed in probe|(?!map_ptr|calling kernel).* not supported without CONFIG_",
        "this helper is not available to programs attached like this one, or not in this kernel configuration",
    ),
    Rule(
        "kfunc-old",
        "kfunc",
        r"BPF_CALL uses reserved fields",
        "a kernel function is called, which this kernel does not support (5.13 and later do)",
    ),
    Rule(
        "kfunc-missing",
        "kfunc",
        r"cannot find address for kernel function|failed to find BTF for kernel function|kernel btf_id \d+ is not"
        r"|kernel function btf_id \d+|address of kernel function|(?:kernel )?btf_id \d+ is not a kernel function"
        r"|cannot find function \S+ in BTF",
        "this kernel does not have the kernel function that is called",
    ),
    Rule(
        "kfunc-not-here",
        "kfunc",
        r"calling kernel function (?P<func>\S+) is not allowed|kernel func(?:tion)? \S+ (?:does not|is not allowed)"
        r"|metadata kfuncs|kfunc \S+ .*(?:not allowed|not supported)",
        "this type of program may not call the kernel function",
        kind="safety",
        advice="Call it from a type of program that it is registered for (register_btf_kfunc_id_set() in the kernel "
        "or module names them; newer kernels have more): the function exists, but not for this type. A "
        "function of your own needs a set of ids with that type.",
    ),
    Rule(
        "kfunc-limits",
        "kfunc",
        r"too many different (?:kernel function|module BTF)|kfunc offset > 0|invalid module BTF(?! object)"
        r"|BTF fd for kfunc"
        r"|negative offset disallowed for kernel module|kernel function \S+ (?:returns pointer|unhandled)"
        r"|acquire kernel function|2 or more rdonly|max struct nesting",
        "the call of a kernel function is not one that this kernel accepts",
        kind="environment",
    ),
    # -- licence, privileges, sleeping
    Rule(
        "licence",
        "licence",
        r".*GPL-restricted function|.*GPL only function|.*non-GPL compatible|.*must have a GPL compatible licen[sc]e",
        "this needs a GPL-compatible licence, and the program declares another",
    ),
    Rule(
        "leaks-address",
        "privilege",
        rf"{_REG} leaks addr (?P<what>.*)|R\d+ pointer comparison prohibited",
        "an address of the kernel would become visible to the program's owner",
    ),
    Rule(
        "needs-capability",
        "privilege",
        r".*(?:allowed for CAP_BPF|(?:only|require[sd]?|are required).*CAP_|CAP_\w+ (?:and|are|is|capability))"
        r"|.*allowed only to CAP_|(?!uninit stack).*prohibited for !root|R\d+ has unknown scalar with mixed"
        r"|.*for speculative verification|.*unsupported alu operation"
        r"|.*from different maps, paths|.*tried to \S+ beyond pointer bounds|.*allowed for root only",
        "only a loader with more capabilities may do this",
    ),
    Rule(
        "may-sleep",
        "sleepable",
        r"(?!Only |Sleepable programs)(?:.*might sleep|.*is sleepable within|sleepable \S+.* in "
        r"|program must be sleepable"
        r"|.*may sleep|.*non-sleepable)",
        "a call that may sleep, where sleeping is not allowed",
        wordings="5.10, 6.1: unknown func; 6.6: might sleep in a non-sleepable prog; 7.2: sleepable helper X in",
    ),
)
