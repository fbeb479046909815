// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: a loop that never changes what it waits for. */
#include "lesson.h"

SEC("xdp")
int endless(struct xdp_md *ctx)
{
	u32 waiting_for = ctx->rx_queue_index;
	while (waiting_for)
		asm volatile("" : "+r"(waiting_for)); /* clang may not reason about it */
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
