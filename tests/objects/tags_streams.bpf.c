/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Streams: the kernel reports on stream 2 of a program that it ended a loop which took too long. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../../sample_programs/include/expectations.h"

SEC("syscall")
__kernel(">=6.17") __load_if_JITed()
__success __retval(7)
__stderr("ERROR: Timeout detected for may_goto instruction") __stderr("...") __stderr("Call trace:")
int spins_until_stopped(void *ctx)
{
	/* may_goto, which the assembler of clang 14 has no word for: goes to "out" once its time is up */
spin:
	asm volatile goto("at%=: .byte 0xe5, 0; .long ((%l[out] - at%= - 8) / 8) & 0xffff; .short 0" : : : : out);
	goto spin;
out:
	return 7;
}

SEC("syscall")
__kernel(">=6.17") __retval(0) __stdout("hello")
int says_nothing(void *ctx)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
