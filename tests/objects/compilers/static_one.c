/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 7: with static_two.c. Both have a static variable `limit` (and one in .rodata and .bss), a static
 * function `step`, and one of `shared`: here weak, strong there. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static volatile int limit = 1;
static const volatile int fixed = 10;
static volatile int calls;

int first_only = 7;
__attribute__((weak)) int shared = 100;
int after = 8;

static __attribute__((noinline)) int step(struct __sk_buff *ctx)
{
	return ctx->mark + limit;
}

SEC("tc") int one(struct __sk_buff *ctx)
{
	calls++;
	return step(ctx) + fixed + shared;
}

char _license[] SEC("license") = "GPL";
