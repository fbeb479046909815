"""What loaders print when they stop before the verifier, or after it: one row for each, with what to do about it.

No kernel message is known here: libbpf, libxdp, Aya, cilium/ebpf, bcc, bpftrace and bpftool look at the object, the
kernel's types and the maps first. Rows are tried in order, the specific ones first.
"""

from __future__ import annotations

import re

from pytest_ebpf.verifier.rejection.loader_rule import LoaderRule
from pytest_ebpf.verifier.rejection.loader_rules_maps import MAP_LOADER_RULES

__all__ = ["LOADER_RULES", "find_loader_rule"]

_ERR = r"(?P<err>[^\n]*)"
_LIBC = (
    r"mem(?:set|cpy|move|cmp|chr)|str(?:n?len|n?cmp|n?cpy|lcpy|chr|str|n?cat)|s?n?printf|puts|malloc|free|calloc"
    r"|abort|exit|"
    r"__stack_chk_fail|__\w+(?:di|ti|sf|df)\d"
)


_FIRST_RULES: tuple[LoaderRule, ...] = (
    LoaderRule(
        "build-step",
        "unknown",
        *("", ""),
        r"failed to find BTF for extern '(?P<what>[^']+)'[\s\S]*(?:failed to open BPF object file|gen skeleton|skel)",
        "the object could not be opened while a skeleton was made: nothing declares the extern {what}; no kernel was "
        "asked",
        "Declare {what} as extern with __ksym (a kernel function or variable), __kconfig or __hidden, build with -g "
        "so that "
        "the object has its BTF, and use a libbpf and bpftool that know this kind of extern.",
        "libbpf.c, bpftool gen skeleton",
    ),
    LoaderRule(
        "extern-libc",
        "rejected",
        "bad-code",
        "safety",
        rf"(?:failed to find BTF for extern|extern(?: \(\w+ \w+\))?|undefined (?:symbol|reference to)"
        rf"|symbol) ['\"`](?P<what>{_LIBC})['\"`]",
        "the object calls {what}(), a function of the C library that nothing defines in BPF",
        "There is no C library in BPF. The compiler makes such calls of its own for big initialisations and copies: "
        "use "
        "__builtin_memset() and __builtin_memcpy() with a constant size, clear big structures in a loop or keep them "
        "in a "
        "map, and build with -O2.",
        "libbpf.c",
    ),
    LoaderRule(
        "kfunc-extern",
        "rejected",
        "kfunc",
        "feature-missing",
        r"extern \(func ksym\) '(?P<what>[^']+)':? .*|failed to find BTF for extern '(?P<what2>bpf_\w+|scx_\w+)'",
        "the kernel function {what} is not in this kernel or its modules",
        "Declare {what} __weak and ask bpf_ksym_exists({what}) before the call, with a fallback; or load the module "
        "that has "
        "it, or a newer kernel.",
        "libbpf.c",
    ),
    LoaderRule(
        "variable-extern",
        "rejected",
        "btf",
        "environment",
        r"extern \(var ksym\) '(?P<what>[^']+)':? .*|failed to find BTF for extern '(?P<what2>\w+)'",
        "the extern {what} is not a variable that this kernel's BTF has",
        "Only per-CPU variables are in the kernel's BTF. Declare {what} __weak with __ksym and test its address; a "
        "symbol "
        "without a type is found with CONFIG_KALLSYMS_ALL and 'extern const void {what} __ksym'.",
        "libbpf.c",
    ),
    LoaderRule(
        "config-extern",
        "rejected",
        "core-reloc",
        "feature-missing",
        r"extern \(kcfg\) '(?P<what>[^']+)'.*|failed to find kconfig value for '(?P<what2>[^']+)'",
        "the kernel's configuration has no value for {what}",
        "Declare {what} __weak with __kconfig: it is 0 where the configuration does not set it. The configuration is "
        "read from "
        "/proc/config.gz (CONFIG_IKCONFIG_PROC) or /boot/config-*.",
        "libbpf.c",
    ),
    LoaderRule(
        "probe-privilege",
        "rejected",
        "privilege",
        "environment",
        r"bpf_object__probe_loading\(\):? ?(?:Operation not permitted|[^\n]*\((?:-?1|EPERM)\))"
        r"|MEMLOCK may be too low|"
        r"(?:Failed to (?:bump|increase|raise)|raise|set) RLIMIT_MEMLOCK[^\n]*[\s\S]*not permitted",
        "the loader may not call bpf() at all: even a trivial program is refused (EPERM)",
        "Load with CAP_BPF and CAP_PERFMON (before 5.8 CAP_SYS_ADMIN). Root inside a container has them only if it "
        "is given "
        "them: run it privileged or add the capabilities, and let its seccomp profile pass bpf(2). Before 5.11 also "
        "raise "
        "RLIMIT_MEMLOCK. Kernel lockdown and kernel.unprivileged_bpf_disabled forbid it likewise.",
        "libbpf.c",
    ),
    LoaderRule(
        "probe-other",
        "rejected",
        "no-verdict",
        "environment",
        rf"bpf_object__probe_loading\(\):? ?{_ERR}",
        "the kernel does not even load a trivial program: {err}",
        "Nothing is wrong with this object. The kernel needs CONFIG_BPF_SYSCALL; the loader needs CAP_BPF (or "
        "CAP_SYS_ADMIN) "
        "and, before 5.11, a high RLIMIT_MEMLOCK.",
        "libbpf.c",
    ),
    LoaderRule(
        "lockdown",
        "rejected",
        "privilege",
        "environment",
        r"[Ll]ockdown: .*(?:bpf|BPF|kernel RAM)|unprivileged_bpf_disabled|Unprivileged (?:eBPF|BPF) is disabled",
        "the kernel forbids this use of BPF: lockdown, or BPF is for privileged processes only",
        "Load with CAP_BPF and CAP_PERFMON. Under lockdown=confidentiality (Secure Boot may switch it on) programs "
        "may not "
        "read kernel memory at all.",
        "kernel log, sysctl",
    ),
    LoaderRule(
        "lsm-off",
        "unknown",
        "attach-target",
        "environment",
        r"(?<!assuming )BPF LSM (?:is )?(?:not|isn't) (?:enabled|supported|available)"
        r"|lsm=[\w,]*bpf|support (?:the )?(?:bpf|BPF) LSM",
        "this kernel runs no LSM programs: the bpf LSM is not built in or not switched on",
        "The kernel needs CONFIG_BPF_LSM=y (Linux 5.7), and bpf in its list of security modules: see "
        "/sys/kernel/security/lsm, and add it on the command line (lsm=...,bpf) or in CONFIG_LSM.",
        "tetragon, KubeArmor, security-profiles-operator",
    ),
    LoaderRule(
        "no-btf-target",
        "rejected",
        "attach-target",
        "environment",
        r"failed to find kernel BTF type ID of '(?P<what>[^']+)'|(?:^"
        r"|\s)'?(?P<what2>\w+)'? is not found in vmlinux BTF"
        r"|(?:kernel )?(?:function|target|symbol) ['\"`]?(?P<what3>\w+)['\"`]? (?:was |is )?not found"
        r"|can't find kernel function (?P<what4>\w+)",
        "{what} is not a function that programs of this kernel can be attached to",
        "This kernel's BTF has no function {what}: it was inlined, renamed, is static, or belongs to a module that "
        "is not "
        "loaded. Look for it with: bpftool btf dump file /sys/kernel/btf/vmlinux | grep {what}, and in "
        "/proc/kallsyms; try "
        "several targets in turn (autoload off for those that are not there).",
        "libbpf.c",
    ),
    LoaderRule(
        "no-kernel-btf",
        "rejected",
        "btf",
        "environment",
        r"failed to find valid kernel BTF|Error loading vmlinux BTF|(?:kernel|vmlinux) BTF (?:is )?(?:not found"
        r"|missing|not available)"
        r"|[Kk]ernel (?:doesn't|does not) (?:have|support) BTF|no BTF found for kernel"
        r"|/sys/kernel/btf/vmlinux[^\n]*(?:no such|not found|No such)"
        r"|load kernel spec: no BTF|not supported: .*kernel.*BTF|BPF CO-RE.*not supported",
        "this kernel has no type information of its own (BTF), which the object needs for CO-RE",
        "Nothing is wrong with the object. The kernel needs CONFIG_DEBUG_INFO_BTF=y (most distributions have it "
        "since 5.5 or "
        "later: /sys/kernel/btf/vmlinux); for older kernels give the loader a file from BTFHub (btf_custom_path in "
        "libbpf).",
        "libbpf.c, btf.c, ebpf/btf",
    ),
    LoaderRule(
        "btf-optional",
        "unknown",
        *("", ""),
        r"BTF is optional, ignoring|(?:BTF|btf)[^\n]*(?:optional|ignoring)",
        "the kernel refused the object's BTF, which is optional: the loader went on without it",
        "This is harmless for programs that need no BTF. The kernel is too old for a part of it (an empty .maps "
        "section, "
        "function or enum64 types): a newer libbpf rewrites those; without BTF there are no source lines in logs.",
        "libbpf.c",
    ),
    LoaderRule(
        "btf-mandatory",
        "rejected",
        "btf",
        "environment",
        r"BTF is (?:mandatory|required)[^\n]*|-+ BEGIN BTF LOAD LOG -+"
        r"|Error loading (?:\.)?BTF(?: into kernel)?: (?P<err>[^\n]*)"
        r"|load BTF: [^\n]*|unable to load BTF[^\n]*",
        "the kernel refused the object's type information (BTF)",
        "The lines of the BTF log name the type: the kernel is too old for it, or it is damaged (a linker or a strip "
        "that "
        "knows no BTF). Use a newer libbpf, which rewrites types for old kernels, or build with an older -mcpu and "
        "without "
        "BTF for programs that need none.",
        "libbpf.c, btf.c",
    ),
)

