// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: writes into .rodata, which is frozen before the program loads. */
#include "lesson.h"

const volatile u32 limit = 10;

SEC("xdp")
int write_constant(struct xdp_md *ctx)
{
	*(volatile u32 *)&limit = ctx->ingress_ifindex;
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
