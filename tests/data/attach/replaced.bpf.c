// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A program whose decision is a function that another program may replace. */
#include "counted.h"

__attribute__((noinline)) int decide(struct xdp_md *ctx)
{
	volatile int verdict = XDP_PASS;

	return ctx->ingress_ifindex == 0xffff ? XDP_ABORTED : verdict;
}

__attribute__((noinline)) int decide_otherwise(struct xdp_md *ctx)
{
	volatile int verdict = XDP_TX;

	return ctx->ingress_ifindex == 0xffff ? XDP_ABORTED : verdict;
}

SEC("xdp")
int replaceable(struct xdp_md *ctx)
{
	count(0);
	return decide(ctx);
}

SEC("xdp")
int replaceable_too(struct xdp_md *ctx)
{
	count(1);
	return decide_otherwise(ctx);
}
