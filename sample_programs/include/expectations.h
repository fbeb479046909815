/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What is expected of a program, said beside it. Each macro leaves a BTF declaration tag in the object; pytest collects
 * such an object as a test file, one item per program and kernel, with no Python at all:
 *
 *     SEC("xdp")
 *     __failure __msg("invalid access to packet, off={{[0-9]+}}")
 *     int too_far(struct xdp_md *ctx) { ... }
 *
 *     $ pytest too_far.bpf.o --bpf-kernels=5.10,6.1,7.2
 *
 * The names are those of the kernel's own selftests (tools/testing/selftests/bpf), whose objects are understood as they
 * are; __kernel() is ours. The whole table: docs/expectations.md.
 *
 * Needs clang 14 and -g. A program needs to be global (not static), or its tags are about nobody.
 */
#ifndef PYTEST_EBPF_EXPECTATIONS_H
#define PYTEST_EBPF_EXPECTATIONS_H

#ifdef __BPF_MISC_H__
#error "bpf_misc.h of the kernel's selftests has the same macros: include one of the two"
#endif

#define EXPECT_TEXT(x) #x
#define EXPECT_VALUE(x) EXPECT_TEXT(x)
/* Compilers may emit tags in any order; the number gives the order of the source back. */
#define EXPECT(tag) __attribute__((btf_decl_tag("comment:" EXPECT_VALUE(__COUNTER__) ":" tag)))

/* The verdict: the kernel loads the program, or refuses it. */
#define __success EXPECT("test_expect_success")
#define __failure EXPECT("test_expect_failure")

/* The verifier log: texts in the order they stand here, {{regex}} inside; and what must not come between them. */
#define __msg(text) EXPECT("test_expect_msg=" text)
#define __not_msg(text) EXPECT("test_expect_not_msg=" text)
/* 1: the last path, 2: everything, 4: figures; sums are fine. */
#define __log_level(level) EXPECT("test_log_level=" EXPECT_VALUE(level))

/* The run: once, on 64 bytes of zeros. POINTER_VALUE: any value will do. */
#define __retval(value) EXPECT("test_retval=" EXPECT_VALUE(value))
#define __stdout(line) EXPECT("test_expect_stdout=" line)
#define __stderr(line) EXPECT("test_expect_stderr=" line)
#define __linear_size(bytes) EXPECT("test_linear_size=" EXPECT_VALUE(bytes))
#define POINTER_VALUE 0xbadcafe
#define TEST_DATA_LEN 64

/* The code after verification, and the machine code (behind an __arch_ macro): each line follows the one before,
 * unless __xlated("...") stands between them. */
#define __xlated(line) EXPECT("test_expect_xlated=" line)
#define __jited(line) EXPECT("test_jited=" line)

/* How it is loaded. A flag by its name or number; !flag takes it away. */
#define __flag(flag) EXPECT("test_prog_flags=" EXPECT_TEXT(flag))
#define __btf_path(path) EXPECT("test_btf_path=" path)
#define __auxiliary EXPECT("test_auxiliary")
#define __description(text) EXPECT("test_description=" text)

/* Where it applies: __kernel(">=5.15,<6.12"), a machine, a kernel that compiles programs (or does not). */
#define __kernel(releases) EXPECT("test_kernel=" releases)
#define __kconfig_check(option) EXPECT("test_kconfig=" option)
#define __arch(name) EXPECT("test_arch=" name)
#define __arch_x86_64 __arch("X86_64")
#define __arch_arm64 __arch("ARM64")
#define __arch_riscv64 __arch("RISCV64")
#define __arch_s390x __arch("s390x")
#define __arch_loongarch __arch("LOONGARCH")
#define __load_if_JITed() EXPECT("load_mode=jited")
#define __load_if_no_JITed() EXPECT("load_mode=no_jited")

/* The same for a load without capabilities; what is not said here is taken from above. */
#define __success_unpriv EXPECT("test_expect_success_unpriv")
#define __failure_unpriv EXPECT("test_expect_failure_unpriv")
#define __msg_unpriv(text) EXPECT("test_expect_msg_unpriv=" text)
#define __not_msg_unpriv(text) EXPECT("test_expect_not_msg_unpriv=" text)
#define __xlated_unpriv(line) EXPECT("test_expect_xlated_unpriv=" line)
#define __jited_unpriv(line) EXPECT("test_jited_unpriv=" line)
#define __stdout_unpriv(line) EXPECT("test_expect_stdout_unpriv=" line)
#define __stderr_unpriv(line) EXPECT("test_expect_stderr_unpriv=" line)
#define __retval_unpriv(value) EXPECT("test_retval_unpriv=" EXPECT_VALUE(value))
#define __auxiliary_unpriv EXPECT("test_auxiliary_unpriv")
/* Capabilities that it keeps: __caps_unpriv(CAP_BPF|CAP_NET_ADMIN) */
#define __caps_unpriv(caps) EXPECT("test_caps_unpriv=" EXPECT_VALUE(caps))
#define CAP_NET_ADMIN 12
#define CAP_SYS_ADMIN 21
#define CAP_PERFMON 38
#define CAP_BPF 39

#endif
