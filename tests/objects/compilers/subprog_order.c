/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 18: main calls a, then d; a calls b, b calls c. libbpf appends what is called depth first: main, a, b, c, d;
 * breadth first it would be main, a, d, b, c. Every function has its own number of instructions. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SUB static __attribute__((noinline)) int

SUB d(int x)
{
	return x * 3 + 4;
}

SUB c(int x)
{
	return x + 3;
}

SUB b(int x)
{
	return c(x) * 2 + x;
}

SUB a(int x)
{
	return b(x + 1) - 1;
}

SEC("tc") int gives_11(struct __sk_buff *ctx)
{
	return a(ctx->mark) + d(ctx->mark) - 1;
}

char _license[] SEC("license") = "GPL";
