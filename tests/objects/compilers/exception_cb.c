/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 12: bpf_throw(cookie) leads to the handler that a decl tag names; the program returns what it returns. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define __exception_cb(name) __attribute__((btf_decl_tag("exception_callback:" #name)))

extern void bpf_throw(__u64 cookie) __ksym;

__attribute__((noinline)) int handler(__u64 cookie)
{
	return cookie + 16;
}

__attribute__((noinline)) static int deeper(struct __sk_buff *ctx)
{
	if (ctx->len > 32)
		bpf_throw(26);
	return 1;
}

/* 42 for packets over 32 bytes: 26 + 16 */
SEC("tc") __exception_cb(handler) int throws(struct __sk_buff *ctx)
{
	return deeper(ctx) + 1;
}

/* its own handler, in the same object; 7 + 100 */
__attribute__((noinline)) int other_handler(__u64 cookie)
{
	return cookie + 100;
}

SEC("tc") __exception_cb(other_handler) int throws_too(struct __sk_buff *ctx)
{
	if (ctx->len > 32)
		bpf_throw(7);
	return 2;
}

/* no handler: the kernel's own, which returns the cookie */
SEC("tc") int throws_plainly(struct __sk_buff *ctx)
{
	bpf_throw(9);
	return 3;
}

char _license[] SEC("license") = "GPL";
