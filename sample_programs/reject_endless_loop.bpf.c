// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: a loop that nothing ends. */
#include "lesson.h"

SEC("xdp")
int endless(struct xdp_md *ctx)
{
	if (ctx->rx_queue_index)
		for (;;)
			asm volatile("" ::: "memory"); /* or clang would know that this cannot be meant */
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
