// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: hooks on a kernel function. bpf_fentry_test1(int a) is a function the kernel keeps for tests: it returns
 * a + 1, and test runs of tracing programs call it with a = 1. */
#include "lesson.h"
#include <bpf/bpf_tracing.h>

u64 entered = 0;
u64 left = 0;
int last_argument = 0;
int last_result = 0;

SEC("fentry/bpf_fentry_test1")
int BPF_PROG(count_entry, int a)
{
	__sync_fetch_and_add(&entered, 1);
	last_argument = a;
	return 0;
}

SEC("fexit/bpf_fentry_test1")
int BPF_PROG(count_exit, int a, int result)
{
	__sync_fetch_and_add(&left, 1);
	last_result = result;
	return 0;
}

LICENSE("Dual MIT/GPL");
