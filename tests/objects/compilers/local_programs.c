/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, lines 2, 19 and 23: the same source through `llvm-strip -x`, `llvm-strip --strip-unneeded`, `-flto`, `-Wa,--crel` or
 * without a global function: objects that have no program to load, each for a reason of its own. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int calls;

static __attribute__((noinline)) int helper(struct xdp_md *ctx)
{
	calls++;
	return ctx->data_end - ctx->data > 60 ? XDP_PASS : XDP_DROP;
}

#ifndef LINKAGE
#define LINKAGE
#endif

SEC("xdp") LINKAGE int calls_static(struct xdp_md *ctx)
{
	return helper(ctx);
}

char _license[] SEC("license") = "GPL";
