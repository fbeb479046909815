/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 7: see static_one.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static volatile int limit = 2;
static const volatile int fixed = 20;
static volatile int calls;

int second_only = 9;
int shared = 200;

static __attribute__((noinline)) int step(struct __sk_buff *ctx)
{
	return ctx->mark + 2 * limit;
}

SEC("tc") int two(struct __sk_buff *ctx)
{
	calls += 10;
	return step(ctx) + fixed + shared;
}

char _license[] SEC("license") = "GPL";