_LAST_RULES: tuple[LoaderRule, ...] = (
    LoaderRule(
        "bcc-too-complex",
        "rejected",
        "too-complex",
        "limit",
        r"Program\s+too large \((?P<insns>[1-3]?\d{1,3}|40[0-8]\d|409[0-6]) insns\), at most 4096 insns",
        "the verifier walked 1,000,000 instructions and gave up; the program itself has only {insns}",
        "bcc prints this sentence for every E2BIG. Shorten loops or give them smaller bounds, move their body into a "
        "function for bpf_loop(), split the program.",
        "bcc/libbpf.c",
    ),
    LoaderRule(
        "bcc-too-large",
        "rejected",
        "too-complex",
        "limit",
        r"Program\s+too large \((?P<insns>\d+) insns\), at most (?P<most>\d+) insns",
        "the program has {insns} instructions, {most} are allowed; or the verifier walked 1,000,000 and gave up",
        "Kernels before 5.2, and programs without privileges, have at most 4096 instructions. Shorten loops, do not "
        "unroll them, split the program with tail calls.",
        "bcc/libbpf.c",
    ),
    LoaderRule(
        "log-buffer",
        "rejected",
        "no-verdict",
        "environment",
        r"log buffer (?:is )?(?:not|isn't) (?:big|large) enough|BPFTRACE_LOG_SIZE|log buffer (?:is )?too small"
        r"|verifier log.*ENOSPC"
        r"|BPF_PROG_LOAD[^\n]*ENOSPC",
        "the log did not fit into the loader's buffer (ENOSPC): what the verifier decided is not known",
        "Only the buffer is too small, the program may be all right. bpftrace: set BPFTRACE_LOG_SIZE to a bigger "
        "number, or "
        "run without -v; elsewhere give the loader a bigger buffer or a lower log level.",
        "bpftrace/bpfprogram.cpp",
    ),
    LoaderRule(
        "core-anonymous",
        "rejected",
        "core-reloc",
        "safety",
        r"target candidate search failed for \[\d+\] (?:struct|union)\s*:",
        "a CO-RE relocation is against a structure without a name, which the loader cannot look for in the kernel",
        "The access goes through an anonymous structure or union (of bpf_attr, for example): give it a name of its own "
        "with the same fields, leave preserve_access_index off for this type, or copy the whole and read it from "
        "there. No kernel was asked.",
        "libbpf.c",
    ),
    LoaderRule(
        "core-words",
        "rejected",
        "core-reloc",
        "feature-missing",
        r"(?:relo #\d+: )?failed to (?:resolve|perform|apply"
        r"|relocate) (?:local )?CO-RE(?: relocation)?:?(?P<what>[^\n]*)"
        r"|CO-RE relocat\w+[^\n]*no matching targets[^\n]*|apply CO-RE relocations?: (?P<what2>[^\n]*)"
        r"|bad CO-RE relocation",
        "a CO-RE relocation has no target in this kernel: {what}",
        "Guard it: bpf_core_field_exists(), bpf_core_type_exists(), bpf_core_enum_value_exists(), with a fallback "
        "for kernels "
        "without it.",
        "libbpf.c, ebpf/btf/core.go",
    ),
    LoaderRule(
        "core-poisoned",
        "unknown",
        "core-reloc",
        "feature-missing",
        r"relo #\d+: no matching targets found",
        "a CO-RE relocation has no target in this kernel; that alone refuses no program",
        "The loader makes the instruction invalid, which counts only if it is reached: guard it with "
        "bpf_core_field_exists() or bpf_core_type_exists() and a fallback. The lines before (relo #N with the type "
        "and field, non-matching candidates) say what is missing; the verifier's log says whether it was reached.",
        "libbpf.c",
    ),
    LoaderRule(
        "attach",
        "unknown",
        *("", ""),
        r"prog '(?P<what>[^']+)': failed to (?:auto-)?attach[^\n]*|[Ff]ailed to (?:auto-)?attach[^\n]*"
        r"|prog '(?P<what2>[^']+)': failed to create BPF link[^\n]*|PERF_EVENT_IOC_SET_BPF[^\n]*"
        r"|creating (?:perf_[ku]probe|trace event) [^\n]*"
        r"|[Ee]rror attaching[^\n]*"
        r"|attach(?:ing)?[^\n]*: (?:[Dd]evice or resource busy|[Ff]ile exists|[Nn]o such file"
        r"|[Oo]peration not supported)[^\n]*"
        r"|bpf_link_create[^\n]*|attaching \S+ returned[^\n]*",
        "the program was loaded; attaching it failed",
        "The verifier has nothing to do with it. EBUSY, EEXIST: something is attached there already (bpftool link, "
        "bpftool net, "
        "another scheduler or XDP program): detach it or replace it. ENOENT: the attach target does not exist. EACCES "
        "of a tracepoint: the program reads beyond the event's fields (compare its structure with the event's format "
        "file). EINVAL, EOPNOTSUPP: the target takes no program of this type or with these flags; a kprobe program "
        "before 5.0 needs the version of the running kernel.",
        "libbpf.c",
    ),
    LoaderRule(
        "section-name",
        "unknown",
        *("", ""),
        r"(?:missing BPF prog type, check|unrecognized) ELF section name '(?P<what>[^']+)'"
        r"|program for section '(?P<what3>[^']+)' not found|invalid (?:section"
        r"|program) name ['\"](?P<what2>[^'\"]+)",
        "the loader does not know the section {what}: no kernel was asked",
        'Name the section after the program type and its target, as in SEC("xdp") or SEC("fentry/vfs_read").',
        "libbpf.c",
    ),
    LoaderRule(
        "kernel-btf-new",
        "unknown",
        *("", ""),
        r"(?:parse|read|load)[^\n]*BTF[^\n]*(?:header|unsupported|unknown kind|invalid)[^\n]*"
        r"|BTF[^\n]*(?:unexpected header|header length|unknown kind|unsupported version)[^\n]*",
        "the loader cannot read the type information (BTF) of this kernel, which is newer than the loader: no program "
        "was refused",
        "Update the loader, or the library that it is built with: a newer kernel may have a longer BTF header and new "
        "kinds of types. The program and its object are not at fault.",
        "ebpf/btf, aya-obj, libbpf",
    ),
    LoaderRule(
        "object",
        "unknown",
        *("", ""),
        r"failed to open(?: BPF)? object[^\n]*|elf: (?:failed to open|'[^']*' is not)[^\n]*|(?:error"
        r"|failed) (?:parsing|to parse) "
        r"(?:the )?(?:BPF|ELF|eBPF)[^\n]*|not an? (?:valid |proper )?(?:ELF|eBPF)[^\n]*|legacy map definitions[^\n]*",
        "the loader could not read the object: no kernel was asked",
        "Look at the path and at the loader's own lines; build with clang -target bpf -g -O2, and use a loader that "
        "is as new "
        "as the object.",
        "libbpf.c, aya-obj",
    ),
)

LOADER_RULES = _FIRST_RULES + MAP_LOADER_RULES + _LAST_RULES


def find_loader_rule(words: str) -> tuple[LoaderRule, dict[str, str]] | None:
    """The first row whose pattern is in the words of a loader, and what its groups found."""
    for rule in LOADER_RULES:
        found = re.search(rule.pattern, words)
        if found is not None:
            return rule, {name.rstrip("2345"): text for name, text in found.groupdict().items() if text}
    return None
