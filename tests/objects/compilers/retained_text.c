/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 1: two sections ".text" (`retain`), with a subprogram each. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SUBPROGRAM __attribute__((retain, used, noinline, section(".text")))

SUBPROGRAM int add_ten(int x)
{
	return x + 10;
}

SUBPROGRAM int add_hundred(int x)
{
	return x + 100;
}

SEC("tc") int gives_10(struct __sk_buff *ctx)
{
	return add_ten(ctx->mark);
}

SEC("tc") int gives_100(struct __sk_buff *ctx)
{
	return add_hundred(ctx->mark);
}

char _license[] SEC("license") = "GPL";
